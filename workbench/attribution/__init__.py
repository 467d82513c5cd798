"""Direct logit attribution: which component wrote a logit difference, head by head.

The residual stream is a sum of what the components wrote, and the unembedding is linear. With
the final norm held at the scale that it has on the prompt (and LayerNorm's centring applied),
a logit difference is a sum over components, exactly; what rounding leaves over is stated as
the remainder. Elhage et al. 2021, Wang et al. 2022. Only direct paths are counted: what a
component does through later ones is theirs.
"""

from workbench.attribution.components import Attribution, attribute, over_layers
from workbench.attribution.inside import Neurons, by_source, neurons
from workbench.attribution.question import Question

__all__ = ["Attribution", "Neurons", "Question", "attribute", "by_source", "neurons", "over_layers"]
