"""How a vocabulary writes a word inside a sentence, and which words are one token there."""

from collections.abc import Sequence

from workbench.errors import InputError
from workbench.models import Model


def ids_of(model: Model, word: str) -> tuple[int, ...]:
    """The tokens of a word behind a space; none where the vocabulary cannot write it."""
    vocabulary = model.vocabulary
    try:
        ids, _ = vocabulary.encode(f" {word}")
    except InputError:  # labels know no other words
        return ()
    return () if set(ids) & set(vocabulary.special_ids) else tuple(ids)


def single(model: Model, words: Sequence[str]) -> list[str]:
    """The words that are one token each."""
    return [word for word in words if len(ids_of(model, word)) == 1]


def at_least(model: Model, words: Sequence[str], needed: int, *, task: str, what: str) -> list[str]:
    """The words that are one token each; `InputError` where fewer than `needed` are."""
    found = single(model, words)
    if len(found) < needed:
        raise InputError(
            f"{model.name} has {len(found)} of the {len(words)} {what} of {task!r} as single "
            f"tokens, and {needed} are needed; load a model with a larger vocabulary of words"
        )
    return found


def token_of(model: Model, word: str, *, task: str) -> int:
    """The one token of a word that a task answers with; `InputError` where it is not one."""
    at_least(model, [word], 1, task=task, what=f"answers ({word})")
    return ids_of(model, word)[0]
