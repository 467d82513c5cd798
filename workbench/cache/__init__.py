"""The activation cache: keys that say everything, a store that never guesses.

`capture` keeps the activations of prompts, `harvest` those of a corpus; `stream` lets them pass.
"""

from workbench.cache.budget import Budget, predict
from workbench.cache.capture import Capture, capture
from workbench.cache.eviction import Freed
from workbench.cache.files import DamagedError
from workbench.cache.harvest import Harvested, carried_out, harvest
from workbench.cache.keys import Key, key_of
from workbench.cache.live import Live, live
from workbench.cache.plan import Plan, planned
from workbench.cache.reader import Rows, State, shuffled
from workbench.cache.rounding import Rounding
from workbench.cache.store import Entry, Store
from workbench.cache.stored import Harvest, open_harvest
from workbench.cache.stream import Chunk, Progress, stream

__all__ = [
    "Budget",
    "Capture",
    "Chunk",
    "DamagedError",
    "Entry",
    "Freed",
    "Harvest",
    "Harvested",
    "Key",
    "Live",
    "Plan",
    "Progress",
    "Rounding",
    "Rows",
    "State",
    "Store",
    "capture",
    "carried_out",
    "harvest",
    "key_of",
    "live",
    "open_harvest",
    "planned",
    "predict",
    "shuffled",
    "stream",
]
