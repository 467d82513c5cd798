"""Answers to the exercises of notebook 09."""

from tests.notebooks.answers import Answers
from workbench import Edit, run


def differing(clean, corrupted):
    if len(clean) != len(corrupted):
        raise ValueError("other lengths")
    return [i for i in range(len(clean)) if clean[i] != corrupted[i]]


def differing_short(clean, corrupted):
    return [i for i, (a, b) in enumerate(zip(clean, corrupted, strict=False)) if a != b]


def differing_from_one(clean, corrupted):
    return [i + 1 for i in differing(clean, corrupted)]


def differing_tokens(clean, corrupted):
    return [clean[i] for i in differing(clean, corrupted)]


def differing_as_sets(clean, corrupted):
    return [i for i, token in enumerate(clean) if token not in corrupted]


def every(model, ids, edits=()):
    logits = run(model, ids, edit=edits).logits
    assert logits is not None
    return logits[0]


def patched(model, clean, corrupted, head):
    (kept,) = run(model, clean, read=f"{head}.z").activations.values()
    return every(model, corrupted, [Edit(f"{head}.z", lambda z: kept)])[-1]


def patched_swapped(model, clean, corrupted, head):
    return patched(model, corrupted, clean, head)


def patched_where(site):
    def answer(model, clean, corrupted, head):
        place = f"{head[1]}.{site}"
        (kept,) = run(model, clean, read=place).activations.values()
        return every(model, corrupted, [Edit(place, lambda z: kept)])[-1]

    return answer


def patched_where_they_differ(model, clean, corrupted, head):
    (kept,) = run(model, clean, read=f"{head}.z").activations.values()
    apart = (clean != corrupted)[0]

    def put_in(z):
        z[:, apart] = kept[:, apart]
        return z

    return every(model, corrupted, [Edit(f"{head}.z", put_in)])[-1]


def patched_not(model, clean, corrupted, head):
    return every(model, corrupted)[-1]


def patched_everywhere(model, clean, corrupted, head):
    return every(model, clean)[-1]


def patched_all_positions(model, clean, corrupted, head):
    (kept,) = run(model, clean, read=f"{head}.z").activations.values()
    return every(model, corrupted, [Edit(f"{head}.z", lambda z: kept)])


def effect(clean, corrupted, patched):
    return (patched.mean() - corrupted.mean()) / (clean.mean() - corrupted.mean())


ANSWERS = {
    "09.differing": Answers(
        right=((differing,),),
        wrong=(
            ((differing_short,), "`zip` stops at the shorter"),
            ((differing_from_one,), "counted from 0"),
            ((differing_tokens,), "positions are asked for"),
            ((differing_as_sets,), "another order"),
            ((lambda clean, corrupted: set(differing(clean, corrupted)),), "no order"),
            ((lambda clean, corrupted: [[i] for i in differing(clean, corrupted)],), "plain list"),
            (
                (lambda clean, corrupted: [a != b for a, b in zip(clean, corrupted, strict=True)],),
                "list those",
            ),
            ((lambda clean, corrupted: len(differing(clean, corrupted)),), "plain list"),
        ),
    ),
    "09.patched": Answers(
        right=((patched,), (lambda *given: patched(*given).double(),)),
        wrong=(
            ((patched_where("z"),), "all heads of the layer"),
            ((patched_where("attn_out"),), "all heads of the layer"),
            ((patched_where_they_differ,), "only where the prompts differ"),
            ((patched_swapped,), "source and base are swapped"),
            ((patched_not,), "changes nothing"),
            ((patched_everywhere,), "that is the clean run"),
            ((patched_all_positions,), "shape"),
        ),
    ),
    "09.effect": Answers(
        right=((effect,), (lambda c, k, p: (p.sum() - k.sum()) / (c.sum() - k.sum()),)),
        wrong=(
            ((lambda c, k, p: ((p - k) / (c - k)).mean(),), "mean of ratios"),
            ((lambda c, k, p: (p - k) / (c - k),), "one number for all pairs"),
            ((lambda c, k, p: (p.mean() - c.mean()) / (k.mean() - c.mean()),), "turned round"),
            ((lambda c, k, p: p.mean() - k.mean(),), "divide by the whole way"),
        ),
    ),
}
