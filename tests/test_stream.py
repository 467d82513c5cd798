"""Streaming a corpus: what passes through is what a capture and a fresh run give."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some

from workbench.cache import Chunk, Store, capture, harvest, stream
from workbench.corpus import Corpus, Cursor, from_ids, open_corpus
from workbench.errors import InputError
from workbench.hooks import run
from workbench.models import Model
from workbench.sites import Site

SITES = ["0.resid_post", "1.pattern", "L1H2.z"]


def corpus(n_contexts: int = 11, n_ctx: int = 10, seed: int = 0) -> Corpus:
    drawn = np.random.default_rng(seed).integers(1, 260, (n_contexts, n_ctx))
    return from_ids(f"random {seed}", drawn)


def ids_of(corpus: Corpus, contexts: range) -> torch.Tensor:
    return torch.from_numpy(corpus.ids[contexts.start : contexts.stop].astype(np.int64))


@pytest.mark.parametrize("batch", [1, 4, 11, 20])
def test_streamed_is_captured_is_fresh(tiny, family, processing, batch: int) -> None:
    model, text = tiny(family, processing), corpus()
    chunks = list(stream(model, text, SITES, batch=batch))
    assert [i for chunk in chunks for i in chunk.contexts] == list(range(11))
    for chunk in chunks:
        assert torch.equal(chunk.ids, ids_of(text, chunk.contexts))
        assert list(chunk.activations) == [Site.parse(name) for name in SITES]
        captured = capture(model, chunk.ids, SITES)
        fresh = run(model, chunk.ids, read=SITES)
        for site in SITES:
            assert torch.equal(chunk[site], captured[site])
            assert torch.equal(chunk[site], fresh[site])


def test_every_site_streams(tiny, family) -> None:
    text = corpus(3)
    (chunk,) = stream(tiny(family), text, "*")
    fresh = run(tiny(family), chunk.ids, read="*")
    assert len(chunk.activations) > 50
    for site, tensor in chunk.activations.items():
        assert len(tensor) == 3, site
        assert torch.equal(tensor, fresh[site])


@given(batch=some.integers(1, 5), stop=some.integers(0, 8), after=some.integers(1, 5))
@settings(max_examples=15, deadline=None)
def test_a_cursor_goes_on_where_it_stood(by_hand: Model, batch, stop, after) -> None:
    text = from_ids("letters", np.random.default_rng(0).integers(1, 27, (8, 6)))
    whole = torch.cat([c["1.resid_post"] for c in stream(by_hand, text, "1.resid_post", batch=8)])
    first: list[Chunk] = []
    for chunk in stream(by_hand, text, "1.resid_post", batch=batch):
        if chunk.contexts.stop > stop:
            break
        first.append(chunk)
    at = Cursor.from_json(first[-1].cursor.to_json()) if first else None
    rest = list(stream(by_hand, text, "1.resid_post", batch=after, cursor=at))
    pieces = [chunk["1.resid_post"] for chunk in [*first, *rest]]
    assert torch.allclose(torch.cat(pieces), whole, atol=1e-5)


def test_the_forward_ends_at_the_last_site(tiny) -> None:
    model, seen = tiny("llama"), []
    blocks = model.plain.model.layers
    handles = [
        block.register_forward_pre_hook(lambda *_, layer=layer: seen.append(layer))
        for layer, block in enumerate(blocks)
    ]
    try:
        for _ in stream(model, corpus(4), ["0.resid_post", "1.z"], batch=2):
            assert seen == [0, 1], "one forward for both sites, not into the last block"
            seen.clear()
    finally:
        for handle in handles:
            handle.remove()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", None])
def test_the_dtype_asked_for(tiny, dtype: str | None) -> None:
    text = corpus(3)
    (chunk,) = stream(tiny("gpt2"), text, SITES, dtype=dtype)
    captured = capture(tiny("gpt2"), chunk.ids, SITES, dtype=dtype)
    for site in SITES:
        assert chunk[site].dtype == captured[site].dtype
        assert torch.equal(chunk[site], captured[site])


def test_what_a_dtype_cannot_hold_is_told(tiny_folder) -> None:
    from workbench.models import load

    model = load(str(tiny_folder("llama")), device="cpu")
    with torch.no_grad():
        model.weights.get_input_embeddings().weight[7] = 1e5  # type: ignore[operator,union-attr]
    text = from_ids("sevens", np.full((2, 4), 7))
    list(stream(model, text, "embed", dtype="bfloat16"))
    told = r"site embed holds 100,000, which float16 \(at most 65,504\) cannot.* store it as bfloat"
    with pytest.raises(InputError, match=told):
        list(stream(model, text, "embed", dtype="float16"))


def test_progress_is_told_in_contexts(tiny) -> None:
    told: list[tuple[int, int]] = []
    text = corpus(7)
    for _ in stream(tiny("gpt2"), text, "embed", batch=3, progress=lambda *n: told.append(n)):
        pass
    assert told == [(3, 7), (6, 7), (7, 7)]
    told.clear()
    at = Cursor(text.digest, 6)
    list(stream(tiny("gpt2"), text, "embed", cursor=at, progress=lambda *n: told.append(n)))
    assert told == [(7, 7)]


@pytest.mark.parametrize(
    ("wanted", "more", "told"),
    [
        ("1.resid_pots", {}, "did you mean resid_post"),
        ("7.z", {}, "out of range"),
        ("1.resid_mid", {}, r"no site '1.resid_mid'; it has .*resid_post"),
        ([], {}, "no site is named"),
        ("1.z", {"batch": 0}, "a batch of 0 contexts"),
        ("1.z", {"dtype": "int8"}, "dtype 'int8' is not one of float32"),
        ("1.z", {"cursor": Cursor("other", 1)}, "this cursor is of corpus other"),
    ],
)
def test_a_mistake_is_told_before_anything_runs(tiny, wanted, more, told: str) -> None:
    with pytest.raises(InputError, match=told):
        stream(tiny("neox"), corpus(), wanted, **more)


def test_a_corpus_of_another_vocabulary_is_refused(tiny, by_hand: Model, tmp_path) -> None:
    (tmp_path / "letters.txt").write_text("a b c d e f g h")
    text = open_corpus(tmp_path / "letters.txt", by_hand, n_ctx=4)
    list(stream(by_hand, text, "1.resid_post"))
    told = f"packed with the vocabulary of {by_hand.name}, .* to {tiny('gpt2').name}; open it again"
    for handle in (
        lambda: stream(tiny("gpt2"), text, "1.resid_post"),
        lambda: stream(tiny("gpt2"), text.part(0, 1), "1.resid_post"),
        lambda: harvest(tiny("gpt2"), text, "1.resid_post", Store(tmp_path / "store")),
    ):
        with pytest.raises(InputError, match=told):
            handle()


def test_what_was_not_read_is_told(by_hand: Model) -> None:
    (chunk,) = stream(by_hand, from_ids("letters", np.ones((2, 4), dtype=int)), "1.z")
    with pytest.raises(InputError, match=r"^0.z was not read; there is 1.z$"):
        chunk["0.z"]
