"""`workbench ablate` and `workbench steer`: what they print and keep, and mistakes in a line."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from rich.console import Console
from torch import Tensor

from sae.dictionary import SAE, made_in
from sae.saved import save_sae
from workbench.__main__ import main
from workbench.commands import output
from workbench.corpus import open_corpus
from workbench.directions import Direction, between, from_tensor, load_direction
from workbench.errors import InputError
from workbench.generation import generate
from workbench.home import home
from workbench.hooks import run
from workbench.interventions import add, mean
from workbench.metrics import kl_divergence
from workbench.models import Model
from workbench.runs import kept
from workbench.sites import Site
from workbench.steering import compare_steered

MODEL = ("--model", "induction-by-hand", "--device", "cpu")
PROMPT = "q a b c d a"
TEXTS = ("--from", "a b", "--against", "c d", "--site", "0.resid_post")


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test its own home, and a wide screen."""
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(output, "console", Console(width=300))


@pytest.fixture
def workbench(command: Callable[..., str]) -> Callable[..., str]:
    """Run a command on the model by hand; gives its output."""
    return lambda *arguments: command(*arguments, *MODEL)


@pytest.fixture
def letters(tmp_path: Path) -> Path:
    path = tmp_path / "letters.txt"
    path.write_text(" ".join("abcdefgh" * 40))
    return path


# Ablate


def mean_kl(plain: Tensor, steered: Tensor) -> float:
    return float(kl_divergence(plain.log_softmax(-1), steered.log_softmax(-1)).mean())


def test_without_the_induction_head(workbench) -> None:
    pair = ("--answer", "b", "--wrong", "c")
    found = workbench("ablate", PROMPT, "--site", "L1H2.z", *pair, "--top", 3)
    assert "next token without L1H2.z (zero): induction-by-hand, raw" in found
    assert re.search(r"0 +│ b +│ 10.00 \(0.999\) +│ \S+ +│ 0.00 \(0.037\)", found)
    assert "logit difference +10.000 before, +0.000 after" in found
    assert "nats at the last position" in found and "nothing moved" not in found
    ((_, record),) = kept()
    assert record.kind == "ablate" and record.arguments["site"] == ["L1H2.z"]


def test_ablation_as_json(workbench, by_hand: Model) -> None:
    pair = ("--answer", "b", "--wrong", "c")
    command = ("ablate", PROMPT, "--site", "L1H2.z", "--site", "L0H3.z", "--positions=-1")
    found = json.loads(workbench(*command, *pair, "--json"))
    assert found["fingerprint"] == by_hand.identity.fingerprint
    assert found["tokens"] == ["<bos>", *PROMPT.split()]
    assert found["top"]["before"][0]["token"] == "b"
    assert found["top"]["after"][0]["logit"] == 0 and len(found["top"]["after"]) == 10
    assert found["logit_difference"] == {"before": pytest.approx(10, rel=1e-3), "after": 0}
    assert set(found["moved"]) == {"L1H2.z", "L0H3.z"}
    assert found["kl"]["mean"] == pytest.approx(found["kl"]["last"] / 7, rel=1e-3)


def test_an_ablation_that_moves_nothing_says_so(workbench) -> None:
    found = workbench("ablate", PROMPT, "--site", "L0H0.z", "--site", "L1H2.z")
    (line,) = [line for line in found.splitlines() if "nothing moved" in line]
    assert line == "nothing moved at L0H0.z: what was put in was there already"


def test_the_mean_stands_on_the_reference(workbench, by_hand, letters) -> None:
    command = ("ablate", PROMPT, "--site", "L1H2.z", "--how", "mean", "--reference", letters)
    found = json.loads(workbench(*command, "--n-ctx", 24, "--contexts", 5, "--json"))
    corpus = open_corpus(str(letters), by_hand, n_ctx=24).part(0, 5)
    taken = mean(by_hand, "L1H2.z", corpus)
    assert found["how"] == f"mean of {taken.rows} positions, {taken.reference}"
    assert taken.rows == 5 * 23
    tokens = by_hand.tokenize(PROMPT)
    logits = run(by_hand, tokens.tensor(), edit=taken.edits).logits
    assert logits is not None
    assert found["top"]["after"][0]["logit"] == pytest.approx(float(logits[0, -1].max()), rel=1e-5)


def test_a_donor_of_all_sites_gives_its_own_predictions(workbench) -> None:
    donor = "q a x c d a"
    command = ("ablate", PROMPT, "--site", "1.resid_post", "--how", "resample", "--donor", donor)
    found = json.loads(workbench(*command, "--json"))
    assert found["how"] == f"resampled from {donor!r}"
    assert found["top"]["after"][0]["token"] == "x"


# Steer


def test_steering_from_texts(workbench, by_hand: Model, tmp_path: Path) -> None:
    file = tmp_path / "direction"
    drawn = (
        "--strength=-3,0,3",
        "--unit",
        "absolute",
        "--temperature",
        2,
        "--seed",
        5,
        "--max-new-tokens",
        6,
    )
    found = json.loads(workbench("steer", PROMPT, *TEXTS, *drawn, "--save", file, "--json"))
    direction = between(by_hand, "a b", "c d", "0.resid_post")
    assert torch.equal(load_direction(file, by_hand).unit, direction.unit)
    assert found["direction"]["made"] == "mean of 'a b' minus mean of 'c d', at position -1"
    assert found["unit"] == {"name": "absolute", "length": 1.0}
    for row, strength in zip(found["rows"], (-3.0, 0.0, 3.0), strict=True):
        edits = [add(direction, strength)] if strength else []
        (text,) = generate(by_hand, PROMPT, max_new_tokens=6, temperature=2.0, seed=5, edits=edits)
        assert (row["strength"], row["ids"]) == (strength, list(text.ids))
        assert (row["kl"] == 0) == (strength == 0) == (row["moved"] == 0)
    again = json.loads(workbench("steer", PROMPT, "--direction", file, *drawn, "--json"))
    assert again["rows"] == found["rows"]
    ((_, record), *_) = kept()
    assert record.kind == "steer" and len(record.tokens) == 3


def test_the_units_of_strength(workbench, by_hand: Model) -> None:
    command = ("steer", PROMPT, *TEXTS, "--max-new-tokens", 1, "--json", "--strength", "2")
    found = {u: json.loads(workbench(*command, "--unit", u)) for u in ("absolute", "norm", "made")}
    direction = between(by_hand, "a b", "c d", "0.resid_post")
    resid = run(by_hand, by_hand.tokenize(PROMPT).tensor(), read="0.resid_post")["0.resid_post"]
    norm = float(resid[0, 1:].norm(dim=-1).mean())
    for unit, length in (("absolute", 1.0), ("norm", norm), ("made", direction.norm)):
        assert found[unit]["unit"]["length"] == pytest.approx(length, rel=1e-5)
        moved = found[unit]["rows"][0]["moved"]
        assert moved == pytest.approx(2 * length * 7**0.5, rel=1e-5), "seven positions"
        assert found[unit]["mean_norm_of_the_prompt"] == pytest.approx(norm, rel=1e-5)


def test_the_table_and_what_is_said(workbench) -> None:
    settings = ("--strength", "0,1e-30", "--max-new-tokens", 3, "--at", "all")
    found = workbench("steer", PROMPT, *TEXTS, *settings)
    assert found.startswith("induction-by-hand, raw: 'a b' - 'c d' at 0.resid_post, made")
    assert "mean of 'a b' minus mean of 'c d', at all positions" in found
    assert re.search(r"0 +│ 0.0000 +│ +b c d", found)
    assert "KL(plain || steered) on the prompt; the activations there have mean norm 1.73" in found
    assert "strength 1e-30 moved nothing" in found


@pytest.fixture
def kept_sae(by_hand: Model) -> SAE:
    """In the home, under the name `mine`."""
    d = by_hand.architecture.d_model
    rows = torch.nn.functional.normalize(
        torch.randn(6, d, generator=torch.Generator().manual_seed(0)), dim=1
    )
    zero = torch.zeros(d)
    site, whose = Site.parse("0.resid_post"), made_in(by_hand)
    sae = SAE(site, "topk", rows, torch.zeros(6), rows, zero, zero, 2, None, whose)
    (home() / "saes").mkdir(parents=True)
    save_sae(sae, home() / "saes" / "mine")
    return sae


@pytest.mark.parametrize("form", ["mine", "folder"])
def test_a_latent_by_its_name(workbench, by_hand: Model, kept_sae: SAE, form: str) -> None:
    name = form if form == "mine" else home() / "saes" / "mine"
    command = ("steer", PROMPT, "--direction", f"sae:{name}/4", "--strength=0,3")
    found = json.loads(workbench(*command, "--max-new-tokens", 4, "--json"))
    assert found["direction"]["site"] == "0.resid_post"
    assert found["direction"]["norm"] == pytest.approx(1)
    assert found["unit"] == {"name": "made", "length": pytest.approx(1)}
    direction = from_tensor(kept_sae.W_dec[4], "0.resid_post", name="", made="", model=by_hand)
    (_, row) = compare_steered(by_hand, PROMPT, direction, [0.0, 3.0], max_new_tokens=4)
    assert found["rows"][1]["ids"] == list(row.generation.ids)
    assert found["rows"][1]["kl"] == pytest.approx(row.kl, rel=1e-5) and row.kl > 0
    assert "(decoder row of latent 4 of a topk SAE" in workbench(*command)


def test_a_latents_strength_is_told_in_its_largest_activation(
    workbench, by_hand: Model, kept_sae: SAE, monkeypatch: pytest.MonkeyPatch
) -> None:
    atlas = SimpleNamespace(largest=torch.tensor([0.0, 0.0, 0.0, 0.0, 7.5, 0.0]))
    monkeypatch.setattr("sae.directions.atlas_of", lambda _: atlas)
    command = ("steer", PROMPT, "--max-new-tokens", 2, "--json", "--strength=2", "--direction")
    found = json.loads(workbench(*command, "sae:mine/4"))
    assert found["direction"]["norm"] == pytest.approx(7.5) == found["unit"]["length"]
    assert found["rows"][0]["moved"] == pytest.approx(15 * 7**0.5, rel=1e-5)
    assert found["direction"]["made"].endswith("topk SAE, times its largest activation")
    dead = json.loads(workbench(*command, "sae:mine/3"))
    assert dead["unit"]["length"] == pytest.approx(1)


def test_a_latent_of_another_model_is_refused(kept_sae: SAE, tmp_path: Path, capsys) -> None:
    whose = {**(kept_sae.model or {}), "weights": "0", "rounded": "0"}
    save_sae(replace(kept_sae, model=whose), tmp_path / "other")
    for name, told in (
        (f"{tmp_path}/other/4", "of another model .*: field weights"),
        ("mine/6", "there is no latent 6; this dictionary has 0 to 5"),
    ):
        assert main(["steer", "a b", "--direction", f"sae:{name}", *MODEL]) == 2
        assert re.search(told, capsys.readouterr().err)


def test_comparisons_side_by_side(tiny, family: str) -> None:
    model = tiny(family)
    direction = between(model, ["the cat", "tin"], "hot", "1.resid_post")
    drawn = {"max_new_tokens": 5, "temperature": 1.0, "seed": 2}
    rows = compare_steered(model, "an inn", direction, [0.0, 4.0], **drawn)
    assert rows[0].generation == generate(model, "an inn", **drawn)[0]
    assert (rows[0].kl, rows[0].moved) == (0.0, 0.0)
    tokens = model.tokenize("an inn")
    plain, steered = (
        run(model, tokens.tensor(), edit=edit).logits for edit in ((), add(direction, 4.0))
    )
    assert plain is not None and steered is not None
    assert rows[1].kl == pytest.approx(mean_kl(plain, steered), rel=1e-5)
    assert rows[1].moved == pytest.approx(4 * len(tokens) ** 0.5, rel=1e-5)
    # On a text of its own, and for new tokens alone: all positions steered.
    (other,) = compare_steered(model, "an inn", direction, [4.0], reference="the", positions=[0])
    text = model.tokenize("the").tensor()
    plain, steered = (run(model, text, edit=edit).logits for edit in ((), add(direction, 4.0)))
    assert plain is not None and steered is not None
    assert other.kl == pytest.approx(mean_kl(plain, steered), rel=1e-5)
    (new,) = compare_steered(model, "an inn", direction, [4.0], positions="new", **drawn)
    assert new.kl == pytest.approx(rows[1].kl)
    edits = [add(direction, 4.0, "new")]
    assert new.generation == generate(model, "an inn", edits=edits, **drawn)[0]


def test_comparisons_that_are_refused(tiny) -> None:
    model = tiny("gpt2")
    foreign: Direction = between(tiny("neox"), "the", "hot", "1.resid_post")
    wide = from_tensor(torch.ones(25), "1.resid_post", name="n", made="by hand", model=None)
    direction = between(model, "the", "hot", "1.resid_post")
    for chosen, strengths, told in (
        (direction, [], "no strength is given"),
        (direction, [0.0, float("nan")], "strength nan"),
        (foreign, [1.0], "is of another model"),
        (wide, [1.0], "is 25 wide; at 1.resid_post this model"),
    ):
        with pytest.raises(InputError, match=told):
            compare_steered(model, "the cat", chosen, strengths)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["ablate", "a b", "--site", "L1H9.z"], "heads run from 0 to 3"),
        (["ablate", "a b", "--site", "*.mlp_post"], r"'\*.mlp_post' matches no site"),
        (
            ["ablate", "a b", "--site", "0.z", "--positions", "3"],
            "position 3 .* prompt of 3 tokens",
        ),
        (["ablate", "a b", "--site", "0.z", "--positions", "a"], "--positions 'a' should be whole"),
        (["ablate", "a b", "--site", "0.z", "--how", "mean"], "--how mean needs --reference"),
        (["ablate", "a b", "--site", "0.z", "--how", "resample"], "resample needs --donor"),
        (["ablate", "a b", "--site", "0.z", "--donor", "a"], "--donor needs --how resample"),
        (["ablate", "a b", "--site", "0.z", "--answer", "a"], "--answer and --wrong go together"),
        (["ablate", "a", "--site", "0.z", "--top", "0"], "--contexts and --top are 1 or more"),
        (
            ["ablate", "a b", "--site", "0.z", "--how", "resample", "--donor", "a b c"],
            "the donor has 4 tokens, the prompt 3; give one of as many",
        ),
        (["ablate", "a b", "--site", "0.z", "--answer", "a b", "--wrong", "c"], "not a single"),
        (["steer", "a b"], "give --from, --against and --site, or a --direction: a FILE or sae:N"),
        (["steer", "a b", "--direction", "sea:x/3"], "'sea' is not among .* did you mean sae"),
        (["steer", "a b", "--direction", "sae:x"], "sae:x should read sae:NAME/123"),
        (["steer", "a b", "--direction", "sae:x/y"], "sae:x/y should read sae:NAME/123"),
        (["steer", "a b", "--direction", "sae:gone/3"], "there is no SAE .*gone"),
        (
            ["steer", "a b", "--direction", "sae:smollm2-135m-12-topk/3"],
            "12.resid_post is out of range: layers run from 0 to 1",
        ),
        (["steer", "a b", "--direction", "d", "--site", "0.z"], "has its own site and texts"),
        (["steer", "a b", "--direction", "gone"], "there is no direction at gone"),
        (["steer", "a b", *TEXTS, "--strength", "much"], "--strength 'much' should be numbers"),
        (["steer", "a b", *TEXTS, "--strength", "nan"], "strength nan .* is not a finite number"),
        (["steer", "a b", *TEXTS, "--at", "end"], "--at 'end' should be a position, such as -1"),
        (["steer", "a b", *TEXTS, "--at", "7"], "position 7 is outside a prompt of 3 tokens"),
        (["steer", "a b", *TEXTS, "--positions", "9"], "position 9 .* outside the prompt of 3"),
        (["steer", "a b", *TEXTS, "--save", "/nowhere/d"], "cannot write /nowhere/d"),
        (["steer", "a b", *TEXTS[:-1], "*.resid_post"], "a direction lies at one site"),
        (["steer", "a b", *TEXTS, "--temperature", "-1"], "temperature -1.0 must be"),
    ],
)
def test_mistakes_in_one_line(arguments, told, capsys) -> None:
    assert main([*arguments, *MODEL]) == 2
    streams = capsys.readouterr()
    (line,) = [line for line in streams.err.splitlines() if line.startswith("workbench:")]
    assert re.search(told, line)
    assert not streams.out and not kept()
