"""Shuffled reads: every row once per epoch, in an order that a seed fixes and a state resumes."""

import json
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some

from workbench.cache import DamagedError, Harvest, Key, Rows, State, Store, harvest, shuffled
from workbench.cache.manifest import Manifest
from workbench.cache.reader import permutation
from workbench.cache.sharing import begin, end, make, used
from workbench.corpus import Corpus, from_ids
from workbench.errors import InputError

N_CTX = 6
Settings = dict[str, Any]
KEY = Key("config", "weights", "raw", "float32", "eager", "tokens", "1.resid_post", "float32")


def text(n_contexts: int) -> Corpus:
    """BOS in front of each context, and of a document inside every third."""
    ids = np.random.default_rng(0).integers(1, 99, (n_contexts, N_CTX))
    ids[:, 0] = 0
    ids[::3, 4] = 0
    return from_ids("text", ids, bos_id=0)


def made_up(
    folder: Path, corpus: Corpus, cut: int, site: str = "1.resid_post", scale: int = 1
) -> Harvest:
    """A harvest whose every row holds its own number, times `scale`."""
    key = Key(**(vars(KEY) | {"tokens": corpus.digest, "site": site}))
    place = folder / "harvests" / key.digest
    rows = torch.arange(corpus.n_tokens).view(*corpus.ids.shape, 1) * torch.tensor([scale, -scale])
    held = used(place)
    manifest = Manifest(key, {}, tuple(rows.shape), cut)
    begin(place, manifest)
    make({place: manifest}, 2, lambda these, _: [rows[these.start : these.stop].float()])
    end(place)
    return Harvest(place, key, corpus, held)


@pytest.fixture(scope="module")
def ten(tmp_path_factory) -> Harvest:
    """Ten contexts in shards of four: 60 rows, of which 46 are no BOS."""
    return made_up(tmp_path_factory.mktemp("ten"), text(10), 4)


NOT_BOS = [row for row, document in enumerate(text(10).documents.ravel()) if document >= 0]


def indices(batches: Iterator[Rows]) -> list[list[int]]:
    """Which rows each batch holds, after a look that it does hold them."""
    found = []
    for batch in batches:
        tensor = batch["1.resid_post"]
        assert torch.equal(tensor, batch.index[:, None] * torch.tensor([1.0, -1.0]))
        found.append(batch.index.tolist())
    return found


def flat(batches: Sequence[Sequence[int]]) -> list[int]:
    return [row for batch in batches for row in batch]


@given(
    seed=some.integers(0, 2**64),
    block=some.integers(1, 70),
    blocks=some.integers(1, 8),
    odd=some.integers(0, 5),
    batch_size=some.integers(1, 70),
    skip_bos=some.booleans(),
    masked=some.sets(some.integers(0, 59), max_size=45),
)
@settings(max_examples=150, deadline=None)
def test_every_row_once_per_epoch(ten, seed, block, blocks, odd, batch_size, skip_bos, masked):
    keep = np.ones(60, dtype=bool)
    keep[list(masked)] = False
    expected = [row for row in (NOT_BOS if skip_bos else range(60)) if keep[row]]
    if not expected:
        return
    epochs = indices(
        shuffled(
            ten,
            batch_size=batch_size,
            seed=seed,
            block=block,
            buffer=block * blocks + odd,
            skip_bos=skip_bos,
            keep=keep.reshape(10, N_CTX),
            epochs=2,
        )
    )
    n_batches = -(-len(expected) // batch_size)
    assert len(epochs) == 2 * n_batches
    for epoch in (epochs[:n_batches], epochs[n_batches:]):
        assert sorted(flat(epoch)) == expected
        assert {len(batch) for batch in epoch[:-1]} <= {batch_size}


@pytest.mark.parametrize("cut", [1, 3, 10])
def test_the_order_does_not_depend_on_the_shards(ten, tmp_path, cut: int) -> None:
    order: Settings = {"batch_size": 7, "seed": 5, "block": 4, "buffer": 12}
    other = made_up(tmp_path, text(10), cut)
    assert indices(shuffled(other, **order)) == indices(shuffled(ten, **order))


@given(
    stop=some.integers(1, 30),
    seed=some.integers(0, 99),
    block=some.integers(1, 20),
    sizes=some.tuples(some.integers(1, 17), some.integers(1, 17)),
)
@settings(max_examples=60, deadline=None)
def test_a_read_that_resumes_gives_what_it_would_have_given(ten, stop, seed, block, sizes) -> None:
    """Through JSON, at any batch, even with another batch size."""
    order: Settings = {"seed": seed, "block": block, "buffer": 2 * block, "epochs": None}
    whole = flat(indices(islice(shuffled(ten, batch_size=46, **order), 20)))
    before = list(islice(shuffled(ten, batch_size=sizes[0], **order), stop))
    state = State.from_json(json.loads(json.dumps(before[-1].state.to_json())))
    n_read = sum(len(batch.index) for batch in before)
    assert (state.epoch, state.row) == divmod(n_read, 46)
    after = shuffled(ten, batch_size=sizes[1], state=state, **order)
    rows = flat(indices(islice(after, 20)))
    assert rows == whole[n_read : n_read + len(rows)]


def test_a_resumed_read_is_equal_batch_by_batch(ten) -> None:
    order: Settings = {"batch_size": 7, "seed": 3, "block": 4, "buffer": 16}
    whole = list(shuffled(ten, epochs=3, **order))
    for number, batch in enumerate(whole):
        rest = list(shuffled(ten, epochs=3, state=batch.state, **order))
        assert len(rest) == len(whole) - number - 1
        for one, other in zip(rest, whole[number + 1 :], strict=True):
            assert torch.equal(one["1.resid_post"], other["1.resid_post"])
            assert torch.equal(one.index, other.index)
            assert one.state == other.state


def test_seeds_and_epochs_differ(ten) -> None:
    def order(seed: int) -> list[int]:
        return flat(indices(shuffled(ten, batch_size=46, seed=seed, block=4, epochs=2)))

    one, other = order(1), order(2)
    orders = [one[:46], one[46:], other[:46], other[46:]]
    assert len({tuple(rows) for rows in orders}) == 4
    assert all(rows != sorted(rows) for rows in orders)


def test_the_order_is_the_same_for_all_time() -> None:
    """A checkpoint of last year resumes: if this fails, the order changed."""
    assert permutation(12, 0, 0, 1).tolist() == [7, 6, 4, 5, 3, 9, 1, 0, 2, 8, 10, 11]


def test_an_order_is_uniform() -> None:
    first = np.bincount([permutation(5, seed)[0] for seed in range(2000)], minlength=5)
    assert first.min() > 330 and first.max() < 470  # 400 expected, 18 the standard deviation


def test_a_batch_mixes_all_shards(tmp_path) -> None:
    corpus = from_ids("long", np.ones((200, N_CTX), dtype=int))
    one = made_up(tmp_path, corpus, 20)
    (first, *_) = shuffled(one, batch_size=60, seed=1, block=6, buffer=600)
    shards = np.bincount(first.index.numpy() // (20 * N_CTX), minlength=10)
    assert (shards > 0).sum() >= 8
    assert len(set((first.index // N_CTX).tolist())) > 30, "rows of many contexts"


def test_for_ever(ten) -> None:
    batches = list(islice(shuffled(ten, batch_size=46, epochs=None, block=4), 7))
    assert [sorted(batch.index.tolist()) for batch in batches] == [NOT_BOS] * 7


def test_bos_is_left_out_unless_asked_for(ten) -> None:
    assert sorted(flat(indices(shuffled(ten, batch_size=9)))) == NOT_BOS
    everything = indices(shuffled(ten, batch_size=9, skip_bos=False))
    assert sorted(flat(everything)) == list(range(60))


def test_sites_are_read_in_step(tmp_path) -> None:
    corpus = text(10)
    one = made_up(tmp_path, corpus, 4)
    other = made_up(tmp_path, corpus, 3, site="0.z", scale=7)
    for batch in shuffled([one, other], batch_size=8, block=5, buffer=20):
        assert torch.equal(batch["0.z"], 7 * batch["1.resid_post"])
        assert [str(site) for site in batch.activations] == ["1.resid_post", "0.z"]


def test_rows_are_the_models_own(tiny, tmp_path) -> None:
    corpus = from_ids("random", np.random.default_rng(0).integers(1, 260, (9, 10)))
    kept = harvest(
        tiny("llama"), corpus, ["1.z", "0.resid_post"], Store(tmp_path / "store"), shard_contexts=4
    )
    whole = {site: kept[site].contexts(0, 9).flatten(0, 1) for site in kept.harvests}
    for batch in shuffled(list(kept.harvests.values()), batch_size=16, block=8, buffer=24):
        for site, rows in batch.activations.items():
            assert torch.equal(rows, whole[site][batch.index])


def test_damage_is_refused_before_it_is_a_number(tmp_path) -> None:
    one = made_up(tmp_path, text(10), 4)
    path = one.folder / "shard-00001.safetensors"
    with path.open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x07")
    with pytest.raises(DamagedError, match=rf"{path}: field activation, context 3 of the shard"):
        list(shuffled(one, batch_size=16))


# What is refused


def test_a_state_of_another_read_is_refused(ten, tmp_path) -> None:
    change: Settings
    order: Settings = {"batch_size": 7, "seed": 3, "block": 4, "buffer": 16}
    (first, *_) = shuffled(ten, **order)
    other = made_up(tmp_path, text(9), 4)
    keep = np.ones((10, N_CTX), dtype=bool)
    keep[0] = False
    for source, change, told in (
        (ten, {"seed": 4}, r"seed 3 \(now 4\)"),
        (ten, {"block": 5}, r"block 4 \(now 5\)"),
        (ten, {"buffer": 17}, r"buffer 16 \(now 17\)"),
        (ten, {"skip_bos": False}, "source"),
        (ten, {"keep": keep}, "source"),
        (other, {}, "source"),
        ([ten, made_up(tmp_path, text(10), 4, "0.resid_post")], {}, "source"),
    ):
        with pytest.raises(InputError, match=f"of another read: {told}.*same seed, block and buf"):
            shuffled(source, state=first.state, **(order | change))


@pytest.mark.parametrize("place", [{"row": 46}, {"row": -1}, {"epoch": -1}])
def test_a_state_that_no_read_makes_is_refused(ten, place: Settings) -> None:
    (first, *_) = shuffled(ten, batch_size=7)
    state = State(**{**first.state.to_json(), **place})
    with pytest.raises(InputError, match=r"the state stands at row .*an epoch has 46 rows"):
        shuffled(ten, batch_size=7, state=state)


@pytest.mark.parametrize(
    "value",
    [None, [], {"epoch": 1}, {"source": 1, "seed": 0, "block": 1, "buffer": 1},
     {"source": "a", "seed": 0.5, "block": 1, "buffer": 1, "epoch": 0, "row": 0},
     {"source": "a", "seed": 0, "block": 1, "buffer": 1, "epoch": 0, "row": True}],
)  # fmt: skip
def test_what_is_no_state_is_refused(value) -> None:
    with pytest.raises(InputError, match="is not a reader's state"):
        State.from_json(value)


@pytest.mark.usefixtures("unchecked")
def test_a_state_not_made_from_its_json_is_told(ten) -> None:
    (first, *_) = shuffled(ten, batch_size=7)
    with pytest.raises(InputError, match=r"the state is a dict; give State.from_json\(...\)"):
        shuffled(ten, batch_size=7, state=first.state.to_json())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "sizes",
    [{"batch_size": 0}, {"epochs": 0}, {"seed": -1}, {"block": 0}, {"block": 9, "buffer": 8}],
)
def test_sizes_that_are_none_are_refused(ten, sizes: Settings) -> None:
    with pytest.raises(
        InputError, match="sizes and epochs are whole numbers from 1, a seed from 0"
    ):
        shuffled(ten, **{"batch_size": 4, **sizes})


def test_harvests_that_cannot_be_read_by_rows_are_refused(ten, tiny, tmp_path) -> None:
    with pytest.raises(InputError, match="no harvest to read"):
        shuffled([], batch_size=4)
    other = from_ids("other", text(10).ids, bos_id=None)
    with pytest.raises(InputError, match="of text and other have no rows in common"):
        shuffled([ten, made_up(tmp_path, other, 4)], batch_size=4)
    store = Store(tmp_path / "store")
    pattern = harvest(tiny("gpt2"), other, "1.pattern", store)["1.pattern"]
    with pytest.raises(InputError, match=r"1\.pattern has no row for each position: its axes are"):
        shuffled(pattern, batch_size=4)


def test_two_harvests_of_one_site_are_refused(tiny, tmp_path) -> None:
    """They would be told apart by nothing: the second would stand for both."""
    corpus, store = text(4), Store(tmp_path)
    both = [
        harvest(tiny("gpt2", processing), corpus, "1.resid_post", store)["1.resid_post"]
        for processing in ("raw", "folded")
    ]
    with pytest.raises(InputError, match=r"several harvests are of 1.resid_post \(of other mod"):
        shuffled(both, batch_size=2)


@pytest.mark.usefixtures("unchecked")
def test_a_choice_of_another_type_is_refused(ten) -> None:
    keep = np.full(ten.corpus.ids.shape, 2)
    with pytest.raises(InputError, match=r"keep is int64 of shape .*; give bool"):
        shuffled(ten, batch_size=7, keep=keep)


def test_a_choice_that_leaves_nothing_is_refused(ten) -> None:
    with pytest.raises(InputError, match="no row of text is left"):
        shuffled(ten, batch_size=4, keep=np.zeros((10, N_CTX), dtype=bool))
    with pytest.raises(
        InputError,
        match=r"keep is bool of shape \(3, 6\); give bool of the corpus' shape \(10, 6\)",
    ):
        shuffled(ten, batch_size=4, keep=np.ones((3, N_CTX), dtype=bool))
