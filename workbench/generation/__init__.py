"""Text from a model: greedy or sampled, in batches, with edits in force."""

from workbench.generation.drawing import filtered
from workbench.generation.writing import Generation, generate, stream

__all__ = ["Generation", "filtered", "generate", "stream"]
