"""The SAE page, without a browser: latents found, a prompt read, a latent ablated and steered."""

import csv
import html
import io
import json
import re
import runpy
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from streamlit.testing.v1 import AppTest

from dashboards import exports, sae_edits, sae_view
from dashboards.exports import Export
from dashboards.sae_box import latent_of
from dashboards.sae_view import Find, around, found
from dashboards.shading import shaded
from sae.activity import Activity
from sae.atlas import ATLAS, Atlas, load_atlas, make_atlas, save_atlas
from sae.dictionary import SAE, made_in
from sae.editing import clamp, random_row, steer
from sae.rules import explain, text_of
from sae.saved import save_sae
from tests.pages import BY_HAND, charts, forget, numbers, opened
from workbench import runs
from workbench.corpus import Corpus, from_ids
from workbench.errors import InputError
from workbench.generation import generate
from workbench.hooks import run
from workbench.interventions import changed
from workbench.models import Model
from workbench.sites import Site

SITE = Site.parse("0.resid_post")
LETTERS, DEAD = 8, 8  # a latent for each of the first letters; the last one says nothing
PROMPT = "a b c a b q"
EDITED = {"by": "a prompt", "prompt": PROMPT, "edit": "true", "new": "4", "latent": "1"}


@pytest.fixture(scope="module")
def sae(by_hand: Model) -> SAE:
    """Each latent is active at one letter, the more the later it stands."""
    d = by_hand.architecture.d_model
    W_dec = torch.zeros(LETTERS + 1, d)
    W_dec[range(LETTERS), range(1, LETTERS + 1)] = 1.0  # the model's own: a letter, an axis
    W_dec[DEAD, 0] = 1.0
    W_enc = W_dec.clone()
    W_enc[:LETTERS, 81:] = torch.linspace(0, 0.2, d - 81)  # positions' axes
    threshold = torch.full((LETTERS + 1,), 0.5)
    threshold[DEAD] = 1e6
    zero, whose = torch.zeros(d), made_in(by_hand)
    bias = torch.zeros(LETTERS + 1)
    return SAE(SITE, "jumprelu", W_enc, bias, W_dec, zero, zero, None, threshold, whose)


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    ids = np.random.default_rng(0).integers(1, 17, (60, 12))
    documents = np.repeat(np.arange(60)[:, None], 12, axis=1)
    ids[:, 0], documents[:, 0] = 0, -1
    return from_ids("letters", ids, documents=documents, bos_id=0)


@pytest.fixture(scope="module")
def atlas(sae: SAE, corpus: Corpus, by_hand: Model) -> Atlas:
    rows = run(by_hand, torch.from_numpy(corpus.ids.astype(np.int64)), read=SITE)[SITE]
    acts = sae.encode(rows)
    acts[:, 0] = 0
    latents, places = acts.flatten(0, 1).T.nonzero(as_tuple=True)
    counts = torch.bincount(latents, minlength=sae.n_latents)
    said = Activity(
        offsets=torch.cat([counts.new_zeros(1), counts.cumsum(0)]),
        places=places.int(),
        values=acts.flatten(0, 1)[places, latents].half(),
        corpus=corpus.digest,
        n_rows=60 * 11,
        n_ctx=12,
    )
    text = corpus.documents >= 0
    aside = text & (np.arange(60) % 4 == 0)[:, None]
    return make_atlas(
        sae, said, corpus, by_hand, explain(said, text_of(corpus, text & ~aside, aside))
    )


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path / "home"))
    (tmp_path / "home" / "saes").mkdir(parents=True)
    forget()
    yield tmp_path
    forget()


@pytest.fixture
def bare(sae: SAE, own_home: Path) -> Path:
    """In the home, without an atlas."""
    folder = own_home / "home" / "saes" / "letters"
    save_sae(sae, folder)
    return folder


@pytest.fixture
def whole(bare: Path, atlas: Atlas) -> Path:
    save_atlas(atlas, bare / ATLAS)
    return bare


def told(at: AppTest) -> list[str]:
    return [element.value for element in (*at.error, *at.warning)]


def plain(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)


def words(at: AppTest) -> str:
    return plain("\n".join(e.value for e in (*at.markdown, *at.caption, *at.info)))


def bodies(at: AppTest) -> str:
    return "\n".join(element.proto.body for element in at.get("html"))


def exported(monkeypatch: pytest.MonkeyPatch, **address: str) -> Export:
    offers: list[Export] = []
    with monkeypatch.context() as patch:
        patch.setattr(exports, "offer", offers.append)
        opened("SAE", **address)
    return offers[-1]


def rows_of(export: Export, name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(export.csv(name))))


# --- the table -----------------------------------------------------------------------------------


def test_the_table_lists_every_latent(whole: Path, atlas: Atlas) -> None:
    at = opened("SAE", order="latent")
    table = at.dataframe[0].value
    assert table["latent"].tolist() == list(range(9))
    np.testing.assert_allclose(table["density"], 100 * atlas.density.numpy(), rtol=1e-6)
    assert [list(bars) for bars in table["activations"]] == atlas.histogram.tolist()
    assert table["rule"].tolist()[1] == "token: 'b'" and table["F1"].tolist()[1] == 1
    assert "1 of 9 latents dead, 0 dense, on 660 rows; median F1 of the rules 1.00" in words(at)
    assert at.selectbox(key="sae").value == "letters" and not told(at)


@pytest.mark.parametrize(
    ("find", "expected"),
    [
        (Find("", "dead", "any", "latent"), [8]),
        (Find("", "alive", "any", "latent"), list(range(8))),
        (Find("", "any", "0.8 or more", "latent"), list(range(8))),
        (Find("'C'", "any", "any", "latent"), [2]),
        (Find("nothing is like this", "any", "any", "F1"), []),
        (Find("", "dense, over 10 %", "any", "F1"), []),
    ],
)
def test_latents_are_found(atlas: Atlas, find: Find, expected: list[int]) -> None:
    # letters stand in examples and promoted tokens, too
    words = replace(find, words=f"token: {find.words.lower()}") if "'" in find.words else find
    assert found(atlas, words) == expected


@pytest.mark.parametrize("order", sae_view.ORDERS)
def test_orders(atlas: Atlas, order: str) -> None:
    latents = found(atlas, Find("", "any", "any", order))
    assert sorted(latents) == list(range(9))
    density = atlas.density[latents]
    if order in ("density", "rarest"):
        steps = density.diff() if order == "rarest" else -density.diff()
        assert bool((steps >= 0).all())
    if order == "F1":
        assert latents[-1] == DEAD


def test_the_table_is_capped_on_the_server(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dashboards.sae_box.CAP", 3)
    at = opened("SAE", density="alive")
    assert len(at.dataframe[0].value) == 3
    assert "8 of 9 latents, the first 3 shown" in words(at)


def test_nothing_found_is_said(whole: Path) -> None:
    at = opened("SAE", density="1 to 10 %", f1="0.8 or more", find="zzz")
    assert "No latent is like this" in at.info[0].value and not told(at)


def test_densities_are_drawn_when_the_box_is_opened(whole: Path) -> None:
    at = opened("SAE", latent="8")
    assert not charts(at), "a dead latent has no histogram"
    at.session_state["densities"] = True
    (chart,) = charts(at.run())
    assert chart["layout"]["title"]["text"] == "Density: 9 latents, 1 dead, 0 dense"


# --- one latent ----------------------------------------------------------------------------------


def test_the_page_of_a_latent(whole: Path, atlas: Atlas) -> None:
    at = opened("SAE", latent="2")
    page = load_atlas(whole / ATLAS).feature(2)
    assert "token: 'c'" in words(at) and "F1 1.00 on held-out text" in words(at)
    assert f"largest activation {page.largest:.2f}" in words(at)
    activations, positions = charts(at)
    assert numbers(activations["data"][0]["y"]).tolist() == page.histogram.tolist()
    assert numbers(positions["data"][0]["y"]).tolist() == page.positions.tolist()
    shown = bodies(at)
    assert shown.count("text-decoration:underline") == len(page.top) + sum(map(len, page.bands))
    assert re.search(r"title='&#x27;c&#x27;: [\d.]+'>c</span>", shown)
    buttons = [b.label for b in at.button if re.match(r"\d+ \(", b.label)]
    assert buttons == [f"{i} ({cosine:.2f})" for i, cosine in page.neighbours]


def test_a_neighbour_is_one_click_away(whole: Path, atlas: Atlas) -> None:
    at = opened("SAE", latent="2")
    near = atlas.feature(2).neighbours[0][0]
    (button,) = [b for b in at.button if b.label.startswith(f"{near} (")]
    button.click().run()
    assert at.number_input(key="latent").value == near
    assert at.query_params["latent"] == str(near)


def test_a_typed_latent_is_in_the_address(whole: Path) -> None:
    at = opened("SAE", order="latent")
    assert at.number_input(key="latent").value == 0 and "latent" not in at.query_params
    at.number_input(key="latent").set_value(5).run()
    assert at.query_params["latent"] == "5" and "token: 'f'" in words(at)


def test_a_dead_latent_has_a_page(whole: Path) -> None:
    at = opened("SAE", latent=str(DEAD))
    assert "This latent is dead" in at.info[0].value and "No rule" in words(at)


def test_tokens_are_text() -> None:
    made = shaded(["<b>", "'\"", "\n"], [1.0, 0.0, 0.5], 1.0, 0)
    assert "<b>" not in made and "&lt;b&gt;" in made and "↵" in made
    assert "title='&#x27;&lt;b&gt;&#x27;: 1'" in made and made.count("rgba") == 2
    assert made.count("underline;") == 1


def test_an_example_begins_shortly_before_its_token() -> None:
    assert around("far " * 20 + "»here« after", 8) == "…far far »here« after"
    assert around("»here« after") == "»here« after" and around("") == ""


def test_latents_in_an_address() -> None:
    assert latent_of(None, 8, 3) == 3 and latent_of("8", 8, 3) == 8
    for text in ("9", "-1", "x", "1.0", "9" * 5000):
        with pytest.raises(InputError, match="there are 0 to 8"):
            latent_of(text, 8, 3)


# --- a prompt ------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", ["bare", "whole"])
def test_a_prompt_is_read(
    folder: str, by_hand: Model, sae: SAE, request: pytest.FixtureRequest
) -> None:
    request.getfixturevalue(folder)
    at = opened("SAE", by="a prompt", prompt=PROMPT, latent="1")
    tokens = by_hand.tokenize(PROMPT)
    acts = sae.encode(run(by_hand, tokens.tensor(), read=SITE)[SITE][0, 1:])
    table = at.dataframe[0].value
    assert set(table["latent"]) == {0, 1, 2}
    expected = acts.max(0).values[table["latent"].tolist()]
    np.testing.assert_allclose(table["activation"], expected, rtol=1e-5)
    assert "7 tokens; ⊘ marks 1 that is not read" in words(at)
    assert f"Latent 1 in the prompt**, at most {float(acts[:, 1].max()):.2f}" in words(at)
    at.button_group(key="token").set_value("3").run()
    assert at.dataframe[0].value["latent"].tolist() == [2]
    at.button_group(key="token").set_value("0").run()
    assert "Not read: BOS" in words(at) and not told(at)
    again = opened("SAE", by="a prompt", prompt=PROMPT, token="3")
    assert again.dataframe[0].value["latent"].tolist() == [2]
    assert again.button_group(key="token").value == "3"


def test_without_an_atlas_the_command_is_told(bare: Path) -> None:
    at = opened("SAE")
    assert f"`workbench sae features letters --model {BY_HAND}`" in at.info[0].value
    assert not at.dataframe and not charts(at) and not told(at)


def test_a_prompt_is_read_once(whole: Path) -> None:
    address = {"by": "a prompt", "prompt": PROMPT}
    opened("SAE", **address)
    opened("SAE", **address, token="2")
    ((_, record),) = runs.kept()
    assert record.kind == "sae features" and record.arguments == {"sae": "letters"}


def test_an_atlas_made_meanwhile_is_seen(bare: Path, atlas: Atlas) -> None:
    assert not opened("SAE").dataframe
    save_atlas(atlas, bare / ATLAS)
    assert len(opened("SAE").dataframe[0].value) == 9


# --- ablate and steer ----------------------------------------------------------------------------


@pytest.mark.parametrize("how", sae_edits.HOW)
def test_a_latent_is_edited(how: str, whole: Path, sae: SAE, atlas: Atlas, by_hand: Model) -> None:
    at = opened("SAE", **EDITED, how=how, strength="4")
    length = 4 * float(atlas.largest[1])

    def edit(sae: SAE):
        if how == sae_edits.ADD:
            return steer(sae, 1, length)
        return clamp(sae, 1, 0.0 if how == sae_edits.ABLATE else length)

    tokens = by_hand.tokenize(PROMPT)
    change, control = (
        changed(by_hand, tokens.tensor(), edit(one)) for one in (sae, random_row(sae, 1))
    )
    said = words(at)
    assert (
        f"is {float(change.kl[0, -1]):.4f} nats after the last token, {change.mean_kl:.4f}" in said
    )
    assert f"random direction: {float(control.kl[0, -1]):.4f} and {control.mean_kl:.4f}" in said
    assert change.mean_kl > 0
    texts = re.findall(r"</span>([^<]*)</div>", bodies(at))
    expected = [
        generate(by_hand, tokens, max_new_tokens=4, edits=edits)[0].text
        for edits in ([], [edit(sae)])
    ]
    assert [html.unescape(text) for text in texts[-2:]] == expected
    kinds = sorted(record.kind for _, record in runs.kept())
    assert kinds == ["sae edit", "sae features"]


def test_what_says_nothing_is_ablated_without_a_change(whole: Path) -> None:
    at = opened("SAE", **{**EDITED, "latent": str(DEAD)})
    assert "is 0.0000 nats after the last token, 0.0000 on average" in words(at)
    assert "the edit moved nothing: the latent says nothing here" in words(at)


def test_nothing_is_written_before_the_box_is_opened(
    whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workbench.generation.generate", lambda *_: pytest.fail("too early"))
    assert not told(opened("SAE", **{**EDITED, "edit": "false"}))


def test_below_zero_nothing_can_be_set(whole: Path) -> None:
    at = opened("SAE", **EDITED, how="set to", strength="-2")
    assert at.error[0].value.startswith("A latent cannot say less than 0")


# --- which dictionary ----------------------------------------------------------------------------


def test_without_a_dictionary_it_is_said_how_one_is_made(own_home: Path) -> None:
    at = opened("SAE")
    assert "`workbench sae train` makes one" in at.info[0].value and not told(at)


def test_a_dictionary_of_another_model_is_refused(
    whole: Path, sae: SAE, own_home: Path, tiny_folder: Callable[[str], Path]
) -> None:
    other = str(tiny_folder("gpt2"))
    assert "No dictionary of this model" in opened("SAE", model=other).info[0].value
    weights = replace(sae, model={**(sae.model or {}), "weights": "0", "rounded": "0"})
    save_sae(weights, own_home / "home" / "saes" / "other")
    at = opened("SAE", sae="other")
    assert "of another model" in at.error[0].value and not at.dataframe


@pytest.mark.parametrize("name", ["gone", "gpt2-small-res-jb/blocks.5.hook_resid_pre"])
def test_an_address_alone_fetches_nothing(
    name: str, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sae.releases.fetch", lambda _: pytest.fail("fetched"))
    at = opened("SAE", sae=name)
    assert f"There is no SAE '{name}'; give one in the list" in at.error[0].value


def test_a_folder_can_be_typed(whole: Path, own_home: Path, sae: SAE) -> None:
    save_sae(sae, own_home / "mine")
    at = opened("SAE", sae=str(own_home / "mine"))
    assert "mine" in at.caption[0].value and not told(at)


def test_a_damaged_dictionary_is_one_sentence(whole: Path) -> None:
    (whole / "sae_weights.safetensors").write_bytes(b"rubbish")
    at = opened("SAE")
    assert "sae_weights.safetensors" in at.error[0].value and len(told(at)) == 1


@pytest.mark.parametrize(
    ("address", "notice"),
    [
        ({"by": "chance"}, "asks for by “chance”"),
        ({"density": "heavy"}, "asks for density “heavy”"),
        ({"f1": "2"}, "asks for f1 “2”"),
        ({"order": "size"}, "asks for order “size”"),
        ({"latent": "9"}, "asks for latent '9'; there are 0 to 8"),
        ({"latent": "inf"}, "asks for latent 'inf'"),
        ({**EDITED, "how": "burn"}, "asks for how “burn”"),
        ({**EDITED, "strength": "3.14"}, "asks for strength “3.14”"),
        ({**EDITED, "temperature": "9"}, "asks for temperature “9”"),
        ({**EDITED, "new": "0"}, "new “0”"),
        ({**EDITED, "token": "99"}, "asks for token “99”"),
        ({"edit": "wide"}, "asks for edit “wide”"),
    ],
)
def test_a_bad_address_is_a_notice(address: dict[str, str], notice: str, whole: Path) -> None:
    at = opened("SAE", **address)
    assert len(told(at)) == 1 and notice in plain(at.warning[0].value)


# --- files ---------------------------------------------------------------------------------------


def test_the_files_hold_what_is_shown(
    whole: Path, atlas: Atlas, by_hand: Model, sae: SAE, monkeypatch: pytest.MonkeyPatch
) -> None:
    export = exported(monkeypatch, **EDITED)
    tokens = by_hand.tokenize(PROMPT)
    acts = sae.encode(run(by_hand, tokens.tensor(), read=SITE)[SITE][0, 1:])
    cells = {
        (int(r["position"]), int(r["latent"])): float(r["activation"])
        for r in rows_of(export, "prompt")
    }
    expected = {(p + 1, int(i)): float(acts[p, i]) for p, i in acts.nonzero().tolist()}
    assert cells == pytest.approx(expected, rel=1e-5)
    assert [r["which"] for r in rows_of(export, "texts")] == ["plain", "edited"]
    listed = rows_of(export, "latents")
    assert [int(r["latent"]) for r in listed] == [0, 1, 2] or len(listed) == 3
    assert len(rows_of(export, "logits")) == 20
    assert float(rows_of(export, "examples")[0]["activation"]) == pytest.approx(
        float(atlas.largest[1]), rel=1e-2
    )
    page = export.html()
    for part in ("Density: 9 latents", "Strongest examples of latent 1", "Loudest in the prompt"):
        assert part in page
    assert "latent 1 ablated" in page


@pytest.mark.parametrize("how", sae_edits.HOW)
def test_the_script_gives_the_numbers_on_the_screen(
    how: str, whole: Path, own_home: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    export = exported(monkeypatch, **EDITED, how=how, seed="3", temperature="1")
    path = own_home / "script.py"
    path.write_text(export.script, encoding="utf-8")
    made = runpy.run_path(str(path))
    assert made["texts"] == [r["text"] for r in rows_of(export, "texts")]
    cells = rows_of(export, "prompt")
    acts = [float(made["acts"][int(r["position"]), int(r["latent"])]) for r in cells]
    np.testing.assert_allclose(acts, [float(r["activation"]) for r in cells], rtol=1e-4)
    after = [float(r["logit after"]) for r in rows_of(export, "next tokens")]
    np.testing.assert_allclose(made["after"].logits.numpy(), after, rtol=1e-5, atol=1e-6)
    assert "token: 'b'" in capsys.readouterr().out


def test_the_script_of_the_table_alone(
    whole: Path, own_home: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    export = exported(monkeypatch, order="latent")
    assert list(export.tables) == ["latents", "examples", "logits"]
    assert json.loads(rows_of(export, "latents")[3]["latent"]) == 3
    path = own_home / "script.py"
    path.write_text(export.script, encoding="utf-8")
    runpy.run_path(str(path))
    assert "token: 'a'" in capsys.readouterr().out
