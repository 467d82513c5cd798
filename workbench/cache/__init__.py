"""The activation cache: keys that say everything, a store that never guesses, capture."""

from workbench.cache.capture import Capture, capture
from workbench.cache.files import DamagedError
from workbench.cache.keys import Key, key_of
from workbench.cache.store import Entry, Store

__all__ = ["Capture", "DamagedError", "Entry", "Key", "Store", "capture", "key_of"]
