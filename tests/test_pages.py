"""The pages' logic, without a browser: what is asked for, what reaches the canvas, what is said.

A page runs in Streamlit's own test runner. What the canvas draws is read from the block of bytes
that is sent to it; `tests/browser` looks at what becomes of them.
"""

import html
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from dashboards import lens_view
from dashboards.compare_sides import names
from dashboards.components import TokenLabel, attention, lens, wire
from dashboards.examples import EXAMPLES, REAL
from dashboards.navigation import sections, url_path
from tests.pages import BY_HAND, PROMPT, charts, forget, numbers, opened, sent, unpacked
from workbench import runs
from workbench.attention import SCORES, patterns, repeated_random, thumbnails, value_weighted
from workbench.cache import capture
from workbench.circuits import partners
from workbench.errors import InputError
from workbench.hooks import run
from workbench.lens import follow, residuals
from workbench.lens import lens as read_lens
from workbench.models import Model
from workbench.registry import listed
from workbench.sites import Head

APP = Path(__file__).parent.parent / "dashboards" / "app.py"
OTHER = "a b c d e f g h i"
PROMPTED = ("Attention", "Lens", "Attribution")  # pages that begin with one prompt
_ATTENTION = {"input", "length", "batch", "seed", "score", "weights", "shown", "minus", "head"}
_PAIRS = {"pairs", "task", "n", "seed", "corruption", "clean", "corrupted", "answer", "wrong"}
SETTINGS = {
    "Attention": {"prompt", "ablate", "how", *_ATTENTION},
    "Lens": {"prompt", "value", "follow", "cell"},
    "Attribution": {"prompt", "answer", "wrong", "part"},
    "Patching": {"site", *_PAIRS},
    "Circuit": {"edges", "pins", "steps", "bos", *_PAIRS},
    "Steering": {
        *("prompt", "source", "towards", "away", "read", "layer", "strength", "unit"),
        *("positions", "seed", "temperature", "new"),
    },
    "Probes": {"labels", "typed", "kind", "sites", "among", "n", "seed", "random", "text", "task"},
    "SAE": {
        *("sae", "by", "find", "density", "f1", "order", "prompt", "token", "latent", "edit"),
        *("how", "strength", "seed", "temperature", "new"),
    },
    "Neurons": {
        *("part", "layer", "text", "contexts", "find", "order", "neuron", "left", "right", "seed"),
        *("head", "recipe", "steps"),
    },
    "Superposition": {
        *("view", "cell", "seed", "grouping"),
        *(f"{name}{view}" for view in range(4) for name in ("n", "m", "steps", "repeats")),
        *(f"{name}{view}" for view in range(4) for name in ("densities", "importance")),
    },
    "Double descent": {"n", "steps", "repeats", "seed", "density", "points"},
    "Induction": {"layers", "seed", "steps", "step", "head"},
    "Grokking": {
        *("part", "training", "epoch", "frequency", "map", "number"),
        *("p", "steps", "seed", "fraction", "decay", "attention"),
    },
    "Training": {"training", "log"},
    "Compare": {
        *("on", "model_b", "prompt", "prompt_b", "input", "length", "score", "head", "follow"),
        *("task_b", "site", "metric", "sae", "sae_b"),
    },
    "Othello": {"game", "seed", "moves", "number", "reading", "probe", "from", "to", "alpha"},
}


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Each test has its own store and records; the loaded model stays for the next one."""
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path))
    forget()
    yield tmp_path
    forget()


def links(at: AppTest) -> list[str]:
    """The labels of the links to examples."""
    return [
        html.unescape(label)
        for element in at.get("html")
        for label in re.findall(r"<a [^>]*>(.+?)</a>", element.proto.body)
    ]


def told(at: AppTest) -> list[str]:
    return [element.value for element in (*at.error, *at.warning)]


def said(at: AppTest) -> str:
    """The first line of Markdown as a reader sees it."""
    return re.sub(r"\\(.)", r"\1", at.markdown[0].value)


def caption(at: AppTest) -> str:
    return at.caption[-1].value


def tokens_of(at: AppTest) -> list[str]:
    return [text for text, _ in sent(at)[0]["tokens"]]


# --- every page opens ----------------------------------------------------------------------------


def test_the_app_opens_on_home() -> None:
    at = AppTest.from_file(str(APP), default_timeout=60).run()
    assert not at.exception
    assert [header.value for header in at.header] == ["lensbench"]
    assert not at.get("bidi_component")


def test_home_offers_what_is_ready() -> None:
    at = opened("Home")
    shown = [e.title for e in EXAMPLES if e.settings.get("model") != REAL]
    assert [m.value.strip("*") for m in at.markdown if m.value.startswith("**")] == shown
    assert f"workbench models pull {REAL}" in at.info[0].value


def test_home_offers_everything_once_the_real_model_is_there(own_home: Path) -> None:
    (own_home / "models" / REAL).mkdir(parents=True)
    at = opened("Home")
    assert len(links(at)) == len(EXAMPLES) + 1, "the examples, and the tour"
    assert not at.info


def test_home_says_what_is_ready(own_home: Path) -> None:
    opened("Attention", prompt="a b a")
    (table,) = (m.value for m in opened("Home").markdown if m.value.startswith("|"))
    rows = dict(re.findall(r"^\| (.+?) \| (.+?) \|$", table, re.MULTILINE))
    assert rows[BY_HAND] == "ready"
    assert rows[REAL] == "not fetched yet"
    assert rows["store"].startswith("2 activations")
    assert rows["files"] == f"`{own_home}`"


@pytest.mark.parametrize("page", PROMPTED)
def test_without_a_prompt_there_are_examples(page: str) -> None:
    for address in ({}, {"prompt": " \n"}):
        at = opened(page, **address)
        assert "start from an example" in at.info[0].value
        assert links(at) == [e.title for e in EXAMPLES if e.page == page]
        assert not at.get("bidi_component") and not charts(at) and not told(at)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.title)
def test_examples_ask_for_what_exists(example) -> None:
    """With the small model in the real one's place: settings are settings of the page."""
    assert set(example.settings) <= {"model", *SETTINGS[example.page]}
    name = example.settings.get("model", BY_HAND)
    assert name in names()
    prompted = {"prompt": PROMPT} if "prompt" in SETTINGS[example.page] else {}
    model = BY_HAND if name == REAL else name
    at = opened(example.page, **{**example.address, "model": model, **prompted})
    # The real model's heads, layers and words are none of the small one's.
    beyond = re.compile("the address asks for (head|part|layer|labels)|vocabulary", re.IGNORECASE)
    assert all(beyond.search(word) for word in told(at)), told(at)


def test_the_example_by_hand_shows_its_circuit() -> None:
    (example,) = (
        e for e in EXAMPLES if e.settings.get("model") == BY_HAND and e.page == "Attention"
    )
    header, arrays = sent(opened(example.page, **example.address))
    assert header["head"] == [1, 2]
    assert arrays["scores"][1, 2] == 1.0


# --- attention -----------------------------------------------------------------------------------


def test_a_typed_prompt_becomes_a_picture(by_hand: Model) -> None:
    at = opened("Attention")
    at.text_area(key="prompt").set_value(PROMPT).run()
    header, arrays = sent(at)
    direct = patterns(by_hand, by_hand.tokenize(PROMPT).tensor())
    assert [text for text, _ in header["tokens"]] == ["<bos>", *PROMPT.split()]
    assert header["head"] == [1, 2], "the leader of the score, where none is named"
    assert arrays["pattern"].tobytes() == direct.of(Head(1, 2))[0].numpy().tobytes()
    assert arrays["scores"].tobytes() == direct.scores("induction").numpy().tobytes()
    assert arrays["thumbnails"].tobytes() == thumbnails(direct.weights[:, 0]).numpy().tobytes()
    assert "L1H2 1.00" in at.markdown[0].value
    assert "10 tokens, 2 x 4 heads" in caption(at)


@pytest.mark.parametrize("score", SCORES)
def test_every_score_colours_the_grid(by_hand: Model, score: str) -> None:
    header, arrays = sent(opened("Attention", prompt=PROMPT, score=score))
    expected = patterns(by_hand, by_hand.tokenize(PROMPT).tensor()).scores(score)
    assert header["score_name"] == score
    assert arrays["scores"].tobytes() == expected.numpy().tobytes()
    assert header["score_limits"][0] == 0 and header["score_limits"][1] >= arrays["scores"].max()


def test_the_page_offers_every_score_there_is() -> None:
    assert opened("Attention", prompt=PROMPT).selectbox(key="score").options == list(SCORES)


@pytest.mark.parametrize("head", ["L0H1", "0.1"])
def test_the_address_names_the_head(by_hand: Model, head: str) -> None:
    header, arrays = sent(opened("Attention", prompt=PROMPT, head=head))
    direct = patterns(by_hand, by_hand.tokenize(PROMPT).tensor())
    assert header["head"] == [0, 1]
    assert header["title"] == "L0H1: attention"
    assert arrays["pattern"].tobytes() == direct.of(Head(0, 1))[0].numpy().tobytes()


def test_another_head_changes_only_its_pattern() -> None:
    at = opened("Attention", prompt=PROMPT, head="L0H1")
    before = sent(at)[0]
    at.query_params["head"] = "L1H2"
    after = sent(at.run())[0]
    same = [n for n in before["arrays"] if before["arrays"][n]["id"] == after["arrays"][n]["id"]]
    assert sorted(same) == ["scores", "thumbnails"]
    assert before["id"] != after["id"]


@pytest.mark.parametrize(
    ("shown", "reduce"), [("mean over heads", np.mean), ("max over heads", np.max)]
)
def test_mean_and_maximum_over_heads(by_hand: Model, shown: str, reduce) -> None:
    header, arrays = sent(opened("Attention", prompt=PROMPT, head="L1H2", shown=shown))
    layer = patterns(by_hand, by_hand.tokenize(PROMPT).tensor()).weights[1, 0].numpy()
    np.testing.assert_allclose(arrays["pattern"], reduce(layer, axis=0), atol=1e-6)
    assert header["title"] == f"L1, {shown}: attention"


def test_weights_by_value(tiny: Callable[..., Model], tiny_folder: Callable[[str], Path]) -> None:
    """On a model with grouped queries, where a wrong pairing of heads would show."""
    address = {"model": str(tiny_folder("llama")), "prompt": "the tin man", "head": "L2H5"}
    at = opened("Attention", **address, weights="value-weighted")
    header, arrays = sent(at)
    model = tiny("llama")
    ids = model.tokenize("the tin man").tensor()
    weights = patterns(model, ids).weights[2]
    expected = value_weighted(weights, capture(model, ids, "2.v")["2.v"])[0, 5]
    assert arrays["pattern"].tobytes() == expected.detach().numpy().tobytes()
    assert header["title"] == "L2H5: value-weighted"
    assert not np.array_equal(arrays["pattern"], weights[0, 5].numpy())


def test_minus_another_prompt(by_hand: Model) -> None:
    header, arrays = sent(opened("Attention", prompt=PROMPT, minus=OTHER, head="L1H2"))
    one, other = (
        patterns(by_hand, by_hand.tokenize(text).tensor()).of(Head(1, 2))[0].numpy()
        for text in (PROMPT, OTHER)
    )
    np.testing.assert_array_equal(arrays["pattern"], one - other)
    assert header["signed"] and header["title"] == "L1H2: attention, minus the other prompt"
    assert header["limit"] >= np.abs(one - other).max()
    assert arrays["thumbnails"].min() < 128 < arrays["thumbnails"].max()


def test_a_prompt_minus_itself_is_nothing() -> None:
    header, arrays = sent(opened("Attention", prompt=PROMPT, minus=PROMPT))
    assert not arrays["pattern"].any() and not header["signed"]


def test_minus_a_prompt_of_another_length_is_a_sentence() -> None:
    at = opened("Attention", prompt=PROMPT, minus="a b c")
    assert told(at) == [
        "The other prompt has 4 tokens, this one 10; a difference needs the same number"
    ]
    assert not at.get("bidi_component")


def test_random_tokens(by_hand: Model) -> None:
    at = opened("Attention", input="random tokens", length="7", batch="2", seed="3")
    header, arrays = sent(at)
    ids = repeated_random(by_hand, length=7, batch=2, seed=3)
    direct = patterns(by_hand, ids)
    assert len(header["tokens"]) == 15
    assert arrays["scores"].tobytes() == direct.scores("induction").numpy().tobytes()
    assert arrays["pattern"].tobytes() == direct.of(Head(1, 2))[0].numpy().tobytes()
    assert "7 random tokens repeated, 2 sequences, seed 3" in caption(at)


def test_fewer_random_tokens_than_asked_for_is_said() -> None:
    """The model by hand knows 26 letters."""
    at = opened("Attention", input="random tokens", length="50")
    assert len(tokens_of(at)) == 53
    assert "26 random tokens (of 50 asked for; no more fit) repeated" in caption(at)


def test_no_token_twice_is_no_induction_score() -> None:
    at = opened("Attention", prompt="a b c")
    header, arrays = sent(at)
    assert np.isnan(arrays["scores"]).all() and header["head"] == [0, 0]
    assert "not defined here" in at.markdown[0].value


@pytest.mark.parametrize("score", SCORES)
def test_a_single_token_is_a_picture_too(score: str) -> None:
    header, _ = sent(opened("Attention", prompt="a", bos="off", score=score))
    assert len(header["tokens"]) == 1


# --- lens ----------------------------------------------------------------------------------------


def test_the_lens_shows_what_the_core_computes(
    tiny: Callable[..., Model], tiny_folder: Callable[[str], Path]
) -> None:
    text = "the tin man"
    at = opened("Lens", model=str(tiny_folder("gpt2")), prompt=text)
    header, arrays = sent(at)
    model = tiny("gpt2")
    resid, _ = residuals(model, model.tokenize(text).tensor())
    found = read_lens(resid, model.unembed)
    assert header["layers"] == ["embed", "L0", "L1", "L2"]
    assert arrays["probs"].tobytes() == found.top_probs.numpy().tobytes()
    names = np.array(header["names"])[arrays["ids"]]
    assert names[3, -1, 0] == model.vocabulary.string(int(found.top_ids[3, -1, 0])).replace(
        " ", "·"
    )
    assert header["cell"] == [3, len(header["tokens"]) - 1], "the model's answer"
    fate = follow(resid[:, -1], model.unembed, int(found.top_ids[3, -1, 0]))
    assert arrays["curve_rank"].tolist() == (fate.rank + 1).tolist()
    assert arrays["curve_rank"][-1] == 1
    np.testing.assert_allclose(arrays["curve_prob"], fate.prob, rtol=1e-6)


@pytest.mark.parametrize("value", lens_view.VALUES)
def test_the_lens_is_shaded_by(by_hand: Model, value: str) -> None:
    header, arrays = sent(opened("Lens", prompt=PROMPT, value=value))
    found = read_lens(residuals(by_hand, by_hand.tokenize(PROMPT).tensor())[0], by_hand.unembed)
    expected = {
        "probability": found.top_probs[:, :, 0],
        "entropy": found.entropy,
        "KL to the output": found.kl,
    }[value]
    assert header["value_name"] == value
    assert arrays["value"].tobytes() == expected.contiguous().numpy().tobytes()
    low, high = header["value_limits"]
    assert low <= arrays["value"].min() and arrays["value"].max() <= high


def test_the_address_names_the_cell_and_the_token() -> None:
    header, arrays = sent(opened("Lens", prompt=PROMPT, cell="1.3", follow="e"))
    assert header["cell"] == [1, 3]
    assert header["curve_name"] == "e"
    assert len(arrays["curve_rank"]) == 3


def test_the_cell_has_its_own_curve() -> None:
    """Without a token to follow, it is the cell's top one."""
    header, arrays = sent(opened("Lens", prompt=PROMPT, cell="2.8"))
    assert header["curve_name"] == header["names"][arrays["ids"][2, 8, 0]] == "d"


def test_a_token_that_is_none_is_a_notice() -> None:
    at = opened("Lens", prompt=PROMPT, follow="a b")
    assert "is not a single token but 2" in at.warning[0].value
    assert at.get("bidi_component")


# --- attribution ---------------------------------------------------------------------------------


def test_the_bars_sum_to_the_logit_difference(
    family: str, processing: str, tiny: Callable[..., Model], tiny_folder: Callable[[str], Path]
) -> None:
    text, model, folder = "the tin man", tiny(family, processing), str(tiny_folder(family))
    at = opened("Attribution", model=folder, prompt=text, processing=processing)
    logits = run(model, model.tokenize(text).tensor()).logits
    assert logits is not None
    best = logits[0, -1].topk(2)
    bars, heads, inside = charts(at)
    shares = [numbers(trace["y"]) for trace in bars["data"] if trace["type"] == "bar"]
    difference = float(best.values[0] - best.values[1])
    assert sum(share.sum() for share in shares) == pytest.approx(difference, abs=1e-4)
    assert f"logit difference {difference:.4f} = sum" in bars["layout"]["title"]["text"]
    grid = numbers(heads["data"][0]["z"])
    np.testing.assert_allclose(grid.sum(1), shares[0][-3:], atol=1e-5)
    (chosen,) = (box.value for box in at.selectbox if box.key == "part")
    assert inside["layout"]["title"]["text"].startswith(f"{chosen}: ")
    answer, wrong = (model.vocabulary.string(int(token)) for token in best.indices)
    assert said(at) == f"**logit of {answer!r} less that of {wrong!r} after position 7**"


def test_the_answer_by_hand_comes_from_the_head_by_hand() -> None:
    at = opened("Attribution", prompt="a b c a b")
    bars, heads, inside = charts(at)
    assert "L1H2: 10.0000" in inside["layout"]["title"]["text"]
    shares = numbers(inside["data"][0]["y"])
    assert int(shares.argmax()) == 3, "the c after the first b"
    assert len(bars["data"]) == 2, "heads and the running sum: no MLP, no bias"
    assert numbers(heads["data"][0]["z"])[1, 2] == shares.sum()


@pytest.mark.parametrize(
    ("address", "about"),
    [
        ({"answer": "e"}, "'e' less that of 'c' after position 5"),
        ({"wrong": "c"}, "'s' less that of 'c'"),
        ({"answer": "d", "wrong": "a", "position": "2"}, "'d' less that of 'a' after position 2"),
        ({"position": "-6"}, "after position 0"),
    ],
)
def test_the_address_names_tokens_and_place(address: dict[str, str], about: str) -> None:
    at = opened("Attribution", prompt="a b c a b", **address)
    assert about in said(at) and not told(at)


@pytest.mark.parametrize(
    ("part", "names"),
    [("L2 MLP", 22), ("L1 heads", 8), ("L0H2", 8)],
)
def test_what_is_inside_a_part_sums_to_it(
    part: str, names: int, tiny_folder: Callable[[str], Path]
) -> None:
    at = opened("Attribution", model=str(tiny_folder("gpt2")), prompt="the tin man", part=part)
    bars, heads, inside = charts(at)
    shares = numbers(inside["data"][0]["y"])
    by_name = {
        name: value
        for trace in bars["data"][:2]
        for name, value in zip(trace["customdata"], numbers(trace["y"]), strict=True)
    }
    grid = numbers(heads["data"][0]["z"])
    expected = by_name.get(part, grid[0, 2])
    assert shares.sum() == pytest.approx(expected, abs=1e-4) and len(shares) == names


@pytest.mark.parametrize(
    ("address", "notice"),
    [
        ({"answer": "a b"}, "is not a single token but 2"),
        ({"wrong": "qq"}, "'qq' is not in this model's vocabulary"),
        ({"answer": "a", "wrong": "a"}, "answer and wrong token are both 'a'"),
        ({"position": "9"}, "position '9' should be a whole number from 0 to 5"),
        ({"position": "end"}, "position 'end' should be a whole number"),
        ({"position": "1e999"}, "position '1e999' should be"),
        ({"part": "L9H9"}, "asks for part “L9H9”"),
        ({"part": "![x](http://203.0.113.1/x.png)"}, "asks for part"),
    ],
)
def test_a_bad_attribution_address_is_a_notice(address: dict[str, str], notice: str) -> None:
    at = opened("Attribution", prompt="a b c a b", **address)
    assert notice.lower() in at.warning[0].value.lower() and len(told(at)) == 1
    assert "'c' less that of 's' after position 5" in said(at)
    assert charts(at)[2]["layout"]["title"]["text"].startswith("L1H2: "), "the default is shown"


def test_another_model_has_other_parts(tiny_folder: Callable[[str], Path]) -> None:
    at = opened("Attribution", model=str(tiny_folder("gpt2")), prompt="a b a", part="L2 MLP")
    at.session_state["model"] = BY_HAND
    assert not at.run().exception
    assert charts(at)[2]["layout"]["title"]["text"].startswith("L1H2: ")


def test_a_click_on_a_bar_or_a_head_looks_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    """The browser's part is in `tests/browser`: here, what is made of the event."""
    from dashboards.views import attribution

    state: dict[str, Any] = {"part": "L1H2"}
    monkeypatch.setattr(attribution.st, "session_state", state)
    for clicked, part in [("L0 heads", "L0 heads"), ("embed", "L0 heads"), ("L0H3", "L0H3")]:
        point = {"customdata": clicked}
        state["chart bars"] = SimpleNamespace(selection=SimpleNamespace(points=[point]))
        attribution._clicked("bars")
        assert state["part"] == part


# --- weights of a head ---------------------------------------------------------------------------


def test_weights_are_read_when_the_box_is_opened(by_hand: Model) -> None:
    at = opened("Attention", prompt=PROMPT, head="L1H2")
    assert not charts(at) and len(runs.kept()) == 1
    at = opened("Attention", prompt=PROMPT, head="L1H2", circuits="true")
    assert "Copying score of OV: 1.00, rank 1 of 8" in at.markdown[1].value
    (grid,) = charts(at)
    scores = numbers(grid["data"][0]["z"])
    found = partners(by_hand, Head(1, 2))
    assert scores[0, 1] == pytest.approx(float(found.earlier[1, 0, 1]))
    assert np.isnan(scores[1]).all()
    assert runs.kept()[0][1].arguments == {"head": "L1H2"}
    tables = " ".join(element.proto.body for element in at.get("html"))
    assert ">&lt;bos&gt;<" in tables, "tokens are text"


def test_a_head_that_writes_nothing_says_so() -> None:
    at = opened("Attention", prompt=PROMPT, head="L0H0", circuits="true")
    assert "not defined, this head writes nothing" in at.markdown[1].value


# --- bad addresses, models and prompts -----------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "notice"),
    [
        ({"score": "charm"}, "asks for score “charm”, which does not exist"),
        ({"device": "tpu"}, "asks for device “tpu”.*Known: auto, cpu, cuda, mps"),
        ({"dtype": "int4"}, "asks for dtype “int4”"),
        ({"processing": "boiled"}, "asks for processing “boiled”"),
        ({"bos": "maybe"}, "asks for bos “maybe”"),
        ({"input": "telepathy"}, "asks for input “telepathy”"),
        ({"weights": "heavy"}, "asks for weights “heavy”"),
        ({"shown": "feet"}, "asks for shown “feet”"),
        ({"head": "L9H9"}, "asks for head L9H9; this model has layers 0 to 1 and heads 0 to 3"),
        ({"head": "L0H4"}, "asks for head L0H4"),
        ({"head": "left one"}, "'left one' should read L5H1"),
        ({"head": "L-1H0"}, "should read L5H1"),
        ({"circuits": "wide"}, "asks for circuits “wide”"),
    ],
)
def test_a_bad_attention_address_is_a_notice(address: dict[str, str], notice: str) -> None:
    at = opened("Attention", prompt=PROMPT, **address)
    assert re.search(notice, at.warning[0].value) and len(told(at)) == 1
    assert sent(at)[0]["head"] == [1, 2], "the default is shown"


@pytest.mark.parametrize(
    ("address", "notice"),
    [
        ({"value": "colour"}, "asks for value “colour”"),
        ({"cell": "9.9"}, "asks for cell '9.9'.*rows 0 to 2 and positions 0 to 9"),
        ({"cell": "0.10"}, "asks for cell '0.10'"),
        ({"cell": "-1.0"}, "asks for cell '-1.0'"),
        ({"cell": "the first"}, "asks for cell 'the first'"),
    ],
)
def test_a_bad_lens_address_is_a_notice(address: dict[str, str], notice: str) -> None:
    at = opened("Lens", prompt=PROMPT, **address)
    assert re.search(notice, at.warning[0].value) and len(told(at)) == 1
    assert sent(at)[0]["cell"] == [2, 9], "the default is shown"


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("length", "9999"),
        ("length", "many"),
        ("seed", "-5"),
        ("batch", "0"),
        ("seed", "inf"),
        ("seed", "1e999"),
        ("length", "9" * 5000),
    ],
)
def test_a_bad_number_in_the_address_is_a_notice(name: str, given: str) -> None:
    at = opened("Attention", input="random tokens", **{name: given})
    assert f"asks for {name} “{given}”, which is not a whole number from" in at.warning[0].value
    assert "50 asked for" in caption(at) and "4 sequences, seed 0" in caption(at)


def test_a_notice_is_text_whatever_the_address_says() -> None:
    """Or an address could have an image fetched from anywhere."""
    at = opened("Attention", prompt=PROMPT, score="![x](https://example.org/x.png)")
    assert "“!\\[x\\](https://example.org/x.png)”" in at.warning[0].value


@pytest.mark.parametrize("page", PROMPTED)
@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ({"model": "/no/such/folder"}, "There is no folder '/no/such/folder'"),
        ({"prompt": "a b qq"}, "'qq' is not in this model's vocabulary"),
        ({"prompt": "a " * 80}, "The prompt has 81 tokens, the model's context holds 64"),
        ({"prompt": "<bos> a"}, "already begins with BOS"),
        ({"chat": "true"}, "has no chat template"),
        ({"processing": "folded"}, "has no LayerNorm to fold"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    page: str, address: dict[str, str], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workbench.models.loading.hub_answers", lambda: False)
    at = opened(page, **{"prompt": PROMPT, **address})
    (error,) = at.error
    assert sentence.lower() in error.value.lower() and "\n" not in error.value
    assert not at.get("bidi_component") and not charts(at)


@pytest.mark.parametrize("page", PROMPTED)
@pytest.mark.parametrize("name", ["no/such-model", REAL])
def test_an_address_alone_fetches_nothing(
    page: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def refused(name: str, **_: object) -> None:
        asked.append(name)
        raise InputError(f"no {name} here")

    monkeypatch.setattr("workbench.models.load", refused)
    at = opened(page, prompt=PROMPT, model=name)
    assert name in at.info[0].value.replace("\\", "") and not at.error and not asked
    if name == REAL:  # the test runner cannot run a page twice with a name typed in by hand
        at.button[0].click().run()
        assert asked == [name] and at.error[0].value == f"No {name} here"


def test_a_folder_without_config_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    at = opened("Attention", model=str(tmp_path / "empty"), prompt=PROMPT)
    assert "has no config.json" in at.error[0].value


def test_a_damaged_store_is_one_sentence(own_home: Path) -> None:
    opened("Attention", prompt=PROMPT)
    forget()
    for path in (own_home / "store" / "captures").glob("*/*.safetensors"):
        path.write_bytes(b"rubbish")
    at = opened("Attention", prompt=PROMPT)
    assert "not a whole safetensors file" in at.error[0].value


def test_a_store_of_somebody_else_is_one_sentence(own_home: Path) -> None:
    (own_home / "store").mkdir()
    (own_home / "store" / "thesis.doc").touch()
    assert "files that are not a store's" in opened("Lens", prompt=PROMPT).error[0].value


@pytest.mark.parametrize("page", ["Attention", "Lens"])
def test_long_prompts_are_cut_and_it_is_said(page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"dashboards.views.{page.lower()}.CAP", 6)
    whole, short = opened(page, prompt=PROMPT), opened(page, prompt="a b c d e")
    assert "The prompt has 10 tokens; the first 6 are computed and shown." in whole.caption[0].value
    assert tokens_of(whole) == tokens_of(short) == ["<bos>", *"abcde"]
    for name, array in sent(short)[1].items():
        np.testing.assert_array_equal(sent(whole)[1][name], array, err_msg=name)
    assert "The prompt has" not in short.caption[0].value


def test_two_long_prompts_can_be_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dashboards.views.attention.CAP", 6)
    at = opened("Attention", prompt=PROMPT, minus=OTHER)
    assert not told(at)
    assert not sent(at)[1]["pattern"].any(), "they begin alike"
    assert "this one 10" in told(opened("Attention", prompt=PROMPT, minus="a b c d e"))[0]


def test_a_chat_template_is_marked(tiny_folder: Callable[[str], Path]) -> None:
    at = opened("Attention", model=str(tiny_folder("gpt2")), prompt="the tin", chat="true")
    titles = [title for _, title in sent(at)[0]["tokens"]]
    own = [title for title in titles if "chat template" not in title]
    assert "".join(json.loads(t.replace("'", '"')) for t in own).strip() == "the tin"


# --- what is kept --------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PROMPTED)
def test_a_computed_view_leaves_a_record(page: str, by_hand: Model) -> None:
    at = opened(page, prompt=PROMPT)
    ((_, record),) = runs.kept()
    assert caption(at).startswith("computed, ")
    assert record.kind == page.lower()
    assert record.model["name"] == BY_HAND
    assert record.model["weights"] == by_hand.identity.weights
    assert record.tokens == [list(by_hand.tokenize(PROMPT).ids)]
    at.run()
    opened(page, prompt=PROMPT)
    assert len(runs.kept()) == 1, "nothing was computed again"


@pytest.mark.parametrize("page", ["Attention", "Lens"])
def test_the_store_serves_another_process(page: str) -> None:
    first = opened(page, prompt=PROMPT)
    forget()
    second = opened(page, prompt=PROMPT)
    assert "cached, " in caption(second)
    for name, array in sent(first)[1].items():
        np.testing.assert_array_equal(sent(second)[1][name], array, err_msg=name)


def test_no_prompt_leaves_no_record() -> None:
    opened("Attention")
    opened("Attention", prompt="a b qq")
    assert not runs.kept()


def test_the_model_is_loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    import workbench.models

    loads = []
    real = workbench.models.load
    monkeypatch.setattr(
        workbench.models, "load", lambda *a, **k: (loads.append(a), real(*a, **k))[1]
    )
    st.cache_resource.clear()
    for page in ("Attention", "Lens", "Attention"):
        opened(page, prompt=PROMPT)
    assert loads == [(BY_HAND,)]


def test_dtypes_do_not_mix() -> None:
    full = sent(opened("Attention", prompt=PROMPT, head="L0H0"))[1]["pattern"]
    half = sent(opened("Attention", prompt=PROMPT, head="L0H0", dtype="bfloat16"))[1]["pattern"]
    assert full.dtype == half.dtype == np.float32
    assert not np.array_equal(full, half)
    np.testing.assert_allclose(full, half, atol=4e-3)


# --- what crosses to the browser -----------------------------------------------------------------


def test_a_block_unpacks_to_what_was_packed() -> None:
    arrays = {
        "a": np.arange(5, dtype=np.uint8),
        "b": np.array([[np.nan, -0.0], [1e-30, np.inf]], dtype=np.float32),
        "c": np.arange(6, dtype=np.uint32).reshape(2, 3)[:, ::2],
        "d": np.zeros((0, 3), dtype=np.float32),
    }
    block = wire.pack({"text": "“<b>” \u2028 \0"}, arrays)
    header, found = unpacked(block)
    assert header["text"] == "“<b>” \u2028 \0"
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert header["arrays"][name]["at"] % 8 == 0
    assert (4 + int.from_bytes(block[:4], "little")) % 8 == 0


def test_a_block_is_named_by_all_that_it_holds() -> None:
    def name(text: str, number: int) -> str:
        return unpacked(wire.pack({"text": text}, {"a": np.array([number], np.uint8)}))[0]["id"]

    assert name("x", 1) == name("x", 1)
    assert len({name("x", 1), name("y", 1), name("x", 2)}) == 3


def test_a_block_takes_no_other_dtype() -> None:
    with pytest.raises(ValueError, match=r"array 'a' has dtype float64; allowed: uint8"):
        wire.pack({}, {"a": np.zeros(2)})


LABELS = [TokenLabel("a", "'a'"), TokenLabel("b", "'b'")]
ATTENTION: dict[str, Any] = {
    "scores": np.zeros((2, 3), np.float32),
    "score_name": "induction",
    "score_limits": (0.0, 1.0),
    "thumbnails": np.zeros((2, 3, 2, 2), np.uint8),
    "tokens": LABELS,
    "pattern": np.zeros((2, 2), np.float32),
    "head": (0, 0),
    "title": "",
    "key": "any",
}
LENS: dict[str, Any] = {
    "tokens": LABELS,
    "layers": ["embed", "L0"],
    "top_ids": np.zeros((2, 2, 1), np.int64),
    "top_probs": np.zeros((2, 2, 1), np.float32),
    "names": {0: "a"},
    "value": np.zeros((2, 2), np.float32),
    "value_name": "probability",
    "value_limits": (0.0, 1.0),
    "cell": (0, 0),
    "key": "any",
}


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"scores": np.zeros(3)}, r"scores of shape \(3,\) should be \[layer, head\]"),
        ({"pattern": np.zeros((2, 3))}, r"pattern of shape \(2, 3\).*for 2 tokens"),
        ({"thumbnails": np.zeros((2, 3, 9, 9), np.uint8)}, "side from 1 to the 2 tokens"),
        ({"thumbnails": np.zeros((2, 3, 2, 2))}, "dtype float64 should be uint8"),
        ({"head": (2, 0)}, r"head \(2, 0\) is outside the 2 layers x 3 heads"),
        ({"score_limits": (1.0, 1.0)}, "two finite numbers, low < high"),
        ({"limit": float("nan")}, "should be a finite number above 0"),
    ],
)
def test_arrays_that_do_not_fit_are_refused_by_the_grid(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        attention.attention_canvas(**{**ATTENTION, **wrong})


CURVE = lens.RankCurve("a", [1, 2], [0.5, 0.5])


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"layers": []}, "a table of 0 layers and 2 tokens has nothing to draw"),
        ({"top_ids": np.zeros((2, 2, 1))}, "dtype float64 should be integers"),
        ({"top_ids": np.zeros((2, 3, 1), int)}, r"should be \[2, 2, k\]"),
        ({"top_probs": np.zeros((2, 2, 2))}, r"should have top_ids' \(2, 2, 1\)"),
        ({"value": np.zeros((2, 3))}, r"value of shape \(2, 3\)"),
        ({"cell": (0, 2)}, r"cell \(0, 2\) is outside 2 layers x 2 tokens"),
        ({"names": {}}, "names lacks 1 of the token ids in top_ids, such as 0"),
        ({"value_limits": (0.0, np.inf)}, "two finite numbers, low < high"),
        ({"curve": lens.RankCurve("a", [1], [0.5])}, "one value for each of the 2 layers"),
        ({"curve": lens.RankCurve("a", [0, 1], [0.5, 0.5])}, "ranks start at 1"),
    ],
)
def test_arrays_that_do_not_fit_are_refused_by_the_table(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        lens.lens_canvas(**{**LENS, "curve": CURVE, **wrong})


@pytest.mark.parametrize("value", [None, "L1H2", [1], [1, 2, 3], [1.5, 2], [-1, 0], [2, 0], [0, 3]])
def test_the_browser_cannot_name_what_does_not_exist(value: object) -> None:
    assert attention._head(value, (2, 3)) is None
    assert lens._cell(value, (2, 3)) is None
    assert attention._head([1, 2], (2, 3)) == lens._cell([1, 2], (2, 3)) == (1, 2)


def test_the_sidebar_groups_the_pages_and_keeps_those_of_other_plugins(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Streamlit takes pages as objects; their grouping is a matter of names alone."""
    known = {name: name for name in [*listed("pages"), "Somebody's own"]}
    grouped = sections(known)
    assert grouped[""] == ["Home", "Compare", "Runs"] and grouped["More"] == ["Somebody's own"]
    assert sorted(name for names in grouped.values() for name in names) == sorted(known)
    assert url_path("Double descent") == "double-descent"
