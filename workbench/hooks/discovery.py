"""Which sites a model has, found by running it."""

from collections.abc import Mapping
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from workbench.hooks.forward import State, forward
from workbench.models import Model, Road
from workbench.sites import Site

_SITES: "WeakKeyDictionary[Model, Mapping[Site, int]]" = WeakKeyDictionary()


def sites(model: Model) -> Mapping[Site, int]:
    """Every site the model has, in forward order -> its number of heads (0 without heads).

    Found once per model by running two tokens, because a hook point that exists need not
    fire. Where the plain tree serves too, its values are held against the bridge's: a module
    that a new release of the model library moved or re-ordered raises `RuntimeError`.
    """
    with model.lock:
        if model not in _SITES:
            found = _fired(model, model.bridge_road)
            if model.plain_road is not None:
                _agree(_fired(model, model.plain_road), found)
            heads = {site: _n_heads(site, tensor) for site, tensor in found.items()}
            n_heads = model.architecture.n_heads
            heads |= {Site("result", s.layer): n_heads for s in found if s.name == "z"}
            _SITES[model] = dict(sorted(heads.items(), key=lambda item: item[0].order))
        return _SITES[model]


def _fired(model: Model, road: Road) -> dict[Site, Tensor]:
    tokens = torch.zeros((1, 2), dtype=torch.long, device=model.device)
    tokens[0, 1] = min(1, model.architecture.d_vocab - 1)
    state = State(reads=dict.fromkeys(road.points, False), edits={}, stop=False, moved=[])
    with torch.no_grad():
        forward(road, state, tokens)
    return state.kept


def _agree(plain: Mapping[Site, Tensor], bridge: Mapping[Site, Tensor]) -> None:
    for site, value in plain.items():
        other = bridge.get(site)
        # 5 %: far above rounding in half precision, far below another tensor's difference.
        if (
            other is None
            or other.shape != value.shape
            or bool((value - other).norm() > 0.05 * other.norm())
        ):
            raise RuntimeError(
                f"{site} read from the model's own modules differs from TransformerLens' value; "
                "the model library has changed: update workbench.models.roads"
            )


def _n_heads(site: Site, tensor: Tensor) -> int:
    axis = site.kind.head_axis
    return 0 if axis is None else tensor.shape[axis]
