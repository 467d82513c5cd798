"""What patched queries or keys do to the attention pattern, exactly.

A softmax that is saturated has no slope, so a gradient at queries or keys misses what replacing
them does. AtP* (Kramár et al. 2024, section 3.1.1) computes the pattern anew and goes on with
the gradient from there.
"""

from dataclasses import dataclass

import torch
from einops import einsum, rearrange, repeat
from jaxtyping import Bool, Float
from torch import Tensor

from workbench.errors import InputError
from workbench.hooks import Edit, Start, run, sites
from workbench.patching.runs import Runs
from workbench.sites import Site

Pattern = Float[Tensor, "pair head query key"]
Shares = Float[Tensor, "pair pos component"]

_NEAR = {torch.float32: 1e-3}  # of a pattern; 0.05 in half precision


@dataclass(frozen=True)
class PatternMoved:
    """Patches that move whole rows of the pattern: a query's, or all keys' together."""

    values: Float[Tensor, "pair key kv_head d_head"]
    moved: Pattern
    n_components: int

    def shares(self, at_z: Float[Tensor, "pair query head d_head"]) -> Shares:
        """By the query's position."""
        change = (self.moved * pattern_gradient(at_z, self.values)).sum(-1)
        return _grouped(change, self.n_components)


@dataclass(frozen=True)
class KeysMoved:
    """Patches of one key each, which every later query sees.

    `risen` is how much more attention the key gets, `others` where attention goes without it,
    where it is the `likeliest` one.
    """

    values: Float[Tensor, "pair key kv_head d_head"]
    pattern: Pattern
    risen: Pattern
    likeliest: Bool[Tensor, "pair head query key"]
    others: Pattern
    n_components: int

    def shares(self, at_z: Float[Tensor, "pair query head d_head"]) -> Shares:
        """By the key's position.

        What the key gains is taken from the others in proportion, so a query's change is
        (p' - p)(g_key - mean g of the others).
        """
        slope = pattern_gradient(at_z, self.values)
        mean = (self.pattern * slope).sum(-1, keepdim=True)
        rest = (mean - self.pattern * slope) / (1 - self.pattern).clamp_min(0.25)
        rest = torch.where(self.likeliest, (self.others * slope).sum(-1, keepdim=True), rest)
        return _grouped((self.risen * (slope - rest)).sum(-2), self.n_components)


def attention_moved(both: Runs, layer: int, *, whole: bool) -> PatternMoved | KeysMoved:
    """What patches of `q` or `k` at one layer move; `whole` patches all positions together."""
    name = both.variant.name
    site = both.variant.site(layer)
    count = both.source[site].shape[2]
    edit = Edit(site, lambda x: both.source[site].clone())
    values = _read(both, layer, [Site("v", layer)])[0]
    if name == "q" or whole:
        pattern = Site("pattern", layer)
        base, moved = (_read(both, layer, [pattern], one)[0] for one in (None, edit))
        return PatternMoved(values, moved - base, count)
    return _keys(values, _scores(both, layer, None), _scores(both, layer, edit), count)


def pattern_gradient(
    at_z: Float[Tensor, "pair query head d_head"], values: Float[Tensor, "pair key kv_head d_head"]
) -> Pattern:
    """The gradient at the pattern from that at z = pattern @ values."""
    group = at_z.shape[2] // values.shape[2]
    each = repeat(values.float(), "pair key kv d -> pair key (kv group) d", group=group)
    return einsum(at_z.float(), each, "pair query head d, pair key head d -> pair head query key")


def _keys(
    values: Float[Tensor, "pair key kv_head d_head"], base: Pattern, other: Pattern, count: int
) -> KeysMoved:
    """From the scores with the base run's keys and with the patched ones.

    The odds of the likeliest key are taken from the scores of the rest: 1 - p is 0 in rounding
    where the softmax is saturated.
    """
    pattern = base.softmax(-1)
    likeliest = torch.zeros_like(base, dtype=torch.bool)
    likeliest.scatter_(-1, base.argmax(-1, keepdim=True), True)
    rest = base.masked_fill(likeliest, -torch.inf)
    whole = base.logsumexp(-1, keepdim=True)
    without = torch.where(
        likeliest,
        rest.logsumexp(-1, keepdim=True),
        whole + torch.log1p(-pattern.masked_fill(likeliest, 0)),
    )
    risen = torch.sigmoid(other - without) - torch.sigmoid(base - without)
    seen, alone = base > -torch.inf, without == -torch.inf
    return KeysMoved(
        values,
        pattern,
        torch.where(seen & ~alone, risen, 0.0),
        likeliest,
        rest.softmax(-1).nan_to_num(),
        count,
    )


def _scores(both: Runs, layer: int, edit: Edit | None) -> Pattern:
    """The pattern's logits, -inf where a key is not seen.

    Raises `InputError` where they do not give the pattern: an attention not known here.
    """
    wanted, pattern = Site("scores", layer), Site("pattern", layer)
    known = sites(both.model)
    if wanted in known:
        scores, found = _read(both, layer, [wanted, pattern], edit)
        unseen = scores <= torch.finfo(both.model.dtype).min / 2
    else:
        names = [name if Site(name, layer) in known else name[-1:] for name in ("rot_q", "rot_k")]
        read = [*(Site(name, layer) for name in names), pattern]
        q, k, found = _read(both, layer, read, edit)
        k = repeat(k, "pair pos kv d -> pair pos (kv group) d", group=q.shape[2] // k.shape[2])
        scores = einsum(q, k, "pair query head d, pair key head d -> pair head query key")
        scores = scores / both.model.architecture.d_head**0.5
        unseen = torch.ones_like(scores[0, 0], dtype=torch.bool).triu(1)
    scores = scores.masked_fill(unseen, -torch.inf)
    near = _NEAR.get(both.model.dtype, 0.05)
    if float((scores.softmax(-1) - found).abs().max()) > near:
        raise InputError(
            f"AtP* cannot compute the attention of {both.model.name} "
            f"({both.model.architecture.family}) from its scores; use AtP or IG for its keys"
        )
    return scores


def _read(both: Runs, layer: int, wanted: list[Site], edit: Edit | None = None) -> list[Tensor]:
    """Some of one layer's activations in the base run, in float32."""
    start = Start(layer, both.resid[Site("resid_pre", layer)])
    ran = run(both.model, both.ids, read=wanted, edit=edit or (), start=start)
    return [ran[site].float() for site in wanted]


def _grouped(change: Float[Tensor, "pair head pos"], count: int) -> Shares:
    """Heads that share a key together."""
    return rearrange(change, "pair (kv group) pos -> pair pos kv group", kv=count).sum(-1)
