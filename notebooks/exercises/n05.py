"""The exercises of notebook 05: a block, RMSNorm, a mixture of experts, a prefix mask."""

from collections.abc import Callable, Mapping, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from notebooks.check import Hint, exercise, like, tried

Stream = Float[Tensor, "*batch d_model"]
Part = Callable[[Stream], Stream]
Parts = tuple[Part, Part, Part, Part]


@exercise("05.block")
def block(answer: Callable[[Stream, Part, Part, Part, Part], Stream]) -> None:
    """Two reads of the stream, two writes to it, each norm before its part."""
    generator = torch.Generator().manual_seed(0)
    for shape in ((1, 3, 4), (2, 5, 8)):
        x = torch.randn(*shape, generator=generator)
        parts = _parts(shape[-1], generator)
        given = x.clone()
        found = tried(answer, given, *parts, told=f"a stream of shape {list(shape)} and four parts")
        if not torch.equal(given, x):
            raise Hint("it changes the stream that it is given; make a new one (no +=)")
        wanted = _block(x, *parts)
        like_shape = isinstance(found, Tensor) and found.shape == wanted.shape
        if like_shape and not _same(found, wanted):
            for name, hint in _BLOCKS.items():
                if _same(found, _wrong_block(name, x, *parts)):
                    raise Hint(hint)
        like(found, wanted, "the stream after your block")


def _parts(d_model: int, generator: torch.Generator) -> Parts:
    """Four functions that no two orders of use make alike."""
    first, second, third, fourth = torch.randn(4, d_model, d_model, generator=generator)
    return (
        lambda x: (x @ first).sin(),
        lambda x: (x @ second).cumsum(-2),
        lambda x: (x @ third).cos(),
        lambda x: (x @ fourth).tanh() * 3,
    )


def _block(x: Stream, norm_1: Part, attention: Part, norm_2: Part, mlp: Part) -> Stream:
    x = x + attention(norm_1(x))
    return x + mlp(norm_2(x))


_BLOCKS: Mapping[str, str] = {
    "post": "that is post-norm: here the norm stands before attention and MLP, not after the sum",
    "side": "that is the parallel form: the MLP is to read what attention has written",
    "no stream": "the stream is lost on the way: what a part returns is added to it, not put in "
    "its place",
    "second lost": "the second sum does not start from the stream that attention has written to",
    "one norm": "the same norm is used twice; each part has its own",
    "no norms": "attention and MLP read the stream as it is; what should stand before them?",
    "normed stream": "the norm's output is added to: the stream itself goes by the norm, only the "
    "part reads through it",
    "first": "this ends after attention",
}


def _wrong_block(
    name: str, x: Stream, norm_1: Part, attention: Part, norm_2: Part, mlp: Part
) -> Stream:
    mid = x + attention(norm_1(x))
    after, read = norm_1(x + attention(x)), norm_1(x)
    wrong = {
        "post": lambda: norm_2(after + mlp(after)),
        "side": lambda: mid + mlp(norm_2(x)),
        "no stream": lambda: mlp(norm_2(attention(norm_1(x)))),
        "second lost": lambda: x + mlp(norm_2(mid)),
        "one norm": lambda: mid + mlp(norm_1(mid)),
        "no norms": lambda: (x + attention(x)) + mlp(x + attention(x)),
        "normed stream": lambda: _normed(read + attention(read), norm_2, mlp),
        "first": lambda: mid,
    }
    return wrong[name]()


def _normed(mid: Stream, norm: Part, mlp: Part) -> Stream:
    read = norm(mid)
    return read + mlp(read)


@exercise("05.rms_norm")
def rms_norm(answer: Callable[[Stream, Float[Tensor, " d_model"], float], Stream]) -> None:
    """Each position by its own root mean square, nothing taken off."""
    generator = torch.Generator().manual_seed(1)
    for shape, eps in (((2, 3, 8), 1e-5), ((4, 4, 4), 1e-5), ((6,), 1e-5), ((2, 3, 8), 0.5)):
        x = torch.randn(*shape, generator=generator) * 2 + 1
        weight = torch.rand(shape[-1], generator=generator) + 0.5
        given = x.clone()
        found = tried(
            answer, given, weight, eps, told=f"x of shape {list(shape)}, weight, eps = {eps}"
        )
        if not torch.equal(given, x):
            raise Hint("it changes the x that it is given; make a new tensor")
        wanted = _rms(x, weight, eps)
        if isinstance(found, Tensor) and found.shape == wanted.shape:
            _why_not_rms(found, wanted, x, weight, eps)
        like(found, wanted, f"your result for x of shape {list(shape)} and eps = {eps}")


def _rms(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return x / (x.square().mean(-1, keepdim=True) + eps).sqrt() * weight


def _why_not_rms(found: Tensor, wanted: Tensor, x: Tensor, weight: Tensor, eps: float) -> None:
    if _same(found, wanted):
        return
    square, spread = x.square(), x - x.mean(-1, keepdim=True)
    mean = square.mean(-1, keepdim=True)
    variance = spread.square().mean(-1, keepdim=True)
    wrong: Sequence[tuple[Tensor, str]] = (
        (spread / (variance + eps).sqrt() * weight, "that is LayerNorm: RMSNorm takes no mean off"),
        (x / (variance + eps).sqrt() * weight, "you divide by the spread around the mean; RMSNorm "
         "takes the mean of the squares themselves"),
        (wanted / weight, "the weight has no effect"),
        (x / (square.sum(-1, keepdim=True) + eps).sqrt() * weight, "that is the length; the root "
         "*mean* square divides the sum by something first"),
        (x / (mean.sqrt() + eps) * weight, "eps belongs under the root"),
        (x / mean.sqrt() * weight, "eps has no effect"),
        (x / (mean + eps) * weight, "you divide by the mean square; a root is missing"),
        (x / (square.mean() + eps).sqrt() * weight, "all positions are divided by one number; each "
         "position has its own"),
        (x * (mean + eps).sqrt() * weight, "you multiply by the root mean square"),
    )  # fmt: skip
    for other, hint in wrong:
        if _same(found, other):
            raise Hint(hint)
    if x.ndim > 1:
        across = x / (square.mean(-2, keepdim=True) + eps).sqrt() * weight
        keepless = square.mean(-1)
        if _same(found, across):
            raise Hint("the mean runs over positions; each position is normalised by itself")
        fits = keepless.shape[-1] == x.shape[-1]
        if fits and _same(found, x / (keepless + eps).sqrt() * weight):
            raise Hint("a square shape hid it: does the divisor still have the axis d_model?")


@exercise("05.mixture")
def mixture(
    answer: Callable[[Stream, Float[Tensor, "d_model expert"], Sequence[Part], int], Stream],
) -> None:
    """The k best experts of each token, weighted by a softmax over those k; no others run."""
    wasteful = ""
    for n_tokens, d_model, n_experts, k in ((5, 4, 3, 1), (7, 6, 4, 2), (4, 4, 4, 3), (6, 5, 4, 4)):
        told = f"{n_tokens} tokens, {n_experts} experts, k = {k}"
        generator = torch.Generator().manual_seed(n_tokens)
        x = torch.randn(n_tokens, d_model, generator=generator)
        router = torch.randn(d_model, n_experts, generator=generator)
        matrices = torch.randn(n_experts, d_model, d_model, generator=generator)
        rows: list[int] = []
        experts = [_counted(matrix, rows) for matrix in matrices]
        found = tried(answer, x.clone(), router, experts, k, told=told)
        read = sum(rows)
        outputs = torch.stack([(x @ matrix).tanh() for matrix in matrices])  # expert token d_model
        wanted = _mixed(outputs, _chosen(x @ router, k))
        if isinstance(found, Tensor) and found.shape == wanted.shape:
            _why_not_mixed(found, wanted, outputs, x @ router, k, told)
        like(found, wanted, f"your result for {told}")
        if read > n_tokens * k and not wasteful:
            wasteful = f"with {told} your experts read {read} rows in all, and {n_tokens * k} are"
    if wasteful:
        raise Hint(
            f"the result is right, but {wasteful} enough: hand each expert only the tokens that "
            "chose it"
        )


def _counted(matrix: Tensor, rows: list[int]) -> Part:
    def expert(x: Tensor) -> Tensor:
        rows.append(x.reshape(-1, x.shape[-1]).shape[0])
        return (x @ matrix).tanh()

    return expert


def _chosen(scores: Float[Tensor, "token expert"], k: int) -> Float[Tensor, "token expert"]:
    """The weight of each expert for each token; 0 for those that were not chosen."""
    best = scores.topk(k, dim=-1)
    return torch.zeros_like(scores).scatter(-1, best.indices, best.values.softmax(-1))


def _mixed(outputs: Float[Tensor, "expert token d_model"], weights: Tensor) -> Tensor:
    return torch.einsum("etd,te->td", outputs, weights)


def _why_not_mixed(
    found: Tensor, wanted: Tensor, outputs: Tensor, scores: Tensor, k: int, told: str
) -> None:
    if _same(found, wanted):
        return
    picked, every = _chosen(scores, k) > 0, scores.softmax(-1)
    alike = torch.zeros_like(scores)
    alike[:, scores.mean(0).topk(k).indices] = 1.0
    by_expert = (_chosen(scores.T, min(k, len(scores))) > 0).T
    ascending = _mixed(outputs, _misplaced(scores, k))
    wrong: Sequence[tuple[Tensor, str]] = (
        (_mixed(outputs, every), "all experts take part; only the k best are asked"),
        (_mixed(outputs, every * picked), "the right experts, but their weights do not sum to 1: "
         "take the softmax over the chosen ones alone"),
        (_mixed(outputs, picked.float()), "the chosen experts are summed without weights"),
        (_mixed(outputs, picked.float() / k), "the chosen experts count alike; the router's "
         "scores say how much each counts"),
        (_mixed(outputs, scores * picked), "the router's scores themselves are no weights; a "
         "softmax makes them positive, with the sum 1"),
        (_mixed(outputs, _chosen(-scores, k)), "these are the experts with the smallest scores"),
        (_mixed(outputs, (scores * alike).masked_fill(alike == 0, -torch.inf).softmax(-1)),
         "all tokens get the same experts; each token chooses its own"),
        (_mixed(outputs, scores.softmax(0) * picked), "your softmax runs over the tokens; each "
         "token shares itself out over experts"),
        (_mixed(outputs, scores.masked_fill(~by_expert, -torch.inf).softmax(-1).nan_to_num()),
         "here experts choose tokens; it is tokens that choose experts. Along which axis is the "
         "best k sought?"),
        (ascending, "weights and experts are in different orders: topk gives the best first, "
         "not the expert of lowest number first"),
    )  # fmt: skip
    for other, hint in wrong:
        if _same(found, other):
            raise Hint(f"for {told}: {hint}")


def _misplaced(scores: Tensor, k: int) -> Tensor:
    """The weights, best first, laid upon the chosen experts in the order of their numbers."""
    best = scores.topk(k, dim=-1)
    return torch.zeros_like(scores).scatter(
        -1, best.indices.sort(-1).values, best.values.softmax(-1)
    )


@exercise("05.prefix")
def prefix(answer: Callable[[int, int], Bool[Tensor, "query key"]]) -> None:
    """Everything of the prefix is seen by all; the rest only by itself and what follows."""
    for n_prefix, n in ((3, 6), (0, 4), (4, 4), (1, 3), (2, 5)):
        told = f"n_prefix = {n_prefix}, n = {n}"
        found = tried(answer, n_prefix, n, told=told)
        if not isinstance(found, Tensor) or found.dtype != torch.bool:
            raise Hint("a tensor of True and False is asked for: True where a query may look")
        wanted = _prefix(n_prefix, n)
        if found.shape == wanted.shape and not torch.equal(found, wanted):
            raise Hint(f"for {told}: {_why_not_prefix(found, wanted, n_prefix)}")
        like(found.float(), wanted.float(), f"your mask for {told}")


def _prefix(n_prefix: int, n: int) -> Tensor:
    places = torch.arange(n)
    return (places[None] <= places[:, None]) | (places[None] < n_prefix)


def _why_not_prefix(found: Tensor, wanted: Tensor, n_prefix: int) -> str:
    n = len(wanted)
    for other, hint in (
        (wanted.T, "it is turned: rows are queries, columns are keys"),
        (~wanted, "it is inside out: True is where a query may look"),
        (_prefix(n_prefix + 1, n), "the prefix is one too long; positions count from 0"),
        (_prefix(max(0, n_prefix - 1), n), "the prefix is one too short; positions count from 0"),
        (_prefix(0, n), "that is a decoder's mask; inside the prefix, all see all"),
        (_prefix(n, n), "that is an encoder's mask; after the prefix, nobody sees what follows"),
    ):
        if torch.equal(found, other):
            return hint
    if not found.diagonal().all():
        return "some position may not look at itself"
    if not found[n_prefix:, :n_prefix].all():
        return "what stands after the prefix must see all of the prefix"
    query, key = (int(one) for one in (found != wanted).nonzero()[0])
    return f"look at query {query} and key {key}: may it look there?"


def _same(found: Tensor, other: Tensor) -> bool:
    return found.shape == other.shape and torch.allclose(
        found.float(), other.float(), rtol=1e-4, atol=1e-5
    )
