"""How many tokens go through the model at once, so that patched runs fit."""

from workbench.cache.resources import free_device, free_host, resident
from workbench.errors import InputError
from workbench.models import Model

TOKENS, TOKENS_ON_DEVICE = 1024, 2**14  # in one forward, where memory allows


def held_by(model: Model) -> int:
    """Bytes held now where the model computes."""
    now = resident(model.device)
    return now.host if model.device.type == "cpu" else now.device


def tokens_at_once(model: Model, memory: int | None, bytes_each: int, length: int) -> int:
    """Tokens in one forward. Raises `InputError` where not even one row fits."""
    on_cpu = model.device.type == "cpu"
    free = free_host() if on_cpu else free_device(model.device)
    allowed = memory if memory is not None else (free or 2**32) // 2
    most = allowed // bytes_each
    if most < length:
        raise InputError(
            f"one patched run of {length} tokens takes some {length * bytes_each / 1e6:,.0f} MB, "
            f"{allowed / 1e6:,.0f} MB are allowed; give more memory, or shorter prompts"
        )
    return min(most, max(length, TOKENS if on_cpu else TOKENS_ON_DEVICE))


def bytes_each(model: Model, length: int, everywhere: bool) -> int:
    """What a token of a patched run takes at its worst moment, about."""
    sizes, item = model.architecture, model.dtype.itemsize
    block = 10 * sizes.d_model + 4 * sizes.d_mlp + 3 * sizes.n_heads * length
    past = 4 * sizes.n_layers * sizes.n_kv_heads * sizes.d_head
    logits = sizes.d_vocab * (item + 8)  # and twice in float32
    return item * (block + past) + (logits if everywhere else -(-logits // length))
