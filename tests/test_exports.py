"""What the pages hand out: the numbers on the screen, a page that opens anywhere, a script."""

import csv
import io
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from dashboards import exports
from dashboards.exports import Export, Made, slug, tidy
from dashboards.patching_pairs import SOURCES
from tests.pages import BY_HAND, PROMPT, charts, forget, numbers, opened, sent
from workbench.attention import SCORES

HTML = "<img src=x onerror=alert(1)></script><script>alert(2)</script>"


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path / "home"))
    forget()
    yield
    forget()


Exported = Callable[..., tuple[Export, AppTest]]


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch) -> Exported:
    """(page, settings) -> its export (with an open box of weights, theirs), and the page."""

    def export(page: str, **address: str) -> tuple[Export, AppTest]:
        offers: list[Export] = []
        with monkeypatch.context() as patch:
            patch.setattr(exports, "offer", offers.append)
            patch.setattr(exports, "files", lambda export, key: offers.append(export))
            at = opened(page, **address)
        return offers[-1], at

    return export


def drawn(export: Export) -> list[Any]:
    """The first trace of each figure."""
    return [figure.data[0] for figure in export.figures()]


def read(text: str) -> tuple[list[str], list[list[str]]]:
    header, *rows = csv.reader(io.StringIO(text))
    return header, rows


# --- tables --------------------------------------------------------------------------------------


def test_a_table_has_a_row_for_each_cell() -> None:
    values = {"one": np.array([[1, 2], [3, 4]]), "other": np.array([[5.5, np.nan], [7, 8]])}
    rows = list(tidy(values, {"layer": ["embed", "L0"]}, {"position": (0, 1), "token": "ab"}))
    assert rows[0] == ["layer", "position", "token", "one", "other"]
    assert rows[1] == ["embed", 0, "a", 1, 5.5] and rows[4] == ["L0", 1, "b", 4, 8]
    assert len(rows) == 5


def test_a_table_with_a_wrong_axis_is_refused() -> None:
    with pytest.raises(ValueError, match=r"x has shape \(2,\), its axes \(3,\)"):
        list(tidy({"x": np.zeros(2)}, {"position": range(3)}))


def test_tokens_are_exact_in_a_table() -> None:
    tokens = [" the", '"', ",", "\n", "\r\n", "=1+1", "é", "\\xe2"]
    table = {"t": lambda: tidy({"value": np.arange(8, dtype=np.float32) / 7}, {"token": tokens})}
    text = Export("", "", "", table, list, "").csv("t")
    header, rows = read(text)
    assert header == ["token", "value"] and [token for token, _ in rows] == tokens
    found = np.array([float(value) for _, value in rows], np.float32)
    np.testing.assert_array_equal(found, np.arange(8, dtype=np.float32) / 7)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("L1, mean over heads: attention", "L1-mean-over-heads-attention"),
        ("../../etc/passwd", "etc-passwd"),
        ("lens smollm2-135m", "lens-smollm2-135m"),
    ],
)
def test_names_of_files(text: str, name: str) -> None:
    assert slug(text) == name


# --- what is in the files ------------------------------------------------------------------------


def test_the_attention_table_is_the_pattern_on_the_screen(exported: Exported) -> None:
    export, at = exported("Attention", prompt=PROMPT, head="L0H1")
    sent_header, arrays = sent(at)
    header, rows = read(export.csv("pattern"))
    assert header == ["query", "query token", "key", "key token", "attention"]
    tokens = [text for text, _ in sent_header["tokens"]]
    assert [row[1] for row in rows[:: len(tokens)]] == [row[3] for row in rows[: len(tokens)]]
    assert [row[3] for row in rows[: len(tokens)]] == tokens
    found = np.array([row[4] for row in rows], np.float32).reshape(arrays["pattern"].shape)
    np.testing.assert_array_equal(found, arrays["pattern"])


def test_the_scores_of_all_heads_are_a_table(exported: Exported) -> None:
    export, at = exported("Attention", prompt=PROMPT)
    _, arrays = sent(at)
    header, rows = read(export.csv("scores"))
    assert header == ["layer", "head", *SCORES]
    assert [row[:2] for row in rows] == [[str(i // 4), str(i % 4)] for i in range(8)]
    found = np.array([row[2] for row in rows], np.float32).reshape(2, 4)
    np.testing.assert_array_equal(found, arrays["scores"])


def test_the_lens_tables_are_what_is_on_the_screen(exported: Exported) -> None:
    export, at = exported("Lens", prompt=PROMPT, value="entropy", cell="1.3", follow="e")
    sent_header, arrays = sent(at)
    header, rows = read(export.csv("table"))
    assert header[:4] == ["layer", "position", "position token", "predicted"]
    found = np.array([row[header.index("entropy")] for row in rows], np.float32)
    np.testing.assert_array_equal(found, arrays["value"].ravel())
    header, rows = read(export.csv("top tokens"))
    assert header[-3:] == ["rank", "predicted", "probability"]
    found = np.array([row[-1] for row in rows], np.float32)
    np.testing.assert_array_equal(found, arrays["probs"].ravel())
    named = [sent_header["names"][index] for index in arrays["ids"].ravel()]
    assert [row[-2] for row in rows] == named
    header, rows = read(export.csv("rank after position 3"))
    assert header == ["layer", "rank", "probability"]
    assert [float(row[1]) for row in rows] == arrays["curve_rank"].tolist()


@pytest.mark.parametrize("page", ["Attention", "Lens", "Attribution"])
def test_the_page_of_a_prompt_with_html_is_text(
    page: str, exported: Exported, tiny_folder: Callable[[str], Path]
) -> None:
    export, _ = exported(page, model=str(tiny_folder("gpt2")), prompt=HTML)
    text = export.html()
    assert "&lt;img src=x onerror=alert(1)&gt;" in text, "the prompt is told"
    assert "<script>alert(2)" not in text and "<img src=x" not in text


def test_what_was_typed_for_patching_and_steering_is_text(
    exported: Exported, tiny_folder: Callable[[str], Path]
) -> None:
    model, script = str(tiny_folder("gpt2")), "</script><script>alert(2)</script>"
    pair = {"clean": f"{script} a", "corrupted": f"{script} b", "answer": "a", "wrong": "b"}
    typed = [
        exported("Patching", model=model, pairs=SOURCES[1], **pair)[0],
        exported("Steering", model=model, prompt=script, towards="a", away="b")[0],
    ]
    for export in typed:
        for text in (export.html(), *(figure.to_html() for figure in export.figures())):
            assert "<script>alert(2)" not in text
        compile(export.script, "script", "exec")
        assert script in export.script, "it is what the script runs on"


def test_the_page_holds_the_numbers_on_the_screen(exported: Exported) -> None:
    export, at = exported("Attention", prompt=PROMPT, head="L1H2")
    _, arrays = sent(at)
    zoom, grid = drawn(export)
    np.testing.assert_array_equal(np.asarray(zoom.z), arrays["pattern"])
    np.testing.assert_array_equal(np.asarray(grid.z), arrays["scores"])
    export, at = exported("Lens", prompt=PROMPT, value="KL to the output")
    header, arrays = sent(at)
    table, curve = drawn(export)
    np.testing.assert_array_equal(np.asarray(table.z), arrays["value"])
    np.testing.assert_array_equal(np.asarray(curve.y), arrays["curve_rank"])
    assert f"rank of {header['curve_name']} after" in export.html()


def test_a_difference_is_drawn_around_nothing(exported: Exported) -> None:
    export, at = exported("Attention", prompt=PROMPT, minus="a b c d e f g h i")
    zoom = drawn(export)[0]
    assert zoom.zmax == sent(at)[0]["limit"] == -zoom.zmin


def test_the_attribution_tables_are_what_is_on_the_screen(
    exported: Exported, tiny_folder: Callable[[str], Path]
) -> None:
    model = str(tiny_folder("gpt2"))
    export, at = exported("Attribution", model=model, prompt="the man", part="L1H2")
    bars, heads, inside = charts(at)
    header, rows = read(export.csv("components"))
    assert header == ["component", "share"]
    total = sum(numbers(trace["y"]).sum() for trace in bars["data"] if trace["type"] == "bar")
    assert sum(float(share) for _, share in rows) == pytest.approx(total, abs=1e-5)
    assert f"logit difference {total:.4f}" in export.note
    header, rows = read(export.csv("heads"))
    found = np.array([row[2] for row in rows], float)
    np.testing.assert_allclose(found, numbers(heads["data"][0]["z"]).ravel(), rtol=1e-6)
    header, rows = read(export.csv("L1H2"))
    assert header == ["position", "position token", "share"]
    assert "".join(row[1] for row in rows).endswith("the man")
    np.testing.assert_allclose(
        [float(row[2]) for row in rows], numbers(inside["data"][0]["y"]), rtol=1e-6
    )


def test_the_tables_of_weights(exported: Exported) -> None:
    export, _ = exported("Attention", prompt=PROMPT, head="L1H2", circuits="true")
    header, rows = read(export.csv("copying scores"))
    assert header == ["layer", "head", "copying score"] and rows[6][:2] == ["1", "2"]
    assert float(rows[6][2]) == pytest.approx(1)
    header, rows = read(export.csv("directions"))
    assert len(rows) == 2 * 3 * 2 * 6 and header[:4] == ["circuit", "direction", "sign", "rank"]
    first = dict(zip(header, rows[0], strict=True))
    assert first["left token"] == first["right token"], "this head copies"
    header, rows = read(export.csv("composition"))
    best = max(rows, key=lambda row: float(row[3]) if row[3] != "nan" else -1)
    assert best[:3] == ["K", "0", "1"], "keys of the previous token"


# --- scripts -------------------------------------------------------------------------------------

RUN = """
import runpy, sys, numpy
for script in sys.argv[1:]:
    found = runpy.run_path(script)
    arrays = {n: numpy.asarray(v.detach()) for n, v in found.items() if hasattr(v, "detach")}
    numpy.savez(script + ".npz", **arrays)
"""


def ran(folder: Path, scripts: list[str]) -> tuple[list[dict[str, np.ndarray]], str]:
    """The tensors that each script makes, as it is, in a fresh interpreter; what they print."""
    paths = [folder / f"script{index}.py" for index in range(len(scripts))]
    for path, script in zip(paths, scripts, strict=True):
        path.write_text(script, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", RUN, *map(str, paths)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [dict(np.load(f"{path}.npz")) for path in paths], done.stdout


def test_the_scripts_give_the_numbers_on_the_screen(
    exported: Exported, tiny_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    gpt2, llama = (str(tiny_folder(family)) for family in ("gpt2", "llama"))
    quoted = "the 'tin' \"man\"\\n\n{x}"
    attention = [
        {"prompt": PROMPT, "head": "L1H2"},
        {"prompt": PROMPT, "minus": "a b c d e f g h i", "head": "L0H1", "score": "entropy"},
        {"input": "random tokens", "length": "7", "batch": "2", "seed": "3"},
        {"model": gpt2, "prompt": quoted, "chat": "true", "shown": "mean over heads"},
        {"model": llama, "prompt": quoted, "weights": "value-weighted", "head": "L2H5"},
        {"model": llama, "prompt": "a b", "weights": "value-weighted", "minus": "b a"},
        {"model": gpt2, "prompt": "the", "bos": "off"},
        {"model": gpt2, "prompt": "the tin", "shown": "max over heads"},
        {"model": gpt2, "prompt": "the man", "processing": "folded", "dtype": "bfloat16"},
    ]
    lens = [
        {"prompt": PROMPT, "cell": "1.3"},
        {"model": gpt2, "prompt": quoted, "value": "entropy", "follow": "n"},
        {"model": llama, "prompt": "in", "value": "KL to the output", "bos": "off"},
    ]
    attribution = [
        {"prompt": "a b c a b", "part": "L1 heads"},
        {"model": gpt2, "prompt": quoted, "part": "L2 MLP", "processing": "folded"},
        {"model": llama, "prompt": "the tin man", "answer": "n", "position": "2", "part": "L2H5"},
    ]
    weights = [{"prompt": PROMPT, "head": "L1H2"}, {"model": llama, "prompt": "a", "head": "L1H4"}]
    asked = [("Attention", settings) for settings in attention]
    asked += [("Lens", settings) for settings in lens]
    asked += [("Attribution", settings) for settings in attribution]
    asked += [("Attention", {**settings, "circuits": "true"}) for settings in weights]
    views = [exported(page, **settings) for page, settings in asked]
    found, told = ran(tmp_path, [export.script for export, _ in views])
    for case, (export, at), arrays in zip(asked, views, found, strict=True):
        expected = on_screen(export, at)
        assert expected
        for name, array in expected.items():
            close = {"rtol": 1e-5, "atol": 1e-5, "err_msg": f"{name} of {case}"}
            np.testing.assert_allclose(arrays[name].reshape(array.shape), array, **close)
    assert "L1H2 1.0000" in told and "rank of 'n' after position" in told
    assert "difference 10.0000, sum 10.0000, remainder 0.0" in told
    assert "copying score of L1H2: 1.0000" in told


def on_screen(export: Export, at: AppTest) -> dict[str, np.ndarray]:
    """What a page shows, by the names that a script has for it."""
    if "composition" in export.tables:
        tables = {"copying": "copying scores", "composition": "composition"}
        return {name: column(export, table) for name, table in tables.items()}
    if shown := charts(at):
        heads, inside = numbers(shown[1]["data"][0]["z"]), numbers(shown[2]["data"][0]["y"])
        neurons = "MLP" in list(export.tables)[-1]
        return {"heads": heads, "inside": inside[:-2] if neurons else inside}
    names = {"pattern", "scores", "value"}
    return {name: array for name, array in sent(at)[1].items() if name in names}


def column(export: Export, table: str) -> np.ndarray:
    """The last column of a table."""
    return np.array([row[-1] for row in read(export.csv(table))[1]], np.float32)


@pytest.mark.parametrize("page", ["Attention", "Lens", "Attribution"])
def test_a_long_prompt_is_cut_in_the_script_as_well(
    page: str, exported: Exported, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"dashboards.views.{page.lower()}.CAP", 6)
    assert ".tensor(model.device)[:, :6]" in exported(page, prompt=PROMPT)[0].script
    assert "[:, :6]" not in exported(page, prompt="a b c")[0].script


def test_a_name_with_a_line_break_stays_a_comment() -> None:
    made = Made("model a\nimport os; os.abort()", "", ["x = 1"], ["workbench:load"], "")
    lines = made.script("title\r\nimport os", ["torch:stack"], ["y = 2"]).splitlines()
    assert lines[0].startswith("# title import os. model a import os")
    assert lines[1:] == [
        "from torch import stack",
        "from workbench import load",
        "",
        "x = 1",
        "",
        "y = 2",
    ]


# --- the box -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("page", "tables"),
    [
        ("Attention", ["pattern", "scores"]),
        ("Lens", ["table", "top tokens", "rank after position 9"]),
        ("Attribution", ["components", "heads", "L1H2"]),
    ],
)
def test_the_box_makes_nothing_before_it_is_asked(
    page: str, tables: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for part in ("csv", "html"):
        monkeypatch.setattr(Export, part, lambda *_: pytest.fail("made too early"))
    at = opened(page, prompt=PROMPT)
    assert not at.download_button and not at.code
    at.session_state["export"] = True
    at.run()
    labels = [button.label for button in at.download_button]
    assert labels == [*(f"CSV: {name}" for name in tables), "HTML page", "Python"]
    assert at.code[0].value.startswith("# ") and at.code[0].language == "python"


def test_the_files_are_named_by_what_they_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    names: list[str] = []
    monkeypatch.setattr(
        "streamlit.download_button", lambda label, data, name, *_, **__: names.append(name)
    )
    at = opened("Attention", prompt=PROMPT, head="L0H1", dtype="bfloat16")
    at.session_state["export"] = True
    at.run()
    stem = f"attention-{BY_HAND}-raw-bfloat16-L0H1-attention"
    assert names == [f"{stem}-pattern.csv", f"{stem}-scores.csv", f"{stem}.html", f"{stem}.py"]
    assert not re.search(r"[^\w.-]", "".join(names))
