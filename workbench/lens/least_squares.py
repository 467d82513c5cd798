"""Where training starts: the affine maps that carry each layer's residual nearest to the last's."""

from dataclasses import dataclass

import torch
from einops import einsum
from jaxtyping import Float
from torch import Tensor

from workbench.errors import InputError
from workbench.lens.rows import whole

RIDGE = 1e-3  # of a typical row's variance per dimension


@dataclass(frozen=True)
class Start:
    """Translators to start from, and the coordinates to go on in.

    In `(x - mean) whiten` no direction has a variance above 1, so that no row outweighs the
    rest: at the BOS token and other sinks the stream is a hundred times longer than elsewhere.
    `scale` is the typical size of an entry of the last layer's stream.
    """

    matrix: Float[Tensor, "layer d_model d_model"]
    bias: Float[Tensor, "layer d_model"]
    mean: Float[Tensor, "layer d_model"]
    whiten: Float[Tensor, "layer d_model d_model"]
    scale: float

    def moved(
        self, turn: Float[Tensor, "*layer d_model d_model"], push: Float[Tensor, "*layer d_model"]
    ) -> tuple[Float[Tensor, "layer d_model d_model"], Float[Tensor, "layer d_model"]]:
        """Matrix and bias after `scale (turn whiten (x - mean) + push)` was added."""
        matrix = self.scale * turn @ self.whiten
        shift = einsum(matrix, self.mean, "layer out d_model, layer d_model -> layer out")
        return self.matrix + matrix, self.bias + self.scale * push - shift


class Moments:
    """Sums over rows of the stream, added batch by batch, from which `Start` follows.

    They are taken about the medians of the first batch, which sinks do not move, in float64.
    """

    def __init__(self) -> None:
        self.n_rows = 0

    def add(self, rows: Float[Tensor, "row position d_model"]) -> None:
        """Count these rows in; the last layer's is what the others should become."""
        rows = whole(rows.cpu() if rows.is_mps else rows)  # mps has no float64
        if not rows.shape[1]:
            return
        if not self.n_rows:
            self._begin(rows)
        x = (rows - self._centre[:, None])[:-1]
        gap = rows[-1:] - self._centre[-1:, None] - x
        self.n_rows += rows.shape[1]
        self._x += x.sum(1)
        self._gap += gap.sum(1)
        for row in range(len(x)):  # one by one: two more stacks of matrices would be large
            self._xx[row] += x[row].T @ x[row]
            self._xgap[row] += x[row].T @ gap[row]

    def start(self) -> Start:
        """Least squares for `x + matrix x + bias`, with a small ridge towards the identity.

        Raises `InputError` where no row was whole.
        """
        n_rows = self.n_rows
        if not n_rows:
            raise InputError(
                "no position has finite activations in every layer, so there is nothing to learn "
                "from; load the model in float32 or bfloat16"
            )
        x, gap = self._x / n_rows, self._gap / n_rows
        spread = self._xx / n_rows - x[:, :, None] * x[:, None]
        shared = self._xgap / n_rows - x[:, :, None] * gap[:, None]
        one = torch.eye(x.shape[1], dtype=torch.float64, device=x.device)
        typical = self._typical[:, None, None]
        matrix = torch.linalg.solve(spread + RIDGE * typical * one, shared).mT
        sizes, axes = torch.linalg.eigh(spread)
        whiten = axes * (sizes.clamp_min(0) + self._typical[:, None])[:, None].rsqrt() @ axes.mT
        mean = self._centre[:-1] + x
        bias = self._centre[-1] - self._centre[:-1] + gap
        bias = bias - einsum(matrix, mean, "layer out d_model, layer d_model -> layer out")
        return Start(matrix.float(), bias.float(), mean.float(), whiten.float(), self._scale)

    def _begin(self, rows: Float[Tensor, "row position d_model"]) -> None:
        self._centre = rows.median(1).values
        around = (rows - self._centre[:, None]).square().mean(-1).median(1).values
        self._typical = around[:-1].double().clamp_min(1e-6)
        self._scale = float(rows[-1].square().mean(-1).median().sqrt())
        n_layers, _, d_model = rows.shape
        self._x = rows.new_zeros(n_layers - 1, d_model, dtype=torch.float64)
        self._gap = torch.zeros_like(self._x)
        self._xx = rows.new_zeros(n_layers - 1, d_model, d_model, dtype=torch.float64)
        self._xgap = torch.zeros_like(self._xx)
