"""How many tokens go through the model at once, so that patched runs fit."""

from jaxtyping import Float
from torch import Tensor

from workbench.cache.resources import free_device, free_host, resident
from workbench.errors import InputError
from workbench.models import Model

TOKENS, TOKENS_ON_DEVICE = 1024, 2**14  # in one forward, where memory allows
LOGITS = 2**21  # judged together: more are slower, since their memory is fetched anew


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


def bytes_each(model: Model, length: int, *, few: bool) -> int:
    """What a token of a patched run takes at its worst moment, about: where it is a row's only one.

    `few` says that most logits are left out.
    """
    logits = 0 if few else model.architecture.d_vocab * model.dtype.itemsize
    return _bytes_of_row(model, length, 1) + logits


def bytes_kept(model: Model, length: int, *, few: bool, everywhere: bool) -> int:
    """What a token of a pair keeps for as long as the pair is swept, about."""
    sizes, item = model.architecture, model.dtype.itemsize
    past = 2 * sizes.n_kv_heads * sizes.d_head
    logits = 0 if few else 2 * sizes.d_vocab
    return item * (
        sizes.n_layers * (3 * sizes.d_model + past)
        + (logits if everywhere else -(-logits // length))
    )


def bytes_run(
    model: Model, logits: Float[Tensor, "pair kept d_vocab"], rows: int, length: int, begin: int
) -> int:
    """What some patched runs from position `begin` on take, about, with `logits` like these."""
    _, kept, width = logits.shape
    computed = rows * min(kept, length - begin) * width
    judged = 4 * min(rows * kept * width, max(LOGITS, kept * width))  # they and copies
    each = _bytes_of_row(model, length, length - begin)
    return rows * each + logits.itemsize * (computed + judged)


def _bytes_of_row(model: Model, length: int, computed: int) -> int:
    """What a patched run of some computed positions takes in one block."""
    sizes = model.architecture
    position = 10 * sizes.d_model + 4 * sizes.d_mlp + 3 * sizes.n_heads * length
    earlier = 4 * length * sizes.n_kv_heads * sizes.d_head  # keys and values, gathered and joined
    return model.dtype.itemsize * (computed * position + earlier)
