"""The exercises of notebook 07: a KV cache, INT8, the online softmax, the compute-optimal split."""

from collections.abc import Callable, Iterator
from itertools import pairwise

import torch
from jaxtyping import Float, Int8
from torch import Tensor

from notebooks.check import Hint, Largest, exercise, like, tried
from workbench.models import Architecture

Matrix = Float[Tensor, "out in"]
Block = tuple[Float[Tensor, " key"], Float[Tensor, "key d_head"]]


@exercise("07.cache")
def cache(answer: Callable[[Architecture, int, int, int], int]) -> None:
    """Keys and values, of each layer, key-value head, position and text."""
    for sizes, n_tokens, n_texts, n_bytes in (
        (Architecture("llama", 5, 66, 11, 528, 8, 100, 64, 96), 7, 3, 4),
        (Architecture("llama", 3, 8, 1, 80, 16, 100, 64, 96), 11, 1, 4),
        (Architecture("gpt2", 2, 4, 4, 20, 5, 100, 64, 96), 13, 17, 1),
    ):
        kv = 2 * sizes.n_layers * sizes.n_kv_heads * sizes.d_head * n_tokens * n_texts * n_bytes
        told = f"{sizes}, {n_tokens} tokens, {n_texts} texts, {n_bytes} bytes each"
        found = tried(answer, sizes, n_tokens, n_texts, n_bytes, told=told)
        for factor, hint in (
            (0.5, "keys are kept, and values too"),
            (sizes.n_heads / sizes.n_kv_heads, "queries have more heads than keys and values"),
            (sizes.n_heads / sizes.n_kv_heads / 2, "whose heads are kept, and of what?"),
            (1 / sizes.n_layers, "that is one layer's"),
            (1 / sizes.n_kv_heads, "that is one head's"),
            (1 / n_texts, "that is one text's"),
            (1 / n_bytes, "that counts numbers; bytes are asked for"),
            (n_tokens, "each position is kept once; it is no table of queries and keys"),
            (sizes.n_heads, "d_model holds all heads already; do not multiply by heads again"),
            (1.5, "queries are not kept; nobody asks again"),
        ):
            if factor != 1 and isinstance(found, int | float) and abs(found - kv * factor) < 0.5:
                raise Hint(f"for {told}: {hint}")
        like(found, kv, f"your number of bytes for {told}", tolerance=1e-9)


@exercise("07.quantise")
def quantise(answer: Callable[[Matrix], tuple[Int8[Tensor, "out in"], Float[Tensor, "out 1"]]]):
    """One scale a row, its largest at 127 on one side, rounded to the nearest."""
    for seed, (n_out, n_in) in enumerate(((4, 6), (7, 5), (3, 3))):
        generator = torch.Generator().manual_seed(seed)
        sizes = torch.logspace(-2, 1, n_out)[:, None]
        weight = sizes * torch.randn(n_out, n_in, generator=generator)
        told = f"a weight of shape [{n_out}, {n_in}]"
        given = weight.clone()
        found = tried(answer, given, told=told)
        if not torch.equal(given, weight):
            raise Hint("it changes the weight that it is given; make a new tensor")
        if not isinstance(found, tuple | list) or len(found) != 2:
            raise Hint("two things are asked for: the codes, and the scales")
        codes, scales = found
        _quantised(codes, scales, weight, f"for {told}")


def _quantised(codes: object, scales: object, weight: Matrix, told: str) -> None:
    largest = weight.abs().amax(1, keepdim=True)
    if not isinstance(codes, Tensor) or codes.dtype != torch.int8:
        kind = codes.dtype if isinstance(codes, Tensor) else type(codes).__name__
        raise Hint(f"{told} the codes are {kind}; a torch tensor of int8 is asked for")
    scales = _scales(scales, weight, told)
    like(codes, codes.new_zeros(weight.shape), f"{told} the shape of your codes", tolerance=1e9)
    back = codes.float() * scales
    if bool(((back * weight < 0) & (back.abs() > scales)).any()):
        raise Hint(
            f"{told} a number came back with the other sign: int8 goes round above 127. To which "
            "code does the largest of a row go?"
        )
    if bool((back - weight).abs().gt(0.505 * scales).any()):
        toward_zero = bool((codes.float().abs() <= (weight / scales).abs() + 1e-3).all())
        raise Hint(
            f"{told} numbers come back more than half a step off. "
            + ("Is it rounded to the nearest, or cut?" if toward_zero else "How is it rounded?")
        )
    like(scales, largest / 127, f"{told} your column of scales")


def _scales(scales: object, weight: Matrix, told: str) -> Float[Tensor, "out 1"]:
    if not isinstance(scales, Tensor):
        raise Hint(f"{told} the scales are {type(scales).__name__}; a torch tensor is asked for")
    n_out, n_in = weight.shape
    by_column = f"{told} there is a scale for each column; a row is one output. Which axis?"
    for wrong, hint in (
        (scales.numel() == 1, f"{told} there is one scale for all; each row is to have its own"),
        (tuple(scales.shape) == (1, n_in), by_column),
        (tuple(scales.shape) == (n_in,) != (n_out,), by_column),
        (scales.ndim == 1, f"{told} the scales have lost an axis; keep it, to meet their rows"),
        (tuple(scales.shape) != (n_out, 1), f"{told} the scales are {list(scales.shape)}"),
    ):
        if wrong:
            raise Hint(hint)
    scales, largest = scales.float(), weight.abs().amax(1, keepdim=True)
    for other, hint in (
        (weight.amax(1, keepdim=True) / 127, "the largest is taken with its sign; -9 is larger"),
        (127 / largest, "the scales are upside down: codes times scales give the weight"),
        (largest, "a scale is one step: the largest, divided by its code"),
    ):
        if torch.allclose(scales, other) and not torch.allclose(scales, largest / 127):
            raise Hint(f"{told} {hint}")
    return scales


@exercise("07.online")
def online(answer: Callable[[Iterator[Block]], Float[Tensor, " d_head"]]) -> None:
    """Blocks of any size, each gone when the next one comes, and scores of any size."""
    for seed, (shift, sizes) in enumerate(((0.0, (4,)), (0.0, (3, 5, 1)), (500.0, (2, 4)))):
        generator = torch.Generator().manual_seed(seed)
        scores = 3 * torch.randn(sum(sizes), generator=generator) + shift
        values = torch.randn(sum(sizes), 3, generator=generator)
        for order in (torch.arange(sum(sizes)), scores.argsort(), scores.argsort(descending=True)):
            told = f"blocks of {list(sizes)} keys" + (", scores near 500" if shift else "")
            found = tried(answer, _passing(scores[order], values[order], sizes), told=told)
            wanted = scores[order].softmax(0) @ values[order]
            if isinstance(found, Tensor) and found.shape == wanted.shape:
                _why_not(found, wanted, scores[order], values[order], sizes)
            like(found, wanted, f"your output for {told}")
    _keeps_little(answer)


def _keeps_little(answer: Callable[[Iterator[Block]], Float[Tensor, " d_head"]]) -> None:
    """Among a hundred blocks of two keys nothing large is ever made."""
    scores, values = torch.zeros(200), torch.ones(200, 3)
    with Largest() as made:
        blocks = ((scores[at : at + 2], values[at : at + 2]) for at in range(0, 200, 2))
        tried(answer, blocks, told="100 blocks")
    if made.entries >= 100:
        raise Hint(
            f"for 100 blocks of 2 keys it makes a tensor of {made.entries} numbers: what is kept "
            "grows with the text. A maximum, a sum and one output are enough"
        )


def _passing(scores: Tensor, values: Tensor, sizes: tuple[int, ...]) -> Iterator[Block]:
    """Blocks one at a time; as in a small memory, each is overwritten by the next."""
    ends = torch.tensor((0, *sizes)).cumsum(0).tolist()
    for start, end in pairwise(ends):
        block = scores[start:end].clone(), values[start:end].clone()
        yield block
        for one in block:
            one.fill_(torch.nan)


def _why_not(found: Tensor, wanted: Tensor, scores: Tensor, values: Tensor, sizes) -> None:
    found = found.to(wanted.dtype)
    if torch.allclose(found, wanted, atol=1e-4):
        return
    told = f"blocks of {list(sizes)} keys"
    if not bool(found.isfinite().all()):
        if float(scores.min()) > 100:
            raise Hint("scores near 500 overflow: what is subtracted before `exp`?")
        raise Hint(
            f"for {told} there are values that are not finite. Is a block still used after the "
            "next one came? Its memory is gone then. Or is something infinite less infinite?"
        )
    parts, weights = scores.split(list(sizes)), values.split(list(sizes))
    each = torch.stack([s.softmax(0) @ v for s, v in zip(parts, weights, strict=True)])
    sums = torch.stack([(s - s.max()).exp().sum() for s in parts])
    for other, hint in (
        (each[-1], "that is the last block's output; the others have weight too"),
        (each.sum(0), "each block's softmax sums to 1, so that all of them sum to more"),
        (each.mean(0), "blocks do not weigh the same; larger scores weigh more"),
        ((sums[:, None] * each).sum(0) / sums.sum(), _SCALE),
        (wanted * (scores - scores.max()).exp().sum(), "it is not divided by the sum"),
    ):
        if torch.allclose(found, other, atol=1e-4):
            raise Hint(f"for {told}: {hint}")
    raise Hint(
        f"for {told} the values are others. When a larger score comes, the sum and the output "
        "so far were made with the old maximum: both of them have to be scaled, by the same number"
    )


_SCALE = "each block has its own maximum subtracted; what was summed under the old one is to shrink"


@exercise("07.split")
def split(
    answer: Callable[[float, float, float, float, float], tuple[float, float]],
) -> None:
    """6 N D is the compute, and no other split has a lower loss."""
    for compute, fit in (
        (6e20, (406.4, 410.7, 0.34, 0.28)),
        (3e18, (482.0, 2085.0, 0.3478, 0.3658)),
        (6e12, (100.0, 100.0, 0.5, 0.5)),
        (9e15, (30.0, 200.0, 0.4, 0.25)),
    ):
        told = f"{compute:g}, A={fit[0]}, B={fit[1]}, alpha={fit[2]}, beta={fit[3]}"
        found = tried(answer, compute, *fit, told=told)
        try:
            n, d = (float(one) for one in found)
        except (TypeError, ValueError):
            raise Hint("two numbers are asked for: parameters, and tokens") from None
        wanted = _optimum(compute, *fit)
        _not_the_split(n, d, compute, fit, wanted, told)


def _not_the_split(n: float, d: float, compute: float, fit, wanted, told: str) -> None:
    if _near(n, wanted[0]) and _near(d, wanted[1]):
        return
    a, b, alpha, beta = fit
    power = (compute / 6) ** (beta / (alpha + beta))
    side = "fewer" if n > wanted[0] else "more"
    for is_so, hint in (
        (_near(d, wanted[0]) and _near(n, wanted[1]), _EXCHANGED),
        (_near(n * d, compute), "N times D is the compute; how many operations a parameter?"),
        (not _near(6 * n * d, compute), f"6 N D is {6 * n * d / compute:.3g} times the compute"),
        (_near(d, 20 * n), "that is the rule of 20; what does this fit say?"),
        (_near(n, power), "the exponent is right, the factor before it is missing"),
        (_near(n, (a / b) ** (1 / (alpha + beta)) * power), "a power's derivative has a factor"),
        (True, f"{side} parameters and the same compute have a lower loss"),
    ):
        if is_so:
            raise Hint(f"for ({told}) {hint}")


_EXCHANGED = "the two are exchanged: parameters come first, and A and alpha are theirs"


def _optimum(compute: float, a: float, b: float, alpha: float, beta: float) -> tuple[float, float]:
    both = alpha + beta
    n = (alpha * a / (beta * b)) ** (1 / both) * (compute / 6) ** (beta / both)
    return n, compute / 6 / n


def _near(one: float, other: float) -> bool:
    return abs(one - other) <= 0.01 * abs(other)
