"""Capture: what is stored is what a fresh run gives, and a doubt is a miss or an error."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from torch import Tensor

from workbench.cache import Capture, DamagedError, Store, capture, key_of
from workbench.errors import InputError
from workbench.models import Model, load
from workbench.sites import Site

SITES = ["0.resid_post", "2.resid_post", "1.pattern"]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def reopened(store: Store) -> Store:
    """The same folder, nothing in memory: what another process sees."""
    return Store(store.folder)


class Forwards(list):
    """The number of rows in each forward pass of a model, on either road."""

    def watch(self, model: Model) -> "Forwards":
        for tree in (model.bridge, *([model.plain] if model.plain is not None else [])):
            handle = tree.register_forward_pre_hook(lambda _, args: self.append(len(args[0])))
            self.handles.append(handle)
        return self

    def __init__(self) -> None:
        super().__init__()
        self.handles: list = []


@pytest.fixture
def forwards():
    counted = Forwards()
    yield counted
    for handle in counted.handles:
        handle.remove()


def check_equal(one: Capture, other: Capture) -> None:
    assert list(one.activations) == list(other.activations)
    for site in one.activations:
        assert one[site].dtype == other[site].dtype
        assert torch.equal(one[site], other[site]), site


@pytest.mark.parametrize("tier", ["memory", "disk"])
def test_the_second_capture_runs_nothing(tiny, ids, store, family, processing, tier, forwards):
    model = tiny(family, processing)
    fresh = capture(model, ids, SITES)
    forwards.watch(model)
    first = capture(model, ids, SITES, store)
    assert forwards == [2], "one forward for all sites and prompts"
    assert (first.cached, first.asked, first.whole) == (0, 6, False)
    second = capture(model, ids, SITES, store if tier == "memory" else reopened(store))
    assert forwards == [2]
    assert (second.cached, second.asked, second.whole) == (6, 6, True)
    check_equal(first, fresh)
    check_equal(second, fresh)
    assert list(second.activations) == [Site.parse(text) for text in SITES], "in the order asked"


def test_every_site_comes_back(tiny, ids, store, family, processing, forwards) -> None:
    model = tiny(family, processing)
    forwards.watch(model)
    first = capture(model, ids, "*", store)
    assert forwards == [2]
    assert len(first.activations) > 50
    check_equal(capture(model, ids, "*", reopened(store)), first)
    assert forwards == [2]


def test_only_what_is_missing_runs(tiny, ids, store, forwards) -> None:
    model = tiny("llama")
    three = torch.cat([ids, ids.flip(1)[:1]])
    fresh = capture(model, three, SITES)
    capture(model, ids[1:], "2.resid_post", store)
    forwards.watch(model)
    mixed = capture(model, three, SITES, store)
    assert forwards == [3], "all rows lack a site, one forward"
    assert (mixed.cached, mixed.asked) == (1, 9)
    more = capture(model, torch.cat([three, three.roll(1, 1)[:1]]), SITES, store)
    assert forwards == [3, 1], "one prompt is new"
    assert (more.cached, more.asked) == (9, 12)
    capture(model, three, [*SITES, "2.mlp_out"], store)
    assert forwards == [3, 1, 3]
    for site in SITES:
        assert torch.allclose(mixed[site], fresh[site], atol=1e-6)
        assert torch.equal(mixed[site], more[site][:3])


def test_rows_may_repeat(tiny, ids, store) -> None:
    model = tiny("gpt2")
    twice = torch.cat([ids[:1], ids[:1]])
    taken = capture(model, twice, SITES, store)
    for site in SITES:
        assert torch.equal(taken[site][0], taken[site][1])
    assert store.size()[0] == 3
    assert capture(model, ids[:1], SITES, store).whole


def test_heads_share_their_whole(tiny, ids, store, forwards) -> None:
    model = tiny("llama")
    whole = capture(model, ids, ["1.z", "1.result", "1.k"], store)
    forwards.watch(model)
    heads = capture(model, ids, ["L1H5.z", "L1H2.result", "L1H1.k"], reopened(store))
    assert forwards == []
    assert heads.asked == 6
    for site, part in (("L1H5.z", whole["1.z"][:, :, 5]), ("L1H1.k", whole["1.k"][:, :, 1])):
        assert torch.equal(heads[site], part)
    assert torch.equal(heads["L1H2.result"], whole["1.result"][:, :, 2])
    check_equal(
        heads, capture(model, ids, ["L1H5.z", "L1H2.result", "L1H1.k"], Store(store.folder))
    )


@pytest.fixture(scope="module")
def in_half(tiny_folder) -> Model:
    return load(str(tiny_folder("llama")), device="cpu", dtype="bfloat16")


@pytest.mark.parametrize("compute", ["float32", "bfloat16"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", None])
def test_the_stored_dtype(tiny, in_half, ids, store, compute: str, dtype: str | None) -> None:
    model = in_half if compute == "bfloat16" else tiny("llama")
    fresh = capture(model, ids, SITES, dtype=dtype)
    first = capture(model, ids, SITES, store, dtype=dtype)
    again = capture(model, ids, SITES, reopened(store), dtype=dtype)
    assert str(first["1.pattern"].dtype) == f"torch.{dtype or compute}"
    assert again.whole
    check_equal(first, fresh)
    check_equal(again, fresh)


@pytest.mark.parametrize("tier", ["memory", "disk"])
def test_what_is_handed_out_does_not_reach_the_store(tiny, ids, store, tier: str) -> None:
    model = tiny("gpt2")
    fresh = capture(model, ids, SITES)
    for _ in range(3):
        taken = capture(model, ids, SITES, store if tier == "memory" else reopened(store))
        check_equal(taken, fresh)
        for value in taken.activations.values():
            value.fill_(7)


# A doubt is a miss


def flip_last_bit(model: Model) -> None:
    with torch.no_grad():
        next(model.weights.parameters()).view(torch.int32).flatten()[-1:] ^= 1


def double(model: Model) -> None:
    with torch.no_grad():
        for weight in model.weights.parameters():
            weight *= 1.1


def other_weights(folder: Path) -> Model:
    model = load(str(folder), device="cpu")
    torch.manual_seed(1)
    with torch.no_grad():
        for weight in model.weights.parameters():
            weight.normal_(0, 0.3)
    return model


# (model, folder of the same model, ids, store) -> a capture that must not hit.
MISSES: dict[str, Callable[[Model, Path, Tensor, Store], Capture]] = {
    "other weights of the same width": lambda m, f, i, s: capture(other_weights(f), i, SITES, s),
    "compute dtype": lambda m, f, i, s: capture(
        load(str(f), device="cpu", dtype="bfloat16"), i, SITES, s, dtype="float32"
    ),
    "stored dtype": lambda m, f, i, s: capture(m, i, SITES, s, dtype="float16"),
    "one token": lambda m, f, i, s: capture(m, i + torch.eye(12).long()[-1], SITES, s),
    "a token less": lambda m, f, i, s: capture(m, i[:, :-1], SITES, s),
    "a BOS in front": lambda m, f, i, s: capture(m, torch.nn.functional.pad(i, (1, 0)), SITES, s),
    "order": lambda m, f, i, s: capture(m, i.flip(1), SITES, s),
    "site": lambda m, f, i, s: capture(m, i, ["0.resid_pre", "0.pattern"], s),
}


@pytest.mark.parametrize("what", MISSES)
def test_what_can_change_the_number_is_a_miss(tiny, tiny_folder, ids, store, family, what) -> None:
    capture(tiny(family), ids, SITES, store)
    n_before = store.size()[0]
    taken = MISSES[what](tiny(family), tiny_folder(family), ids, store)
    assert taken.cached == 0
    assert store.size()[0] == n_before + taken.asked
    assert capture(tiny(family), ids, SITES, store).whole, "the first ones are still there"


def test_other_processing_is_a_miss(tiny, ids, store, family) -> None:
    for processing in ("raw", "folded", "raw", "folded"):
        taken = capture(tiny(family, processing), ids, SITES, store)
        check_equal(taken, capture(tiny(family, processing), ids, SITES))
    assert store.size()[0] == 2 * 6


def test_the_key_holds_the_models_whole_identity(tiny, family, processing) -> None:
    model = tiny(family, processing)
    key = key_of(model, [1, 2], Site("z", 1, head=0), "float16")
    assert asdict(key).items() >= asdict(model.identity).items()
    assert (key.site, key.dtype) == ("1.z", "float16"), "heads are stored together"
    digests = {key_of(model, ids, Site("z", 1), "float16").tokens for ids in ([1, 2], [2, 1], [12])}
    assert len(digests) == 3


def test_the_same_model_from_elsewhere_is_a_hit(tiny, copied, ids, store, family) -> None:
    first = capture(tiny(family), ids, SITES, store)
    again = capture(load(str(copied(family)), device="cpu"), ids.int(), SITES, store)
    assert again.whole
    check_equal(first, again)


@pytest.mark.parametrize("edit", [flip_last_bit, double])
def test_weights_edited_in_place_are_a_miss(tiny_folder, ids, store, family, edit) -> None:
    model = load(str(tiny_folder(family)), device="cpu")
    before = capture(model, ids, SITES, store)
    edit(model)
    after = capture(model, ids, SITES, store)
    assert after.cached == 0
    check_equal(after, capture(model, ids, SITES))
    if edit is double:
        assert not torch.allclose(after["2.resid_post"], before["2.resid_post"], atol=1e-3)


# A damage is an error


@pytest.mark.parametrize("spoil", ["cut", "flipped", "swapped", "newer"])
def test_damage_is_told_and_nothing_is_recomputed(
    tiny, ids, store, forwards, monkeypatch, spoil: str
) -> None:
    model = tiny("llama")
    capture(model, ids, SITES, store)
    forwards.watch(model)
    path, other = (
        store.path(key_of(model, row.tolist(), Site("pattern", 1), "float32")) for row in ids
    )
    content = path.read_bytes()
    path.write_bytes(
        {
            "cut": content[:-1],
            "flipped": content[:-1] + bytes([content[-1] ^ 1]),
            "swapped": other.read_bytes(),
            "newer": content.replace(b'"format":"1"', b'"format":"9"'),
        }[spoil]
    )
    field = {"cut": "file", "flipped": "checksum", "swapped": "tokens", "newer": "format"}[spoil]
    with pytest.raises(DamagedError, match=f"{path}.*field {field}"):
        capture(model, ids, SITES, reopened(store))
    assert forwards == []
    assert len(store.verify()) == 1


def test_a_full_disk_stops_the_capture(tiny, ids, store, monkeypatch) -> None:
    def refuse(*_, **__) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("workbench.cache.files.save_file", refuse)
    with pytest.raises(InputError, match="No space left on device"):
        capture(tiny("gpt2"), ids, SITES, store)
    monkeypatch.undo()
    assert store.size() == (0, 0)


@pytest.mark.parametrize(
    ("wanted", "more", "told"),
    [
        ("1.resid_pots", {}, "did you mean resid_post"),
        (["1.z", "7.z", "*.nil"], {}, r"7\.z is out of range.*'\*\.nil'"),
        ("1.z", {"dtype": "float64"}, "dtype 'float64' is not one of float32, bfloat16, float16"),
    ],
)
def test_a_mistake_is_told_before_anything_is_stored(tiny, ids, store, wanted, more, told) -> None:
    with pytest.raises(InputError, match=told):
        capture(tiny("gpt2"), ids, wanted, store, **more)
    assert store.size() == (0, 0)


def test_a_native_model_is_cached(by_hand, store, forwards) -> None:
    ids = by_hand.tokenize("a b c a b").tensor()
    fresh = capture(by_hand, ids, "*")
    check_equal(capture(by_hand, ids, "*", store), fresh)
    forwards.watch(by_hand)
    check_equal(capture(by_hand, ids, "*", reopened(store)), fresh)
    assert forwards == []
