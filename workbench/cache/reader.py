"""Block-shuffled reads of harvests: every row once per epoch, in an order that a seed fixes.

Blocks of consecutive rows, drawn from all shards, are copied into a buffer, and the rows of a full
buffer are shuffled: the disk sees blocks, the reader rows from a thousand places at once. The
order is a pure function of seed, block, buffer and epoch, so a read that resumes gives bit for
bit what it would have given.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np
import torch
import xxhash
from jaxtyping import Bool, Int, Shaped
from torch import Tensor

from workbench.cache.live import Live
from workbench.cache.stored import Harvest
from workbench.corpus import PUT_IN
from workbench.errors import InputError
from workbench.models import digest
from workbench.sites import Site, look_up

Source = Harvest | Live


@dataclass(frozen=True)
class State:
    """Where a read goes on: before row `row` of the order of epoch `epoch`.

    `source` is a digest of the harvests and of the rows chosen; with seed, block and buffer it
    fixes the order.
    """

    source: str
    seed: int
    block: int
    buffer: int
    epoch: int = 0
    row: int = 0

    def to_json(self) -> dict[str, str | int]:
        """A plain value for a JSON file; `from_json` reads it."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Any) -> "State":
        """Raises `InputError` for what `to_json` would not have made."""
        types = {field.name: int for field in fields(cls)} | {"source": str}
        if not isinstance(value, Mapping) or {k: type(v) for k, v in value.items()} != types:
            raise InputError(
                f"{value!r} is not a reader's state; give back the dict that State.to_json() made"
            )
        return cls(**value)


@dataclass(frozen=True)
class Rows:
    """One batch: activations `[row, ...]` by site, and the state after it.

    `index` says which rows they are: `context * n_ctx + pos` in the corpus.
    """

    activations: Mapping[Site, Shaped[Tensor, "row ..."]]
    index: Int[Tensor, " row"]
    state: State

    def __getitem__(self, site: Site | str) -> Tensor:
        return look_up(self.activations, site)


def shuffled(
    sources: Source | Sequence[Source],
    *,
    batch_size: int,
    seed: int = 0,
    block: int = 64,
    buffer: int = 2**16,
    skip_bos: bool = True,
    keep: Bool[np.ndarray, "context pos"] | None = None,
    epochs: int | None = 1,
    state: State | None = None,
) -> Iterator[Rows]:
    """Batches of shuffled rows, several sites of one corpus in step; each row once per epoch.

    They come from harvests, or from the model as they are needed (`live`; a block is then a whole
    context, and a buffer is filled by forwards of those that it holds). Rows of BOS tokens that
    packing put in are left out unless `skip_bos` is False, and those where `keep` is False.
    `block` and `buffer` are in rows; a buffer is held for each site. The last batch of an epoch
    may be short; `epochs=None` goes on for ever. `state` goes on after an earlier batch, whatever
    the batch size; it raises `InputError` where anything else that fixes the order is not the same.
    """
    sources = [sources] if isinstance(sources, Harvest | Live) else list(sources)
    _check_sizes(batch_size, seed, block, buffer, epochs)
    _check_sources(sources)
    chosen = _chosen(sources[0], skip_bos, keep)
    keys = [source.key.digest for source in sources]
    rows = xxhash.xxh3_128_hexdigest(np.packbits(chosen).data)
    start = State(digest({"harvests": keys, "rows": rows}), seed, block, buffer)
    if state is not None:
        _check_state(state, start, int(chosen.sum()))
    return _batches(sources, chosen, batch_size, epochs, state or start)


def _batches(
    sources: Sequence[Source],
    chosen: Bool[np.ndarray, " row"],
    batch_size: int,
    epochs: int | None,
    state: State,
) -> Iterator[Rows]:
    window = _Window(sources, chosen, state)
    while epochs is None or state.epoch < epochs:
        first, last = state.row, min(state.row + batch_size, window.n_rows)
        taken = [rows.new_empty((last - first, *rows.shape[1:])) for rows in window.buffers]
        index = torch.empty(last - first, dtype=torch.long)
        at = first
        while at < last:
            window.show(state.epoch, at)
            until = min(last, window.stop)
            here = slice(at - first, until - first)
            there = slice(at - window.start, until - window.start)
            for rows, out in zip(window.buffers, taken, strict=True):
                torch.index_select(rows, 0, window.order[there], out=out[here])
            index[here] = window.index[there]
            at = until
        whole = last == window.n_rows
        state = replace(state, epoch=state.epoch + whole, row=0 if whole else last)
        sites = (source.site for source in sources)
        yield Rows(dict(zip(sites, taken, strict=True)), index, state)


class _Window:
    """The buffers, showing rows `start` to `stop` of an epoch's order at a time.

    Position `order[i]` of the buffers holds row `start + i`, which is row `index[i]` of the corpus.
    """

    def __init__(
        self, sources: Sequence[Source], chosen: Bool[np.ndarray, " row"], state: State
    ) -> None:
        self._sources, self._chosen = sources, chosen
        self._seed, self._block = state.seed, state.block
        self._blocks_held = state.buffer // state.block
        self._n_blocks = -(-len(chosen) // state.block)
        self._counts = np.add.reduceat(
            chosen, np.arange(0, len(chosen), state.block), dtype=np.int64
        )
        self.n_rows = int(self._counts.sum())
        n_held = min(self._blocks_held, self._n_blocks) * state.block
        self.buffers = [
            torch.empty((n_held, *source.shape[2:]), dtype=source.dtype) for source in sources
        ]
        self._epoch = self._fill = -1
        self.start = self.stop = 0

    def show(self, epoch: int, row: int) -> None:
        """Make `row` of the epoch's order one of those shown."""
        if epoch != self._epoch:
            self._epoch, self._fill = epoch, -1
            self._order = permutation(self._n_blocks, self._seed, epoch, 0)
            edges = np.arange(0, self._n_blocks, self._blocks_held)
            filled = np.add.reduceat(self._counts[self._order], edges)
            self._edges = np.concatenate([[0], filled.cumsum()])
        fill = int(np.searchsorted(self._edges, row, side="right")) - 1
        if fill != self._fill:
            self._fill = fill
            self.start, self.stop = int(self._edges[fill]), int(self._edges[fill + 1])
            self._load(fill)

    def _load(self, fill: int) -> None:
        held = self._order[fill * self._blocks_held : (fill + 1) * self._blocks_held]
        blocks = np.sort(held[self._counts[held] > 0])  # the disk is read in its own order
        rows = (blocks[:, None] * self._block + np.arange(self._block)).ravel()
        rows = rows[: np.searchsorted(rows, len(self._chosen))]  # the last block may be short
        places = np.flatnonzero(self._chosen[rows])
        order = places[permutation(len(places), self._seed, self._epoch, 1 + fill)]
        self.order, self.index = torch.from_numpy(order), torch.from_numpy(rows[order])
        for source, buffer in zip(self._sources, self.buffers, strict=True):
            source.fill(blocks, self._block, buffer)


def permutation(n: int, *seed: int) -> Int[np.ndarray, " n"]:
    """A random order of `n` things, from a generator whose stream NumPy promises to keep.

    Each draws a number whose lowest bits are then its own index: sorted, they are the order.
    """
    drawn = np.random.PCG64(np.random.SeedSequence(seed)).random_raw(n)
    index = (1 << n.bit_length()) - 1
    keys = drawn & ~np.uint64(index) | np.arange(n, dtype=np.uint64)
    keys.sort()
    return (keys & np.uint64(index)).astype(np.int64)


def _chosen(
    source: Source, skip_bos: bool, keep: Bool[np.ndarray, "context pos"] | None
) -> Bool[np.ndarray, " row"]:
    documents = source.corpus.documents
    chosen = np.asarray(documents != PUT_IN) if skip_bos else np.ones(documents.shape, dtype=bool)
    if keep is not None:
        keep = np.asarray(keep)
        if keep.shape != chosen.shape or keep.dtype != bool:
            raise InputError(
                f"keep is {keep.dtype} of shape {keep.shape}; give bool of the corpus' shape "
                f"{chosen.shape}"
            )
        chosen = chosen & keep
    if not chosen.any():
        raise InputError(f"no row of {source.corpus.name} is left to read; keep some")
    return chosen.ravel()


def _check_sizes(batch_size: int, seed: int, block: int, buffer: int, epochs: int | None) -> None:
    given = (batch_size, seed, block, buffer, 1 if epochs is None else epochs)
    whole = all(type(number) is int for number in given)
    if not whole or min(batch_size, block, given[-1]) < 1 or seed < 0 or buffer < block:
        raise InputError(
            f"batch_size {batch_size}, seed {seed}, block {block}, buffer {buffer}, epochs "
            f"{epochs}: sizes and epochs are whole numbers from 1, a seed from 0, and a buffer "
            "holds at least one block"
        )


def _check_sources(sources: Sequence[Source]) -> None:
    if not sources:
        raise InputError("no harvest to read; give at least one")
    names = {source.corpus.digest: source.corpus.name for source in sources}
    if len(names) > 1:
        raise InputError(
            f"harvests of {' and '.join(names.values())} have no rows in common; "
            "give harvests of one corpus"
        )
    places = [source.site for source in sources]
    if twice := [str(place) for place in dict.fromkeys(places) if places.count(place) > 1]:
        raise InputError(
            f"several harvests are of {', '.join(twice)} (of other models or dtypes), and "
            "rows are told apart by their site; read them one by one with the same seed, block and "
            "buffer: the rows come in the same order"
        )
    for source in sources:
        if not source.site.kind.axes.startswith("batch pos"):
            raise InputError(
                f"{source.site} has no row for each position: its axes are "
                f"'{source.site.kind.axes}'; read it by `contexts`"
            )


def _check_state(state: State, start: State, n_rows: int) -> None:
    if not isinstance(state, State):
        raise InputError(f"the state is a {type(state).__name__}; give State.from_json(...) of it")
    told = [
        f"{name} {was} (now {now})"
        for name, was in asdict(state).items()
        if name not in ("epoch", "row") and was != (now := getattr(start, name))
    ]
    if told:
        raise InputError(
            f"this state is of another read: {', '.join(told)}; read the same rows with the same "
            "seed, block and buffer, or start anew"
        )
    if not (0 <= state.row < n_rows and state.epoch >= 0):
        raise InputError(
            f"the state stands at row {state.row:,} of epoch {state.epoch}, an epoch has "
            f"{n_rows:,} rows; give a state that this read made"
        )
