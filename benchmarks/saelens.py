"""SAELens' own ways to keep activations and to read them again, on what we use."""

# The peers are installed by `make bench` only.
# pyright: reportMissingImports=false

import io
from collections.abc import Iterator
from contextlib import redirect_stderr
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import datasets
import torch
from datasets import Array2D, Dataset, Features, Sequence, Value
from sae_lens.cache_activations_runner import CacheActivationsRunner, _mk_activations_store
from sae_lens.config import CacheActivationsRunnerConfig
from sae_lens.training.activations_store import ActivationsStore
from sae_lens.training.mixing_buffer import mixing_buffer
from torch import Tensor

NAME = f"SAELens {version('sae-lens')}"
BUFFER = 256  # contexts that its runner writes at a time; what does not fill it, it leaves out


class Runner(CacheActivationsRunner):
    """The runner, with what it runs handed in instead of loaded by name."""

    def __init__(self, config: CacheActivationsRunnerConfig, store: Any) -> None:
        self.cfg, self.activations_store = config, store
        self.context_size = config.context_size
        # As its own __init__ says what a stored context looks like.
        shape = (config.context_size, config.d_in)
        ids = Sequence(Value(dtype="int32"), length=config.context_size)
        self.features = Features(
            {config.hook_name: Array2D(shape=shape, dtype=config.dtype), "token_ids": ids}
        )


class HandedIn:
    """Activations `[context, pos, d_in]` in place of the store that gets them from a model."""

    def __init__(self, activations: Tensor, batch: int) -> None:
        self._batches = iter(activations.split(batch))

    def get_raw_llm_batch(self) -> tuple[Tensor, Tensor]:
        rows = next(self._batches).flatten(0, 1)
        return rows, torch.zeros(len(rows), dtype=torch.long)


def config(
    folder: Path, hook_name: str, shape: tuple[int, int, int], dtype: str, batch: int
) -> CacheActivationsRunnerConfig:
    """Settings that write `[context, pos, d_in]` into `folder`, in order."""
    n_contexts, n_ctx, d_in = shape
    size = min(BUFFER, n_contexts) * n_ctx * d_in * getattr(torch, dtype).itemsize
    return CacheActivationsRunnerConfig(
        dataset_path="handed in",
        model_name="handed in",
        model_batch_size=batch,
        hook_name=hook_name,
        d_in=d_in,
        training_tokens=n_contexts * n_ctx,
        context_size=n_ctx,
        new_cached_activations_path=str(folder),
        shuffle=False,
        dtype=dtype,
        device="cpu",
        buffer_size_gb=(size + 1) / 1e9,
        prepend_bos=False,
    )


def write(folder: Path, activations: Tensor, dtype: str, batch: int) -> None:
    """What the runner does with activations once it has them."""
    settings = config(folder, "site", cast(Any, tuple(activations.shape)), dtype, batch)
    _run(Runner(settings, HandedIn(activations, batch)))


def cache(folder: Path, model: Any, hook_name: str, tokens: Tensor, batch: int, d_in: int) -> None:
    """What the runner does with a model, tokens in contexts and a hook."""
    settings = config(folder, hook_name, (*cast(Any, tokens.shape), d_in), "float32", batch)
    ids = Dataset.from_dict({"tokens": tokens.tolist()})
    _run(Runner(settings, _mk_activations_store(model, settings, ids)))


def _run(runner: Runner) -> None:
    datasets.disable_progress_bars()
    with redirect_stderr(io.StringIO()):  # its own progress bar
        runner.run()


def rows_of(folder: Path, hook_name: str = "site") -> Tensor:
    """All that was written, `[context, pos, d_in]`."""
    stored = datasets.load_from_disk(str(folder)).with_format("torch")
    return torch.stack(cast(list[Tensor], list(stored[hook_name])))


def shuffled(
    folder: Path, shape: tuple[int, int, int], *, buffer: int, batch_size: int
) -> Iterator[Tensor]:
    """One pass of its cached reader through its mixing buffer, `[batch_size, d_in]` at a time.

    Its own `next_batch` mixes the end of a pass with the start of the next, so what it is made of
    is put together here with an end. A load refills the half of the buffer that was served,
    which was the fastest of the sizes tried: smaller loads copy the buffer each time.
    """
    n_contexts, n_ctx, d_in = shape
    store = ActivationsStore(
        model=cast(Any, None),
        dataset=None,
        streaming=False,
        hook_name="site",
        hook_head_index=None,
        context_size=n_ctx,
        d_in=d_in,
        n_batches_in_buffer=buffer // n_ctx,
        total_training_tokens=n_contexts * n_ctx,
        store_batch_size_prompts=buffer // n_ctx // 2,
        train_batch_size_tokens=batch_size,
        prepend_bos=False,
        normalize_activations="none",
        device=torch.device("cpu"),
        dtype="float32",
        cached_activations_path=str(folder),
    )
    return mixing_buffer(
        buffer_size=store.n_batches_in_buffer * store.training_context_size,
        batch_size=store.train_batch_size_tokens,
        activations_loader=_one_pass(store),
        mix_fraction=store.activations_mixing_fraction,
    )


def _one_pass(store: ActivationsStore) -> Iterator[Tensor]:
    while True:
        try:
            yield store.get_filtered_llm_batch(raise_on_epoch_end=True)
        except StopIteration:
            return
