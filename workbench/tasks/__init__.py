"""Tasks: pairs of prompts with answers, from generators, users' files or a few lines of Python."""

from workbench.tasks.catalogue import TASKS, Task, task
from workbench.tasks.files import read_pairs
from workbench.tasks.pairs import Pair, Pairs, last_token_of, pair

__all__ = ["TASKS", "Pair", "Pairs", "Task", "last_token_of", "pair", "read_pairs", "task"]
