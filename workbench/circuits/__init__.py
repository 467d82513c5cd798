"""What heads can do, read from their weights alone: QK and OV circuits (Elhage et al. 2021).

A head scores a key by `x_query QK x_key` and writes `x_source OV`. Both are given in the basis
of the residual stream, as low-rank factors, with the norm before the attention folded in: its
weight and, for LayerNorm, its centring (of what is read and of what is written). Division by
the norm's scale, biases and the 1 / sqrt(d_head) of scores are left out. A raw and a folded load
of one model therefore have the same circuits up to rounding. Logits are centred over the
vocabulary, since softmax does not see their mean.

What has tokens at its ends (`token_scores`, `directions`, copying) takes the path straight from
the embedding to the head and, for OV, straight from the head to the logits.
"""

from workbench.circuits.composition import COMPOSITIONS, Partners, baseline, composition, partners
from workbench.circuits.heads import Circuit, ov, qk
from workbench.circuits.tokens import (
    Directions,
    copying_score,
    copying_scores,
    directions,
    eigenvalues,
    token_scores,
)

__all__ = [
    "COMPOSITIONS",
    "Circuit",
    "Directions",
    "Partners",
    "baseline",
    "composition",
    "copying_score",
    "copying_scores",
    "directions",
    "eigenvalues",
    "ov",
    "partners",
    "qk",
    "token_scores",
]
