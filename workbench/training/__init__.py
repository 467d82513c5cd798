"""The small trainer: recipes, a generator of steps, checkpoints that continue bit for bit."""

from workbench.training.checkpoint import Unfinished, read_state, write_state
from workbench.training.next_token import Logits, NextToken, NextTokenTraining
from workbench.training.recipe import (
    Ranges,
    Recipe,
    changed,
    knobs,
    power_of_two,
    recipe_named,
    refuse,
)
from workbench.training.run import Row, train_into
from workbench.training.steps import Step, Training

__all__ = [
    "Logits",
    "NextToken",
    "NextTokenTraining",
    "Ranges",
    "Recipe",
    "Row",
    "Step",
    "Training",
    "Unfinished",
    "changed",
    "knobs",
    "power_of_two",
    "read_state",
    "recipe_named",
    "refuse",
    "train_into",
    "write_state",
]
