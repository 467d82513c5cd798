"""The numbers behind the page Compare: each view's own, taken of two sides."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from dashboards.compare_sides import Place
from workbench.errors import InputError
from workbench.sites import Head

if TYPE_CHECKING:  # torch and Plotly load with what is computed, not with the page
    from dashboards.attention_view import AttentionView
    from dashboards.lens_view import LensView
    from dashboards.patching_sweeps import Asked as Patch
    from dashboards.progress import Progress
    from dashboards.prompts import Asked as Prompt
    from dashboards.sae_view import Opened
    from workbench.figures import Figure
    from workbench.figures.sides import Side
    from workbench.tasks import Pairs

LATENTS = 15  # of each side
One = TypeVar("One")


@dataclass(frozen=True)
class Picture:
    """One quantity on both sides; `code` gives it as `value` in Python, given a side's `model`.

    With `words`, what the sides say is written in the cells, which leaves no room for A less B.
    """

    what: str
    axes: tuple[str, str]
    sides: Sequence[Side]
    names: Sequence[str]
    code: Sequence[Sequence[str]]
    signed: bool = False
    bars: bool = False
    words: bool = False
    told: Sequence[str] = ()

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
            return (
                f"A has {a[0]} x {a[1]} values ({' x '.join(self.axes)}), B {b[0]} x {b[1]}; "
                "only what has one shape has a difference"
            )
        return ""

    @property
    def notes(self) -> list[str]:
        """What is to be said below it."""
        missing = [f"no difference is shown: {self.apart}"] if self.apart else []
        return [*([] if self.words else missing), *self.told]

    @property
    def difference(self) -> np.ndarray | None:
        """A less B, where there is one."""
        return None if self.apart else self.a.values - self.b.values

    def figure(self) -> Figure:
        from workbench.figures.sides import ranked, sides

        if self.bars:
            return ranked(self.a, self.b, what=self.what, title=self.what)
        how = {"what": self.what, "title": self.what, "signed": self.signed, "words": self.words}
        return sides(self.a, self.b, axes=self.axes, **how)


def attention(a: Place, b: Place, score: str, head: str) -> list[Picture]:
    """A score of all heads, and the pattern of one head: A's first that B has as well."""
    from dashboards.attention_view import KINDS, attention_view
    from workbench.figures.sides import Side

    found = [
        attention_view(p.model, p.store, _prompt(p), KINDS[0], "", bos=None, chat=False)
        for p in (a, b)
    ]
    grids = []
    for place, view in zip((a, b), found, strict=True):
        layers, heads = view.scores[score].shape
        rows, columns = [f"L{n}" for n in range(layers)], [f"H{n}" for n in range(heads)]
        grids.append(Side(place.title, view.scores[score], rows, columns))
    names = ["workbench.attention:patterns"]
    code = [f"value = patterns(model, ids).scores({score!r}).cpu().numpy()  # [layer, head]"]
    blank = [side.name[0] for side in grids if np.isnan(side.values).all()]
    told = [f"{score} is not defined on {' and '.join(blank)}: no token occurs twice"]
    lacking = _lacking(found, lambda view: view.head(head or None, score)) if head else ""
    notes = [*(told if blank else ()), *([lacking] if lacking else ())]
    grid = Picture(
        f"{score} of all heads", ("layer", "head"), grids, names, (code, code), told=notes
    )
    if lacking:
        return [grid]
    which = Head.parse(head) if head else _first(found, score)
    return [grid, _zoomed(found, which, (a, b))]


def _first(found: Sequence[AttentionView], score: str) -> Head:
    """The head that leads A's score, of those which both sides have."""
    layers, heads = np.min([view.scores[score].shape for view in found], 0)
    both = {score: found[0].scores[score][:layers, :heads]}
    return replace(found[0], scores=both).head(None, score)


def _zoomed(found: Sequence[AttentionView], which: Head, places: Sequence[Place]) -> Picture:
    from workbench.figures.sides import Side

    zooms = []
    for place, view in zip(places, found, strict=True):
        tokens = [f"{n} {label.text}" for n, label in enumerate(view.labels)]
        zooms.append(Side(place.title, view.pattern(which, "the head"), tokens, tokens))
    names = ["workbench.attention:patterns"]
    one = f"patterns(model, ids).weights[{which.layer}, 0, {which.head}]"
    code = [f"value = {one}.float().cpu().numpy()  # [query, key]"]
    return Picture(f"attention of {which}", ("query", "key"), zooms, names, (code, code))


def lens(a: Place, b: Place, value: str, token: str) -> list[Picture]:
    """The likeliest token of every layer, shaded by `value`; then how likely one token is.

    Without a name that is what A says at last.
    """
    from dashboards.lens_export import VALUE_CODE
    from dashboards.lens_view import lens_view
    from workbench.figures.sides import Side

    found = [lens_view(place.model, place.store, _prompt(place)) for place in (a, b)]
    shaded = []
    for place, view in zip((a, b), found, strict=True):
        tops = [[view.names[int(one)] for one in row] for row in view.top_ids[:, :, 0]]
        shaded.append(Side(place.title, view.values[value], view.layers, _places(view), tops))
    code = [
        "resid, _ = residuals(model, ids)",
        f"value = lens(resid, model.unembed).{VALUE_CODE[value]}.cpu().numpy()  # [layer, pos]",
    ]
    names = ["workbench.lens:lens", "workbench.lens:residuals"]
    axes = ("layer", "position")
    said = Picture(f"likeliest token, {value}", axes, shaded, names, (code, code), words=True)
    word = token or a.model.vocabulary.string(int(found[0].top_ids[-1, -1, 0]))
    if lacking := _lacking((a.model, b.model), lambda model: model.token_id(word)):
        return [replace(said, told=[f"no token is followed. {lacking}"])]
    return [said, _followed(found, word, (a, b))]


def _followed(found: Sequence[LensView], word: str, places: Sequence[Place]) -> Picture:
    from workbench.figures.sides import Side

    sides = []
    for place, view in zip(places, found, strict=True):
        positions = range(len(view.labels))
        probs = np.stack([view.curve((0, pos), word).probs for pos in positions], 1)
        sides.append(Side(place.title, probs, view.layers, _places(view)))
    code = [
        "resid, _ = residuals(model, ids)",
        f"token = model.token_id({word!r})",
        "fates = [follow(resid[:, pos], model.unembed, token) for pos in range(ids.shape[1])]",
        "value = stack([fate.prob for fate in fates], 1).cpu().numpy()  # [layer, pos]",
    ]
    names = ["torch:stack", "workbench.lens:follow", "workbench.lens:residuals"]
    what = f"probability of {word!r} after each token"
    return Picture(what, ("layer", "position"), sides, names, (code, code))


def _places(view: LensView) -> list[str]:
    return [f"{n} {label.text}" for n, label in enumerate(view.labels)]


def _lacking(of: Sequence[One], ask: Callable[[One], object]) -> str:
    """Why a side has not what is asked for, in its own words; nothing where both have it."""
    for letter, one in zip("AB", of, strict=True):
        try:
            ask(one)
        except InputError as error:
            return f"{letter}: {error}"
    return ""


def patching(
    a: Place, b: Place, patch: Mapping[str, Patch], progress: Callable[[str], Progress]
) -> list[Picture]:
    """The effect of every patch; a side's `patch` has its own places, by its letter."""
    from dashboards.patching_sweeps import EXACT, Source
    from dashboards.patching_view import patching_view
    from workbench.figures.sides import Side

    sides, code, columns = [], [], ""
    for place in (a, b):
        asked = patch[place.letter]
        source = Source(place.model, place.store, pairs_of(place))
        view = patching_view(source, asked, EXACT, compare=False, progress=progress)
        columns = "head" if view.by_head else "place"
        sides.append(Side(place.title, view.bounds[0], view.layers, view.shown))
        how = ", ".join(f"{name}={value!r}" for name, value in asked.how.items())
        cut = "[:, :, 0]" if view.by_head else "[:, 0]"
        code.append([
            f"mean = sweep(model, pairs, {asked.site!r}, {how}).effects().mean",
            f"value = mean{cut}.numpy()  # [layer, {columns}]",
        ])  # fmt: skip
    one = patch[a.letter]
    what = f"{one.direction} {one.site}: effect on the {one.metric}"
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
