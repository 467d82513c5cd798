"""Places in the model where activations can be read or edited, as values.

Long names are TransformerLens' (`blocks.5.attn.hook_pattern`), short ones `5.pattern`,
one head of a site `L5H1.pattern`. No torch here: parsing happens once, at the edge.
"""

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import TypeVar

from workbench.errors import InputError


@dataclass(frozen=True)
class Kind:
    """What a site is: its short and long name, its axes and one line of meaning."""

    name: str
    long: str
    axes: str
    about: str

    @property
    def layered(self) -> bool:
        return "{layer}" in self.long

    @property
    def head_axis(self) -> int | None:
        """Position of the head axis, or None."""
        axes = self.axes.split()
        return next((i for i, axis in enumerate(axes) if axis in ("head", "kv_head")), None)

    @property
    def position_axes(self) -> tuple[int, ...]:
        """Axes along which token positions run: one, or query and key."""
        axes = self.axes.split()
        return tuple(i for i, axis in enumerate(axes) if axis in ("pos", "query", "key"))


RESID = "batch pos d_model"
_KINDS = (
    Kind("embed", "hook_embed", RESID, "token embedding"),
    Kind("pos_embed", "hook_pos_embed", RESID, "learned position embedding"),
    Kind("resid_pre", "blocks.{layer}.hook_resid_pre", RESID, "residual stream into the block"),
    Kind("ln1_scale", "blocks.{layer}.ln1.hook_scale", "batch pos 1", "divisor of the first norm"),
    Kind("attn_in", "blocks.{layer}.attn.hook_in", RESID, "normalised input of attention"),
    Kind("q", "blocks.{layer}.attn.hook_q", "batch pos head d_head", "queries, before rotation"),
    Kind("k", "blocks.{layer}.attn.hook_k", "batch pos kv_head d_head", "keys, before rotation"),
    Kind("v", "blocks.{layer}.attn.hook_v", "batch pos kv_head d_head", "values"),
    Kind("rot_q", "blocks.{layer}.attn.hook_rot_q", "batch pos head d_head", "rotated queries"),
    Kind("rot_k", "blocks.{layer}.attn.hook_rot_k", "batch pos kv_head d_head", "rotated keys"),
    Kind(
        "scores",
        "blocks.{layer}.attn.hook_attn_scores",
        "batch head query key",
        "attention logits before softmax",
    ),
    Kind(
        "pattern",
        "blocks.{layer}.attn.hook_pattern",
        "batch head query key",
        "attention probabilities",
    ),
    Kind(
        "z",
        "blocks.{layer}.attn.hook_z",
        "batch pos head d_head",
        "values mixed by the pattern, before W_O",
    ),
    Kind(
        "result",
        "blocks.{layer}.attn.hook_result",
        "batch pos head d_model",
        "each head's output z W_O, computed; without b_O",
    ),
    Kind("attn_out", "blocks.{layer}.hook_attn_out", RESID, "output of attention"),
    Kind("resid_mid", "blocks.{layer}.hook_resid_mid", RESID, "residual between attention and MLP"),
    Kind("ln2_scale", "blocks.{layer}.ln2.hook_scale", "batch pos 1", "divisor of the second norm"),
    Kind("mlp_in", "blocks.{layer}.mlp.hook_in", RESID, "normalised input of the MLP"),
    Kind(
        "mlp_pre",
        "blocks.{layer}.mlp.hook_pre",
        "batch pos d_mlp",
        "MLP before the non-linearity; the gate where the MLP is gated",
    ),
    Kind(
        "mlp_pre_linear",
        "blocks.{layer}.mlp.hook_pre_linear",
        "batch pos d_mlp",
        "up-projection of a gated MLP",
    ),
    Kind("mlp_post", "blocks.{layer}.mlp.hook_post", "batch pos d_mlp", "MLP neurons"),
    Kind("mlp_out", "blocks.{layer}.hook_mlp_out", RESID, "output of the MLP"),
    Kind("resid_post", "blocks.{layer}.hook_resid_post", RESID, "residual stream out of the block"),
    Kind("ln_final_scale", "ln_final.hook_scale", "batch pos 1", "divisor of the final norm"),
    Kind("ln_final", "ln_final.hook_out", RESID, "input of the unembedding"),
    Kind("logits", "unembed.hook_out", "batch pos d_vocab", "next-token logits"),
)
KINDS: Mapping[str, Kind] = {kind.name: kind for kind in _KINDS}
_ORDER = {name: index for index, name in enumerate(KINDS)}
_NUMBER = r"\d{1,9}"  # of a layer or a head; Python refuses to read thousands of digits
_LONG = {
    re.compile(re.escape(kind.long).replace(r"\{layer\}", rf"(?P<layer>{_NUMBER})")): kind.name
    for kind in _KINDS
}
_HEAD = re.compile(rf"L({_NUMBER})H({_NUMBER})")
_PAIR = re.compile(rf"({_NUMBER})\.({_NUMBER})")
_RANGE = re.compile(rf"({_NUMBER})-({_NUMBER})\.(\w+)")


@dataclass(frozen=True, order=True)
class Head:
    """One attention head, written `L5H1`."""

    layer: int
    head: int

    @classmethod
    def parse(cls, text: str) -> "Head":
        match = _HEAD.fullmatch(text.strip().upper()) or _PAIR.fullmatch(text.strip())
        if match is None:
            raise InputError(f"head {text!r} should read L5H1 or 5.1 (layer, head)")
        return cls(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        return f"L{self.layer}H{self.head}"


@dataclass(frozen=True)
class Site:
    """A place in the model, such as `3.resid_post`; with `head`, one head of it."""

    name: str
    layer: int | None = None
    head: int | None = None

    def __post_init__(self) -> None:
        if self.name not in KINDS:
            raise InputError(f"unknown site {self.name!r}{_nearest(self.name, KINDS)}")
        kind = KINDS[self.name]
        if kind.layered and self.layer is None:
            raise InputError(f"site {self.name!r} needs a layer, for example 3.{self.name}")
        if not kind.layered and self.layer is not None:
            raise InputError(f"site {self.name!r} has no layers; write it without {self.layer}.")
        if self.head is not None and kind.head_axis is None:
            raise InputError(f"site {self.name!r} has no heads; its axes are '{kind.axes}'")

    @classmethod
    def parse(cls, text: str) -> "Site":
        """Read a short name, a long one, or a head of a site (`L5H1.z`)."""
        for pattern, name in _LONG.items():
            if match := pattern.fullmatch(text):
                layer = match.groupdict().get("layer")
                return cls(name, None if layer is None else int(layer))
        place, _, name = text.rpartition(".")
        if not place:
            return cls(name)
        if match := _HEAD.fullmatch(place):
            return cls(name, int(match[1]), int(match[2]))
        if not re.fullmatch(_NUMBER, place):
            raise InputError(
                f"site {text!r} should read LAYER.NAME, for example 3.resid_post or L5H1.pattern"
                f"{_nearest(text, [kind.long for kind in _KINDS])}"
            )
        return cls(name, int(place))

    @property
    def kind(self) -> Kind:
        return KINDS[self.name]

    @property
    def whole(self) -> "Site":
        """The site with all its heads."""
        return replace(self, head=None)

    @property
    def long(self) -> str:
        """The TransformerLens name (of the whole site)."""
        return self.kind.long.format(layer=self.layer)

    @property
    def order(self) -> tuple[int, int]:
        """Sorts sites as a forward pass meets them."""
        early = self.layer is None and self.name in ("embed", "pos_embed")
        layer = self.layer if self.layer is not None else (-1 if early else 10**6)
        return layer, _ORDER[self.name]

    def __str__(self) -> str:
        if self.layer is None:
            return self.name
        place = str(self.layer) if self.head is None else str(Head(self.layer, self.head))
        return f"{place}.{self.name}"


Found = TypeVar("Found")


def look_up(found: Mapping[Site, Found], site: Site | str) -> Found:
    """What was found at a site given by value or by name; `InputError` says what there is."""
    wanted = Site.parse(site) if isinstance(site, str) else site
    if wanted not in found:
        raise InputError(f"{wanted} was not read; there is {', '.join(map(str, found))}")
    return found[wanted]


Request = str | Site | Callable[[Site], bool]
"""One wish for sites: a name, a glob or range (`*.resid_post`, `0-5.mlp_out`), a predicate."""


def named(wanted: Request | Iterable[Request], available: Mapping[Site, int]) -> tuple[Site, ...]:
    """As `expand`, where at least one site must be named. Raises `InputError` for none."""
    found = expand(wanted, available)
    if not found:
        raise InputError("no site is named; give at least one, such as 3.resid_post")
    return found


def expand(wanted: Request | Iterable[Request], available: Mapping[Site, int]) -> tuple[Site, ...]:
    """The sites that `wanted` names among `available` (site -> number of heads, 0 for none).

    Sites come in the order asked for, each once. Raises `InputError` for every name, glob,
    range or predicate that matches nothing, and for a head out of range; nothing is skipped.
    """
    if isinstance(wanted, str | Site) or callable(wanted):
        wanted = (wanted,)
    found: dict[Site, None] = {}
    faults: list[str] = []
    for request in wanted:
        try:
            found.update(dict.fromkeys(_matches(request, available)))
        except InputError as error:
            faults.append(str(error))
    if faults:
        raise InputError("; ".join(faults))
    return tuple(found)


def _matches(request: Request, available: Mapping[Site, int]) -> list[Site]:
    if isinstance(request, str):
        if any(character in request for character in "*?["):
            return _glob(request, available)
        if match := _RANGE.fullmatch(request):
            first, last = int(match[1]), int(match[2])
            if first > last:
                raise InputError(f"range {request!r} runs backwards; write {last}-{first}")
            return [_known(Site(match[3], layer), available) for layer in range(first, last + 1)]
        return [_known(Site.parse(request), available)]
    if isinstance(request, Site):
        return [_known(request, available)]
    if chosen := [site for site in available if request(site)]:
        return chosen
    raise InputError(f"predicate {request!r} matches none of the model's {len(available)} sites")


def _glob(pattern: str, available: Mapping[Site, int]) -> list[Site]:
    found = [
        site
        for site in available
        if fnmatchcase(str(site), pattern) or fnmatchcase(site.long, pattern)
    ]
    if not found:
        _expect_layers(pattern, available)
        names = sorted({f"*.{site.name}" if site.kind.layered else site.name for site in available})
        raise InputError(f"glob {pattern!r} matches no site{_nearest(pattern, names)}")
    return found


def _known(site: Site, available: Mapping[Site, int]) -> Site:
    if site.whole not in available:
        layers = [o.layer for o in available if o.name == site.name and o.layer is not None]
        if layers and site.layer is not None:
            raise InputError(f"site {site} is out of range: layers run from 0 to {max(layers)}")
        _expect_layers(str(site), available)
        names = dict.fromkeys(str(other) for other in available if other.layer in (None, 0))
        raise InputError(
            f"this model has no site {str(site)!r}; it has {', '.join(names)} (layer 0 shown)"
        )
    heads = available[site.whole]
    if site.head is not None and site.head >= heads:
        raise InputError(f"site {site} is out of range: heads run from 0 to {heads - 1}")
    return site


def _expect_layers(request: str, available: Mapping[Site, int]) -> None:
    if all(site.layer is None for site in available):
        names = ", ".join(str(site) for site in available)
        raise InputError(
            f"this model has no layers, and so no {request}; it has {names}: choose another model"
        )


def _nearest(text: str, names: Iterable[str]) -> str:
    names = list(names)
    near = difflib.get_close_matches(text, names, n=3, cutoff=0.5)
    if near:
        return f"; did you mean {' or '.join(near)}?"
    return f"; known: {', '.join(names)}"
