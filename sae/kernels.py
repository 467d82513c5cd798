"""Sparse codes: which latents are active, and products with them that touch nothing else.

The forward pass of a TopK dictionary has one dense product, with the encoder. What follows it,
forward and backward, needs the active latents only (Gao et al. 2024, arXiv:2406.04093, section
2.2, on CUDA): here by sums and dot products over lists, which torch has for every device.
"""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import embedding_bag

_GROUP = 16  # latents of which first only the largest is looked at

with warnings.catch_warnings():  # torch says once per process that its CSR tensors are in beta
    warnings.simplefilter("ignore")
    torch.sparse_csr_tensor([0, 1], [0], [0.0], (1, 1), check_invariants=False)


@dataclass(frozen=True, eq=False)
class Codes:
    """The active latents of each row: row `r` has entries `offsets[r]` to `offsets[r + 1]`."""

    offsets: Int[Tensor, " rows_and_one"]
    latents: Int[Tensor, " active"]
    values: Float[Tensor, " active"]
    n_latents: int

    @property
    def n_rows(self) -> int:
        return len(self.offsets) - 1

    @cached_property
    def rows(self) -> Int[Tensor, " active"]:
        """The row of every entry."""
        counts = self.offsets.diff()
        numbers = torch.arange(self.n_rows, device=counts.device)
        return numbers.repeat_interleave(counts, output_size=len(self.latents))

    @cached_property
    def by_latent(self) -> tuple[Int[Tensor, " active"], Int[Tensor, " latents_and_one"]]:
        """The entries in the order of their latents, and where each latent's begin."""
        return self.latents.argsort(stable=True), _offsets(self.latents, self.n_latents)

    def dense(self) -> Float[Tensor, "row latent"]:
        """With all the zeros."""
        made = self.values.new_zeros(self.n_rows, self.n_latents)
        return made.index_put((self.rows, self.latents), self.values)

    def where(self, kept: Bool[Tensor, " active"]) -> "Codes":
        """Only these entries."""
        return Codes(
            _offsets(self.rows[kept], self.n_rows),
            self.latents[kept],
            self.values[kept],
            self.n_latents,
        )


def top_k(pre: Float[Tensor, "row latent"], k: int) -> Codes:
    """The `k` largest of each row; what is not above 0 stays in the list, as 0.

    Exact: the k largest lie in those k groups whose maxima are the largest.
    """
    n_rows, n_latents = pre.shape
    values, latents = _largest(pre, k)
    offsets = torch.arange(0, n_rows * k + 1, k, device=pre.device)
    return Codes(offsets, latents.flatten(), values.relu().flatten(), n_latents)


def _largest(
    pre: Float[Tensor, "row latent"], k: int
) -> tuple[Float[Tensor, "row k"], Int[Tensor, "row k"]]:
    n_groups, rest = divmod(pre.shape[1], _GROUP)
    if rest or n_groups < 2 * k or pre.is_cuda:
        return pre.topk(k, sorted=False)
    # a group is every n_groups-th latent, so that its maximum is taken along whole vectors
    best = pre.view(-1, _GROUP, n_groups).amax(1).topk(k, sorted=False).indices
    steps = torch.arange(0, pre.shape[1], n_groups, device=pre.device)
    among = (best[:, :, None] + steps).flatten(1)
    values, places = pre.gather(1, among).topk(k, sorted=False)
    return values, among.gather(1, places)


def above(pre: Float[Tensor, "row latent"], threshold: float | Float[Tensor, " latent"]) -> Codes:
    """All entries above `threshold`, which is at least 0."""
    rows, latents = (pre > threshold).nonzero(as_tuple=True)
    return Codes(_offsets(rows, len(pre)), latents, pre[rows, latents], pre.shape[1])


def batch_top_k(pre: Float[Tensor, "row latent"], k: int, warm: float = 0.0) -> Codes:
    """The `k` largest per row on average, over all rows together, that are above 0.

    Bussmann et al. 2024 (arXiv:2412.06410). `warm` is a guess at the least of them, such as the
    last batch's: what lies below it is only looked at where too little lies above, so the result
    does not depend on it.
    """
    n_kept = min(k * len(pre), pre.numel())
    found = above(pre, max(0.0, warm))
    if len(found.values) < n_kept and warm > 0:
        found = above(pre, 0.0)
    if len(found.values) <= n_kept:
        return found
    kept = torch.zeros(len(found.values), dtype=torch.bool, device=pre.device)
    kept[found.values.topk(n_kept, sorted=False).indices] = True
    return found.where(kept)


def decode(codes: Codes, weight: Float[Tensor, "latent d"]) -> Float[Tensor, "row d"]:
    """Each row's sum of its latents' rows of `weight`, times their values."""
    return embedding_bag(
        codes.latents,
        weight,
        codes.offsets,
        per_sample_weights=codes.values,
        mode="sum",
        include_last_offset=True,
    )


def dots(
    codes: Codes, rows: Float[Tensor, "row d"], weight: Float[Tensor, "latent d"]
) -> Float[Tensor, " active"]:
    """Each entry's product of its row of `rows` and its latent's row of `weight`."""
    where = torch.sparse_csr_tensor(
        codes.offsets,
        codes.latents,
        torch.zeros_like(codes.values),
        (codes.n_rows, codes.n_latents),
        check_invariants=False,
    )
    return torch.sparse.sampled_addmm(where, rows, weight.T, beta=0.0).values()


def gathered(
    codes: Codes, weights: Float[Tensor, " active"], rows: Float[Tensor, "row d"]
) -> Float[Tensor, "latent d"]:
    """Each latent's sum of the rows in which it is active, times `weights`, one per entry."""
    order, offsets = codes.by_latent
    return embedding_bag(
        codes.rows[order],
        rows,
        offsets,
        per_sample_weights=weights[order],
        mode="sum",
        include_last_offset=True,
    )


def summed(codes: Codes, weights: Float[Tensor, " active"]) -> Float[Tensor, " latent"]:
    """Each latent's sum of `weights`, one per entry."""
    return weights.new_zeros(codes.n_latents).index_add(0, codes.latents, weights)


def parts(codes: Codes, edges: tuple[int, ...]) -> Iterator[Codes]:
    """The codes cut by latent: those below the first edge, those from it to the second, ..."""
    first = 0
    for edge in edges:
        yield codes.where((codes.latents >= first) & (codes.latents < edge))
        first = edge


def rectified(codes: Codes, slopes: Float[Tensor, " active"]) -> Float[Tensor, " active"]:
    """Slopes by the values as slopes by what went into the ReLU."""
    return slopes * (codes.values > 0)


def with_values(codes: Codes, values: Float[Tensor, " active"]) -> Codes:
    """The same entries with other values."""
    return replace(codes, values=values)


def _offsets(numbers: Int[Tensor, " n"], among: int) -> Int[Tensor, " among_and_one"]:
    counts = torch.bincount(numbers, minlength=among)
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)])
