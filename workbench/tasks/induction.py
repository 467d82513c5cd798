"""Induction: random tokens, the beginning of which comes again; what follows is known.

A block of different tokens and then its first half once more: the last token stood in the block
before, and what followed it there is the answer. Only the repetition tells it, whatever the
vocabulary: letters, squares of a board, words (Olsson et al. 2022, arXiv 2209.11895).
"""

from math import perm
from random import Random

from workbench.errors import InputError
from workbench.models import Model, from_ids
from workbench.tasks.drawing import check_corruption
from workbench.tasks.pairs import Pair, Pairs

CORRUPTIONS = {
    "next": "the token after the earlier occurrence is another one, which is then the answer",
    "moved": "the earlier occurrence has changed its place with another token of the block, and "
    "what follows there is the answer",
}
_SHORTEST = 4  # half of it is one token before the last one, and one before that


def induction(
    model: Model, n: int, seed: int = 0, *, length: int = 20, corruption: str = "next"
) -> Pairs:
    """Blocks of `length` different tokens and their first half; `previous` is the earlier one."""
    check_corruption(corruption, CORRUPTIONS)
    allowed = _drawable(model)
    _check(model, len(allowed), n, length)
    random = Random(f"induction/{seed}")
    rows = []
    seen = set()
    while len(rows) < n:
        *block, spare = random.sample(allowed, length + 1)
        elsewhere = random.choice([at for at in range(length - 1) if at != length // 2 - 1])
        if tuple(block) not in seen:
            seen.add(tuple(block))
            rows.append(_pair(model, block, _other(block, corruption, spare, elsewhere)))
    return Pairs("induction", tuple(rows))


def _other(block: list[int], corruption: str, spare: int, elsewhere: int) -> list[int]:
    """The block with another answer, `elsewhere` being where the earlier occurrence moves to."""
    half = len(block) // 2
    other = list(block)
    if corruption == "next":
        other[half] = spare
    else:
        other[half - 1], other[elsewhere] = block[elsewhere], block[half - 1]
    return other


def _pair(model: Model, block: list[int], other: list[int]) -> Pair:
    """A pair of blocks, each followed by the clean one's first half."""
    half = len(block) // 2
    asked = block[half - 1]
    bos = model.vocabulary.bos_id
    front = [] if bos is None else [bos]
    clean, corrupted = (
        from_ids(model.vocabulary, [*front, *first, *block[:half]], bos=bos is not None)
        for first in (block, other)
    )
    previous = len(front) + half - 1
    return Pair(
        clean,
        corrupted,
        answers=(block[half],),
        wrongs=(other[other.index(asked) + 1],),
        places={"previous": previous, "previous+1": previous + 1},
    )


def _drawable(model: Model) -> list[int]:
    size = min(model.architecture.d_vocab, model.vocabulary.size)
    special = set(model.vocabulary.special_ids)
    return [token for token in range(size) if token not in special]


def _check(model: Model, tokens: int, n: int, length: int) -> None:
    room = model.architecture.n_ctx - (model.vocabulary.bos_id is not None)
    # Half of the block comes again, and one token outside of it replaces another.
    longest = min(tokens - 1, 2 * room // 3)
    if not _SHORTEST <= length <= longest:
        raise InputError(
            f"a block of {length} tokens does not serve; {model.name}'s vocabulary and context "
            f"hold blocks of {_SHORTEST} to {longest}"
        )
    blocks = perm(tokens, length)
    if not 1 <= n <= blocks:
        raise InputError(f"{n} pairs of 'induction'; ask for 1 to {blocks}")
