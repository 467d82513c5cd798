"""Generation: the Hub library's tokens, a batch as one by one, edits with a cache and without."""

import copy
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close
from transformers import (
    AutoModelForCausalLM,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from tests.conftest import CONFIGS
from workbench.errors import InputError
from workbench.generation import Generation, filtered, generate, stream
from workbench.hooks import Edit, run
from workbench.models import Model, from_ids, load, pad

PROMPTS = ("the cat", "in an inn, the tin man thinks of", "x")
N = 12


@pytest.fixture(scope="module")
def lively_folder(tiny_folder, tmp_path_factory) -> Callable[[str], Path]:
    """family -> a folder with a model whose greedy text does not repeat one token for ever."""
    made: dict[str, Path] = {}

    def folder(family: str) -> Path:
        if family not in made:
            made[family] = tmp_path_factory.mktemp("lively") / family
            shutil.copytree(tiny_folder(family), made[family])
            torch.manual_seed(7)
            model = AutoModelForCausalLM.from_config(copy.deepcopy(CONFIGS[family]))
            for parameter in model.parameters():
                if parameter.ndim == 2:
                    parameter.data.normal_()
            model.save_pretrained(made[family])
        return made[family]

    return folder


@pytest.fixture(scope="module")
def lively(lively_folder) -> Callable[..., Model]:
    loaded: dict[tuple[str, str], Model] = {}

    def model(family: str, processing: str = "raw") -> Model:
        if (family, processing) not in loaded:
            folder = str(lively_folder(family))
            loaded[family, processing] = load(folder, device="cpu", processing=processing)
        return loaded[family, processing]

    return model


@pytest.fixture
def uncached(monkeypatch: pytest.MonkeyPatch) -> Callable[[Model], Model]:
    """The same model, said to keep no keys and values."""
    road_of = Model.bridge_road.fget
    assert road_of is not None

    def made(model: Model) -> Model:
        monkeypatch.setattr(
            Model, "bridge_road", property(lambda self: replace(road_of(self), caches=False))
        )
        return model

    return made


def ids(rows: Sequence[Generation]) -> list[tuple[int, ...]]:
    return [row.ids for row in rows]


def hub_greedy(hub: Any, model: Model, prompts: Sequence[str], n: int) -> list[tuple[int, ...]]:
    """The Hub library's own greedy tokens, what it pads ended rows with cut off."""
    batch = pad([model.tokenize(prompt).ids for prompt in prompts], side="left")
    ends = list(model.vocabulary.stop_ids)
    out = hub.generate(
        batch.ids,
        attention_mask=batch.mask.long(),
        do_sample=False,
        max_new_tokens=n,
        eos_token_id=ends,
        pad_token_id=0,
    )
    rows = []
    for row in out[:, batch.ids.shape[1] :].tolist():
        last = next((i for i, token in enumerate(row) if token in ends), len(row))
        rows.append(tuple(row[: last + 1]))
    return rows


# The Hub library's tokens


def test_greedy_is_the_hub_librarys(lively, lively_folder, family: str) -> None:
    model = lively(family)
    hub = AutoModelForCausalLM.from_pretrained(lively_folder(family), attn_implementation="eager")
    rows = generate(model, PROMPTS, max_new_tokens=24)
    assert ids(rows) == hub_greedy(hub, model, PROMPTS, 24)
    assert len({token for row in rows for token in row.ids}) > 15, "a test of tokens that differ"


@pytest.mark.parametrize("processing", ["raw", "folded"])
def test_greedy_on_the_bridge_is_the_whole_run_for_every_token(
    lively, family: str, processing: str
) -> None:
    model = lively(family, processing)
    over_the_bridge = [Edit("1.scores", lambda x: x)]
    for row in generate(model, PROMPTS, max_new_tokens=N, edits=over_the_bridge, eos=False):
        so_far = list(row.prompt.ids)
        for token in row.ids:
            ran = run(model, torch.tensor([so_far]), edit=over_the_bridge, logits_at=-1)
            assert ran.logits is not None and int(ran.logits.argmax()) == token
            so_far.append(token)


# A batch is one by one


def test_a_batch_equals_one_by_one(lively, by_hand, family: str) -> None:
    for model, prompts in [
        (lively(family), PROMPTS),
        (by_hand, ["a b c a", "a b c d e f b", "q a"]),
    ]:
        together = generate(model, prompts, max_new_tokens=N)
        assert together == tuple(generate(model, p, max_new_tokens=N)[0] for p in prompts)


@pytest.mark.parametrize("family", ["gpt2", "neox", "llama", "llama without a cache"])
def test_rows_end_each_for_its_own_reason(lively, uncached, family: str) -> None:
    """The longest row fills the context, one meets a stop token, the shortest goes on."""
    model = lively(family.split()[0])
    model = uncached(model) if "without" in family else model
    prompts = ["an inn " * 9, "the cat", "x"]
    alone = [generate(model, p, max_new_tokens=60, eos=False)[0] for p in prompts]
    assert [row.stopped for row in alone[:2]] == ["context", "context"]
    assert all(len(row.prompt) + len(row.ids) == 64 for row in alone[:2])
    met = next(token for token in alone[1].ids if token not in {*alone[0].ids, *alone[2].ids})
    rows = generate(model, prompts, max_new_tokens=60, stop=[met], eos=False)
    assert [row.stopped for row in rows] == ["context", "stop", "length"]
    assert (rows[0].ids, rows[2].ids) == (alone[0].ids, alone[2].ids)
    assert rows[1].ids == alone[1].ids[: alone[1].ids.index(met) + 1]
    assert len(rows[2].ids) == 60


def test_a_rows_draws_hang_on_no_other_row(lively) -> None:
    model = lively("llama")
    drawn = {"temperature": 1.5, "seed": 5, "max_new_tokens": N}
    first = generate(model, ["the cat"] * 3, **drawn)
    other = generate(model, ["a much longer prompt", "the cat", "x"], **drawn)
    assert other[1].ids == first[1].ids
    assert len(set(ids(first))) == 3, "samples of one prompt differ"
    assert generate(model, ["the cat"] * 3, **drawn) == first
    assert generate(model, ["the cat"] * 3, **{**drawn, "seed": 6}) != first


# Sampling


LOGITS = torch.randn(4, 50, generator=torch.Generator().manual_seed(0)) * 3


@given(
    temperature=st.floats(0.05, 5),
    top_k=st.none() | st.integers(1, 60),
    top_p=st.none() | st.floats(0.01, 1),
)
def test_filters_are_the_hub_librarys(temperature, top_k, top_p) -> None:
    expected = TemperatureLogitsWarper(temperature)(None, LOGITS)  # type: ignore[arg-type]
    if top_k is not None:
        expected = TopKLogitsWarper(top_k)(None, expected)  # type: ignore[arg-type]
    if top_p is not None:
        expected = TopPLogitsWarper(top_p)(None, expected)  # type: ignore[arg-type]
    found = filtered(LOGITS, temperature, top_k, top_p)
    assert_close(found.softmax(dim=-1), expected.softmax(dim=-1), rtol=1e-4, atol=1e-7)


def test_a_temperature_near_zero_is_greedy_and_does_not_overflow() -> None:
    probs = filtered(LOGITS, 1e-40).softmax(dim=-1)
    assert torch.equal(probs.argmax(dim=-1), LOGITS.argmax(dim=-1))
    assert (probs.amax(dim=-1) == 1).all()


@pytest.mark.parametrize(
    "only", [{"top_k": 1}, {"top_p": 1e-6}, {"temperature": 1e-6}, {"temperature": 1e-320}]
)
def test_a_choice_of_one_is_greedy(lively, only) -> None:
    model = lively("neox")
    drawn = generate(model, PROMPTS, max_new_tokens=N, **{"temperature": 2.0, **only})
    assert drawn == generate(model, PROMPTS, max_new_tokens=N)


def test_tokens_are_drawn_as_often_as_the_model_says(tiny) -> None:
    model = tiny("gpt2")
    rows = generate(model, ["the"] * 1500, max_new_tokens=1, temperature=3.0, top_k=4, eos=False)
    logits = run(model, model.tokenize("the").tensor(), logits_at=-1).logits
    assert logits is not None
    expected = filtered(logits[:, 0], 3.0, top_k=4).softmax(dim=-1)[0]
    found = torch.tensor([row.ids[0] for row in rows]).bincount(minlength=300) / 1500
    assert expected.count_nonzero() == 4
    assert_close(found, expected, atol=0.04, rtol=0)  # 3.1 standard errors


# Edits


def direction(x: Tensor) -> Tensor:
    vector = torch.randn(x.shape[-1], generator=torch.Generator().manual_seed(1))
    return 4 * vector.to(x.device)


def everywhere(x: Tensor) -> Tensor:
    return x + direction(x)


def on_the_prompt(x: Tensor) -> Tensor:
    return x + direction(x) if x.shape[1] > 1 else x


def on_new_tokens(x: Tensor) -> Tensor:
    return x + direction(x) if x.shape[1] == 1 else x


def on_its_last_position(x: Tensor) -> Tensor:
    if x.shape[1] > 1:
        x[:, -1] *= -1
    return x


def turned(x: Tensor) -> Tensor:
    return -x


def less_its_mean(x: Tensor) -> Tensor:
    """Hangs on which positions it is handed together."""
    return x - x.mean(dim=1, keepdim=True)


class Counting:
    """Hangs on how often it was called."""

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def __call__(self, x: Tensor) -> Tensor:
        self.shapes.append(tuple(x.shape))
        return x + len(self.shapes) * direction(x) / 10


EDITS: dict[str, Callable[[], list[Edit]]] = {
    "everywhere": lambda: [Edit("1.resid_post", everywhere)],
    "several layers": lambda: [Edit("*.resid_pre", everywhere)],
    "past the norm's branch": lambda: [Edit("1.mlp_in", everywhere)],
    "the prompt": lambda: [Edit("0.resid_post", on_the_prompt)],
    "new tokens": lambda: [Edit("1.resid_post", on_new_tokens)],
    "one position": lambda: [Edit("1.resid_post", on_its_last_position)],
    "its mean": lambda: [Edit("1.attn_out", less_its_mean)],
    "a head": lambda: [Edit("L1H2.z", torch.zeros_like)],
    "two heads": lambda: [Edit("L1H2.z", everywhere), Edit("L1H0.z", on_new_tokens)],
    "keys": lambda: [Edit("L1H0.k", turned)],
    "values": lambda: [Edit("2.v", on_the_prompt)],
    "calls": lambda: [Edit("1.resid_post", Counting())],
    "embedding": lambda: [Edit("embed", everywhere)],
    "logits": lambda: [Edit("logits", everywhere)],
}


@pytest.fixture(scope="module")
def clean(lively) -> Callable[[str], tuple[Generation, ...]]:
    return cache(lambda family: generate(lively(family), PROMPTS, max_new_tokens=N))


@pytest.mark.parametrize("kind", EDITS)
def test_edits_are_the_same_without_a_cache(
    lively, uncached, clean, family: str, kind: str
) -> None:
    model = lively(family)
    cached = generate(model, PROMPTS, max_new_tokens=N, edits=EDITS[kind]())
    assert cached != clean(family)
    assert generate(uncached(model), PROMPTS, max_new_tokens=N, edits=EDITS[kind]()) == cached


@pytest.mark.parametrize("keeps", ["cache", "no cache"])
def test_an_edit_sees_every_position_once(lively, uncached, keeps: str) -> None:
    model = lively("gpt2") if keeps == "cache" else uncached(lively("gpt2"))
    whole, head = Counting(), Counting()
    edits = [Edit("0.resid_post", whole), Edit("L1H1.z", head)]
    generate(model, ["the cat", "x"], max_new_tokens=4, edits=edits, eos=False)
    assert whole.shapes == [(2, 6, 24), (2, 1, 24), (2, 1, 24), (2, 1, 24)]
    assert head.shapes == [(2, 6, 8), (2, 1, 8), (2, 1, 8), (2, 1, 8)]


def test_steering_with_a_cache_is_the_whole_run_steered(lively, family: str) -> None:
    """A second road: no generation, every prefix run whole with the same edit."""
    model, edit = lively(family), Edit("1.resid_post", everywhere)
    for row in generate(model, PROMPTS, max_new_tokens=N, edits=[edit], eos=False):
        tokens = torch.tensor([[*row.prompt.ids, *row.ids]])
        logits = run(model, tokens, edit=edit).logits
        assert logits is not None
        assert tuple(logits[0, len(row.prompt) - 1 : -1].argmax(dim=-1).tolist()) == row.ids


def test_an_edit_of_the_pattern_sees_new_queries_over_all_keys(lively) -> None:
    shapes = []

    def seen(pattern: Tensor) -> Tensor:
        shapes.append(tuple(pattern.shape))
        return pattern

    edit = Edit("1.pattern", seen)
    generate(lively("gpt2"), "the cat", max_new_tokens=3, edits=[edit], eos=False)
    assert shapes == [(1, 3, 6, 6), (1, 3, 1, 7), (1, 3, 1, 8)]


def test_logits_can_be_forbidden(lively, family: str) -> None:
    model = lively(family)
    common = generate(model, PROMPTS, max_new_tokens=N, eos=False)[0].ids[0]

    def forbid(logits: Tensor) -> Tensor:
        logits[..., common] = -torch.inf
        return logits

    rows = generate(model, PROMPTS, max_new_tokens=N, edits=[Edit("logits", forbid)], eos=False)
    assert all(common not in row.ids for row in rows)


def test_how_far_an_edit_moved_few_logits_counts_no_padding(by_hand) -> None:
    batch = pad([[1, 2, 3, 4], [1]], side="left")
    edit = Edit("logits", lambda x: x + 1)
    ran = run(by_hand, batch.ids, mask=batch.mask, edit=edit, logits_at=-1)
    assert ran.receipt.moved[0] == pytest.approx((2 * 27) ** 0.5)


# The induction head, written by hand


def test_the_induction_head_repeats_and_without_it_nothing_does(by_hand) -> None:
    (row,) = generate(by_hand, "q a b c d a", max_new_tokens=7)
    assert (row.strings, row.text) == (tuple("bcdabcd"), " b c d a b c d")
    ablated = [Edit("L1H2.z", torch.zeros_like)]
    (without,) = generate(by_hand, "q a b c d a", max_new_tokens=7, edits=ablated)
    assert set(without.strings) == {"<bos>"}, "all logits alike: the first label"


# Where a text ends


def test_stop_tokens_end_a_row_and_stay_out_of_its_text(lively) -> None:
    model = lively("gpt2")
    row = generate(model, "the cat", max_new_tokens=N, eos=False)[0]
    last = next(token for token in row.ids if row.ids.index(token) > 3 and token < 256)
    for stop in ([last], [model.vocabulary.string(last)]):
        ended = generate(model, "the cat", max_new_tokens=N, stop=stop, eos=False)[0]
        assert ended.stopped == "stop" and ended.ids == row.ids[: row.ids.index(last) + 1]
        assert ended.text == model.vocabulary.decode(ended.ids[:-1])
        assert ended.strings[-1] == model.vocabulary.string(last)


def test_texts_end_where_vocabulary_or_generation_config_says(lively, lively_folder, tmp_path):
    row = generate(lively("neox"), "the cat", max_new_tokens=N, eos=False)[0]
    assert row.stopped == "length"
    shutil.copytree(lively_folder("neox"), tmp_path, dirs_exist_ok=True)
    for ends in (row.ids[5], [270, row.ids[5]]):
        config = {"bos_token_id": 0, "eos_token_id": ends}
        (tmp_path / "generation_config.json").write_text(json.dumps(config))
        model = load(str(tmp_path), device="cpu")
        assert set(model.vocabulary.stop_ids) == {0, *(ends if isinstance(ends, list) else [ends])}
        ended = generate(model, "the cat", max_new_tokens=N)[0]
        assert ended.ids == row.ids[: row.ids.index(row.ids[5]) + 1] and ended.stopped == "stop"
        assert generate(model, "the cat", max_new_tokens=N, eos=False)[0].ids == row.ids


def test_a_length_asked_for_and_reached_is_no_full_context(by_hand) -> None:
    tokens = from_ids(by_hand.vocabulary, [0, *range(1, 27), *range(1, 27)], bos=True)
    assert len(tokens) == 53
    rows = [generate(by_hand, tokens, max_new_tokens=n)[0] for n in (11, 12)]
    assert [(len(row.ids), row.stopped) for row in rows] == [(11, "length"), (11, "context")]


# Texts


def test_a_character_of_several_tokens_is_whole_in_the_text(lively) -> None:
    model = lively("gpt2")
    letters = iter([model.token_id("t"), *model.tokenize("é€", bos=False).ids])

    def dictate(logits: Tensor) -> Tensor:
        return torch.full_like(logits, 0).index_fill(-1, torch.tensor(next(letters)), 1)

    row = generate(model, "caf", max_new_tokens=6, edits=[Edit("logits", dictate)])[0]
    assert row.text == "té€"
    assert row.strings == ("t", *(f"\\x{byte:02x}" for byte in "é€".encode()))


def test_the_chat_template_and_bos_are_the_tokenizers(lively) -> None:
    model = lively("gpt2")
    assert generate(model, "hi", chat=True)[0].prompt == model.tokenize("hi", chat=True)
    assert generate(model, "hi", bos=False)[0].prompt == model.tokenize("hi", bos=False)


# The stream


def test_the_stream_grows_by_a_token_and_ends_as_generate(lively) -> None:
    model = lively("llama")
    seen = list(stream(model, PROMPTS, max_new_tokens=5, eos=False))
    assert [len(rows[0].ids) for rows in seen] == [1, 2, 3, 4, 5]
    assert [rows[0].stopped for rows in seen] == [None] * 4 + ["length"]
    assert seen[-1] == generate(model, PROMPTS, max_new_tokens=5, eos=False)


def test_a_stream_is_checked_when_it_is_asked_for(lively) -> None:
    with pytest.raises(InputError, match="max_new_tokens 0"):
        stream(lively("llama"), PROMPTS, max_new_tokens=0)


# Mistakes


@pytest.mark.parametrize(
    ("prompts", "settings", "told"),
    [
        ("a", {"temperature": -1.0}, r"temperature -1.0 must be 0 \(greedy\) or more"),
        ("a", {"temperature": float("nan")}, "temperature nan must be"),
        ("a", {"temperature": float("inf")}, "temperature inf must be"),
        ("a", {"temperature": 1.0, "top_p": 0.0}, "top_p 0.0 must lie above 0"),
        ("a", {"temperature": 1.0, "top_p": 1.1}, "top_p 1.1 must lie above 0 and at most at 1"),
        ("a", {"temperature": 1.0, "top_k": 0}, "top_k 0 must be a whole number from 1"),
        ("a", {"top_k": 5}, "top_k and top_p need a temperature above 0"),
        ("a", {"max_new_tokens": 0}, "max_new_tokens 0 must be whole, from 1"),
        ("a", {"seed": -1}, "seed -1 must be a whole number from 0"),
        ([], {}, "no prompt is given; give at least one"),
        (["a", " ", "b", ""], {}, "prompt 1, 3 is empty; write at least one token"),
        (
            "",
            {"temperature": -2.0, "top_k": 0, "top_p": 2.0, "max_new_tokens": -3},
            "prompt 0 is empty.*max_new_tokens -3.*temperature -2.0.*top_k 0.*top_p 2.0",
        ),
        (["b", "a " * 63], {}, "no room .* context of 64 tokens: prompt 1 has 64; shorten it"),
        ("a", {"stop": ["a b"]}, "'a b' is not a single token but 2"),
        ("a", {"stop": [27]}, "stop token 27 is outside the vocabulary of 27"),
        ("a", {"edits": [Edit("2.resid_post", everywhere)]}, "layers run from 0 to 1"),
        ("a", {"edits": [Edit("L0H0.z", lambda x: x[:, :, 1:])]}, "returned shape"),
        ("a", {"edits": [Edit("0.result", everywhere)]}, "computed from z and cannot be edited"),
        (
            "a",
            {"edits": [Edit("0.resid_post", lambda x: x * torch.inf)]},
            "logits are not finite: an edit, or float16",
        ),
    ],
)
def test_mistakes_are_told(by_hand, prompts, settings, told: str) -> None:
    with pytest.raises(InputError, match=told):
        generate(by_hand, prompts, **settings)


def test_a_late_mistake_of_an_edit_is_told_without_a_cache(by_hand) -> None:
    late = Edit("0.resid_post", lambda x: x if x.shape[1] > 1 else x[0])
    with pytest.raises(InputError, match=r"edit at 0.resid_post returned shape \(1, 145\)"):
        generate(by_hand, "a b", edits=[late])


# A real model, and another device


@pytest.mark.real_model
def test_greedy_on_smollm2_is_the_hub_librarys(smollm2: Model) -> None:
    assert smollm2.plain is not None
    prompts = ("The capital of France is", "Once upon a time, there was a little girl who", "def")
    rows = generate(smollm2, prompts, max_new_tokens=20)
    assert ids(rows) == hub_greedy(smollm2.plain, smollm2, prompts, 20)
    assert " Paris" in rows[0].text
    edit = Edit("15.resid_post", lambda x: x)
    assert generate(smollm2, prompts, max_new_tokens=20, edits=[edit]) == rows


@pytest.mark.real_model
def test_smollm2_answers_a_chat_and_stops(smollm2: Model) -> None:
    (row,) = generate(smollm2, "What is the capital of France?", chat=True)
    assert "Paris" in row.text
    assert row.stopped == "stop" and row.strings[-1] == "<|im_end|>"


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device")
@pytest.mark.parametrize("processing", ["raw", "folded"])
def test_cuda_gives_the_cpus_text(lively, lively_folder, family: str, processing: str) -> None:
    on_gpu = load(str(lively_folder(family)), device="cuda", processing=processing)
    every: list[dict[str, Any]] = [
        {},
        {"edits": [Edit("L1H2.z", torch.zeros_like), Edit("1.resid_post", everywhere)]},
        {"temperature": 1.3, "top_k": 20, "seed": 2},
    ]
    for settings in every:
        here = generate(lively(family, processing), PROMPTS, max_new_tokens=N, **settings)
        there = generate(on_gpu, PROMPTS, max_new_tokens=N, **settings)
        assert ids(there) == ids(here)


def test_one_stop_text_is_no_list_of_letters(tiny: Callable[..., Model]) -> None:
    model = tiny("gpt2")
    one, several = (
        generate(model, "the cat", stop=stop, max_new_tokens=8) for stop in ("t", ["t"])
    )
    assert [row.ids for row in one] == [row.ids for row in several]
    with pytest.raises(InputError, match="is not a single token"):
        generate(model, "the cat", stop="é€")


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("prompt", "settings", "told"),
    [
        ("a", {"max_new_tokens": 2.5}, "max_new_tokens 2.5 must be whole"),
        ("a", {"top_k": 3.5, "temperature": 1.0}, "top_k 3.5 must be a whole number"),
        ([[5, 6, 7]], {}, "a prompt is a list; give texts, or Tokens"),
    ],
)
def test_what_is_no_number_or_no_prompt(tiny: Callable[..., Model], prompt, settings, told) -> None:
    with pytest.raises(InputError, match=told):
        generate(tiny("gpt2"), prompt, **settings)
