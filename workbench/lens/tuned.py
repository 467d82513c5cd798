"""The tuned lens: an affine translator for each layer, then the model's own unembedding.

Belrose et al. 2023 (arXiv 2303.08112). A layer's residual is first carried into the basis of the
last one, so that what differs from the output is what the layer does not know yet, not what it
writes in another way.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from workbench.lens.logit import Unembed, row_labels
from workbench.models import Model


@dataclass(frozen=True, eq=False)
class TunedLens:
    """Translators `x + matrix x + bias` by row (row 0 is the embedding, row l + 1 the output of
    layer l), and the model's `unembed`. The last row has none: it is the model's own output.

    Goes wherever a lens takes its unembedding: `lens(resid, tuned)`. A row of zeros is the
    logit lens. Arithmetic is float32, what comes in and goes out has the model's dtype.
    `about` is the card of a lens that was loaded.
    """

    matrix: Float[Tensor, "layer d_model d_model"] = field(repr=False)
    bias: Float[Tensor, "layer d_model"] = field(repr=False)
    unembed: Unembed
    about: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        """Rows of the lens, the last one included."""
        return len(self.matrix) + 1

    def __getitem__(self, row: int) -> Unembed:
        """The unembedding of one row; -1 is the last."""
        return partial(self._logits, range(len(self))[row])

    def translated(
        self, row: int, resid: Float[Tensor, "*batch d_model"]
    ) -> Float[Tensor, "*batch d_model"]:
        """The residual after the row's translator, as if it came out of the last layer."""
        if row == len(self.matrix):
            return resid
        moved = torch.nn.functional.linear(resid.float(), self.matrix[row], self.bias[row])
        return (resid.float() + moved).to(resid.dtype)

    @property
    def identities(self) -> list[str]:
        """Names of the rows, but the last, that read as the logit lens does."""
        names = row_labels(len(self))
        pairs = zip(names, self.matrix, self.bias, strict=False)
        return [name for name, matrix, bias in pairs if not matrix.any() and not bias.any()]

    def with_identity(self, rows: Iterable[int]) -> "TunedLens":
        """The same lens, with these rows read as the logit lens reads them."""
        matrix, bias = self.matrix.clone(), self.bias.clone()
        for row in rows:
            matrix[row], bias[row] = 0, 0
        return replace(self, matrix=matrix, bias=bias)

    def _logits(
        self, row: int, resid: Float[Tensor, "*batch d_model"]
    ) -> Float[Tensor, "*batch d_vocab"]:
        return self.unembed(self.translated(row, resid))


def untrained(model: Model) -> TunedLens:
    """A lens of identities: exactly the logit lens."""
    n_rows, d_model = model.architecture.n_layers, model.architecture.d_model
    matrix = torch.zeros(n_rows, d_model, d_model, device=model.device)
    return TunedLens(matrix, torch.zeros(n_rows, d_model, device=model.device), model.unembed)
