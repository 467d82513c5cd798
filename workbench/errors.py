"""The one exception for what a user can mend."""


class InputError(ValueError):
    """A mistake in what was asked for, told in one sentence: given, allowed, what to do."""
