"""The setting of a process that fuzzes: quiet, of one thread, without a network, with limits."""

import logging
import os
import sys
import warnings
from pathlib import Path

import torch
from huggingface_hub import constants

from tests.fuzz.grounds import Ground
from tests.fuzz.watch import limited


def prepared(root: Path) -> Ground:
    """The readers, their seeds made and read once, and from then on the limits of `watch`."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    constants.HF_HUB_OFFLINE = True
    sys.dont_write_bytecode = True
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    torch.set_num_threads(1)
    ground = Ground(root)
    for target in ground.targets.values():
        ground.warm(target)
    limited()
    return ground
