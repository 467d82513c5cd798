"""The numbers behind the page Compare: each view's own, taken of two sides."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dashboards.compare_sides import Place

if TYPE_CHECKING:  # torch and Plotly load with what is computed, not with the page
    from dashboards.patching_sweeps import Asked as Patch
    from dashboards.progress import Progress
    from dashboards.prompts import Asked as Prompt
    from dashboards.sae_view import Opened
    from workbench.figures import Figure
    from workbench.figures.sides import Side
    from workbench.tasks import Pairs

LATENTS = 15  # of each side


@dataclass(frozen=True)
class Picture:
    """One quantity on both sides; `code` gives it as `value` in Python, given a side's `model`."""

    what: str
    axes: tuple[str, str]
    sides: Sequence[Side]
    names: Sequence[str]
    code: Sequence[Sequence[str]]
    signed: bool = False
    bars: bool = False

    @property
    def a(self) -> Side:
        return self.sides[0]

    @property
    def b(self) -> Side:
        return self.sides[1]

    @property
    def apart(self) -> str:
        """Why there is no difference; nothing where there is one."""
        a, b = self.a.values.shape, self.b.values.shape
        if self.bars and list(self.a.rows) != list(self.b.rows):
            return "the sides have latents of two dictionaries, which have no difference"
        if a != b:
            rows, columns = self.axes
            return (
                f"A has {a[0]} rows ({rows}) and {a[1]} columns ({columns}), B {b[0]} and {b[1]}: "
                "only what has one shape has a difference"
            )
        return ""

    @property
    def difference(self) -> np.ndarray | None:
        """A less B, where there is one."""
        return None if self.apart else self.a.values - self.b.values

    def figure(self) -> Figure:
        from workbench.figures.sides import ranked, sides

        if self.bars:
            return ranked(self.a, self.b, what=self.what, title=self.what)
        return sides(
            self.a, self.b, axes=self.axes, what=self.what, title=self.what, signed=self.signed
        )


def attention(a: Place, b: Place, score: str, head: str) -> list[Picture]:
    """A score of all heads, and the pattern of one head, which both models must have."""
    from dashboards.attention_view import KINDS, attention_view
    from workbench.figures.sides import Side

    found = [
        attention_view(p.model, p.store, _prompt(p), KINDS[0], "", bos=None, chat=False)
        for p in (a, b)
    ]
    which = found[0].head(head or None, score)
    found[1].head(str(which), score)  # told where B has no such head
    grids, zooms = [], []
    for place, view in zip((a, b), found, strict=True):
        layers, heads = view.scores[score].shape
        rows, columns = [f"L{n}" for n in range(layers)], [f"H{n}" for n in range(heads)]
        grids.append(Side(place.title, view.scores[score], rows, columns))
        tokens = [f"{n} {label.text}" for n, label in enumerate(view.labels)]
        zooms.append(Side(place.title, view.pattern(which, "the head"), tokens, tokens))
    names = ["workbench.attention:patterns"]
    scores = [f"value = patterns(model, ids).scores({score!r}).cpu().numpy()  # [layer, head]"]
    one = f"patterns(model, ids).weights[{which.layer}, 0, {which.head}]"
    pattern = [f"value = {one}.float().cpu().numpy()  # [query, key]"]
    return [
        Picture(f"{score} of all heads", ("layer", "head"), grids, names, (scores, scores)),
        Picture(f"attention of {which}", ("query", "key"), zooms, names, (pattern, pattern)),
    ]


def lens(a: Place, b: Place, token: str) -> list[Picture]:
    """The probability that every layer gives one token; without a name, what A says at last."""
    from dashboards.lens_view import lens_view
    from workbench.figures.sides import Side

    found = [lens_view(place.model, place.store, _prompt(place)) for place in (a, b)]
    word = token or a.model.vocabulary.string(int(found[0].top_ids[-1, -1, 0]))
    sides = []
    for place, view in zip((a, b), found, strict=True):
        place.model.token_id(word)  # told where the vocabulary has none
        positions = range(len(view.labels))
        probs = np.stack([view.curve((0, pos), word).probs for pos in positions], 1)
        tokens = [f"{n} {label.text}" for n, label in enumerate(view.labels)]
        tops = [[view.names[int(one)] for one in row] for row in view.top_ids[:, :, 0]]
        sides.append(Side(place.title, probs, view.layers, tokens, tops))
    code = [
        "resid, _ = residuals(model, ids)",
        f"token = model.token_id({word!r})",
        "fates = [follow(resid[:, pos], model.unembed, token) for pos in range(ids.shape[1])]",
        "value = stack([fate.prob for fate in fates], 1).cpu().numpy()  # [layer, position]",
    ]
    names = ["torch:stack", "workbench.lens:follow", "workbench.lens:residuals"]
    what = f"probability of {word!r} after each token"
    return [Picture(what, ("layer", "position"), sides, names, (code, code))]


def patching(
    a: Place, b: Place, patch: Mapping[str, Patch], progress: Callable[[str], Progress]
) -> list[Picture]:
    """The effect of every patch; a side's `patch` has its own places, by its letter."""
    from dashboards.patching_sweeps import EXACT, Source
    from dashboards.patching_view import patching_view
    from workbench.figures.sides import Side

    sides, code = [], []
    for place in (a, b):
        asked = patch[place.letter]
        source = Source(place.model, place.store, pairs_of(place))
        view = patching_view(source, asked, EXACT, compare=False, progress=progress)
        title = f"{place.title}, {len(source.pairs)} pairs of {source.pairs.name}"
        sides.append(Side(title, view.bounds[0], view.layers, view.shown))
        how = ", ".join(f"{name}={value!r}" for name, value in asked.how.items())
        cut = "[:, :, 0]" if view.by_head else "[:, 0]"
        code.append([
            f"mean = sweep(model, pairs, {asked.site!r}, {how}).effects().mean",
            f"value = mean{cut}.numpy()  # [layer, {'head' if view.by_head else 'place'}]",
        ])  # fmt: skip
    one = patch[a.letter]
    what = f"{one.direction} {one.site}: effect on the {one.metric}"
    columns = "place" if sides[0].columns[:1] != ["H0"] else "head"
    names = ["workbench.patching:sweep"]
    return [Picture(what, ("layer", columns), sides, names, code, signed=True)]


def latents(a: Place, b: Place, dictionaries: tuple[Opened, Opened]) -> list[Picture]:
    """The most that latents say anywhere in the prompt; the strongest of either side."""
    from dashboards.ablation_view import shown_tokens
    from dashboards.sae_export import READ, READ_NAMES
    from dashboards.sae_view import reading
    from workbench.figures.sides import Side

    pairs = list(zip((a, b), dictionaries, strict=True))
    found = [reading(view, shown_tokens(view.model, _prompt(place))) for place, view in pairs]
    strongest = [one.loudest(None, LATENTS) for one in found]
    shared = dictionaries[0].key[:2] == dictionaries[1].key[:2]  # the same files
    if shared:
        either = sorted({*strongest[0], *strongest[1]})
        change = found[0].largest[either] - found[1].largest[either]
        strongest = [[either[i] for i in np.argsort(-np.abs(change), kind="stable")]] * 2
    sides, code = [], []
    for (place, view), one, chosen in zip(pairs, found, strongest, strict=True):
        rows = [f"{latent} {view.rule(latent, 1)}"[:34] for latent in chosen]
        values = one.largest[chosen][:, None]
        title = place.title if shared else f"{place.letter}: {view.name}"
        sides.append(Side(title, values, rows, ["largest"]))
        code.append([
            f"sae = load_sae({view.name!r}, model)",
            READ.format(bos=one.tokens.bos),
            f"value = acts.amax(0)[{chosen}][:, None].cpu().numpy()  # [latent, 1]",
        ])  # fmt: skip
    names = ["sae.saved:load_sae", *READ_NAMES]
    what = "largest activation in the prompt"
    return [Picture(what, ("latent", ""), sides, names, code, bars=True)]


def _prompt(place: Place) -> Prompt:
    from dashboards.prompts import Asked

    assert isinstance(place.asked, Asked)
    return place.asked


def pairs_of(place: Place) -> Pairs:
    """The pairs of a side, made for its model. Raises `InputError` where they do not align."""
    from dashboards.patching_pairs import PairsAsked

    assert isinstance(place.asked, PairsAsked)
    return place.asked.pairs(place.model)
