"""The one exception for what a user can mend."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager


class InputError(ValueError):
    """A mistake in what was asked for, told in one sentence: given, allowed, what to do."""


# What Python and torch raise where a content has not the form that is counted on; nesting that is
# too deep for the JSON reader is a RecursionError, which is a RuntimeError.
MISFITS = (
    ArithmeticError,
    AttributeError,
    LookupError,
    RuntimeError,
    StopIteration,
    TypeError,
    ValueError,
)


@contextmanager
def misfit(told: Callable[[Exception], InputError]) -> Iterator[None]:
    """For what is made of a file's content: where it does not fit, that is what `told` makes of
    the fault, and never a traceback. An `InputError` is told as it is."""
    try:
        yield
    except InputError:
        raise
    except MISFITS as fault:
        raise told(fault) from fault
