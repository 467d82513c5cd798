"""The Circuit page, without a browser: against the core, on models whose circuit is known."""

import csv
import html
import io
import re
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import create_autospec

import numpy as np
import pytest
from streamlit.delta_generator import DeltaGenerator
from streamlit.testing.v1 import AppTest

from dashboards import circuit_finding, exports
from dashboards.circuit_view import first_size, sizes
from dashboards.examples import examples
from dashboards.exports import Export
from dashboards.progress import progress_bar
from tests.pages import BY_HAND, charts, forget, opened
from workbench import runs
from workbench.claims import edges as claims
from workbench.models import load
from workbench.patching import MEASURES
from workbench.patching.edges import (
    ABLATIONS,
    METHODS,
    SEARCHES,
    curve,
    graph_of,
    grown,
    random_circuits,
    read_circuit,
    run_circuits,
    score_edges,
)
from workbench.tasks import task

MOVED = {"task": "induction", "corruption": "moved", "edges": "5"}
DONE = "The address of this page is its permalink"


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path / "home"))
    forget()
    yield tmp_path
    forget()


def told(at: AppTest) -> list[str]:
    return [element.value for element in (*at.error, *at.warning)]


def caption(at: AppTest) -> str:
    """The line of what was computed, as a reader sees it."""
    (found,) = (c.value for c in at.caption if DONE in c.value)
    return re.sub(r"\\(.)", r"\1", found)


def said(at: AppTest) -> str:
    (found,) = (m.value for m in at.markdown if "kept by" in m.value)
    return re.sub(r"\\(.)", r"\1", found).strip("*")


def tables(at: AppTest) -> list[list[list[str]]]:
    """Faithfulness, and the strongest edges, in the order of the page."""
    found = []
    for element in at.get("html"):
        if "<table" in element.proto.body:
            rows = re.findall(r"<tr>(.*?)</tr>", element.proto.body, re.DOTALL)
            cells = [re.findall(r"<td[^>]*>(.*?)</td>", row, re.DOTALL) for row in rows[1:]]
            found.append([[html.unescape(cell) for cell in row] for row in cells])
    return found


def exported(monkeypatch: pytest.MonkeyPatch, **address: str) -> Export:
    offers: list[Export] = []
    with monkeypatch.context() as patch:
        patch.setattr(exports, "offer", offers.append)
        opened("Circuit", **address)
    return offers[-1]


def rows_of(export: Export, name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(export.csv(name))))


def expected(method: str = "EAP-IG", ablation: Any = "resample", rivals: int = 3):
    """What the page computes by default for `MOVED`, straight from the core."""
    model = load(BY_HAND)
    find, judge = task("induction").pairs(model, 8, 0, corruption="moved").halves()
    scores = score_edges(model, find, method=method)
    circuit = grown(scores.graph, scores.shares.abs(), 5)
    others = random_circuits(circuit, rivals)
    ran = run_circuits(model, judge, [circuit, circuit.complement(), *others], ablation=ablation)
    return model, judge, scores, circuit, ran


# --- what is shown -------------------------------------------------------------------------------


def test_without_a_task_there_are_examples() -> None:
    at = opened("Circuit")
    assert "start from an example" in at.info[0].value and not charts(at) and not told(at)
    links = " ".join(element.proto.body for element in at.get("html"))
    assert [e.title in links for e in examples("Circuit")] == [True] * 4


def test_the_page_shows_what_the_core_computes() -> None:
    at = opened("Circuit", **MOVED)
    _, _, scores, circuit, ran = expected()
    kept, strongest = tables(at)
    found = ran.faithfulness()
    names = ["this circuit", "all other edges", *(f"random circuit {n}" for n in (1, 2, 3))]
    assert [row[0] for row in kept] == names
    assert [row[1] for row in kept] == [f"{value:.3f}" for value in found.mean.tolist()]
    low, high = float(found.low[0]), float(found.high[0])
    assert kept[0][2] == f"[{low:.3f}, {high:.3f}]"
    top = [scores.graph.name(*edge) for edge in scores.top(20)]
    assert [row[0] for row in strongest] == top
    assert [row[0] for row in strongest if row[3] == "✓"] == [n for n in top if n in circuit.edges]
    assert strongest[0][1] == f"{float(scores.shares[scores.top(1)[0]]):+.3f}"
    mean = float(found.mean[0])
    start = f"{mean:.1%} [{low:.1%}, {high:.1%}] of the logit difference kept by 5 of 81 edges"
    assert said(at).startswith(start)
    assert "on 4 pairs, chosen by greedy search; judged on 4 other pairs" in caption(at)
    assert not told(at) and runs.kept()[0][1].kind == "circuit"


@pytest.mark.parametrize("example", examples("Circuit")[2:], ids=lambda example: example.title)
def test_the_examples_by_hand_show_the_circuit_that_was_written(example) -> None:
    """The pair is the first of the known case's: a circuit of that many edges keeps all of it."""
    at = opened("Circuit", **example.address)
    true = claims.known(example.settings["model"]).circuit.edges
    kept, strongest = tables(at)
    assert {row[0] for row in strongest if row[-1] == "✓"} == set(true)
    assert [row[1] for row in kept[:2]] == ["1.000", "0.000"]
    assert [len(row) for row in kept] == [2] * 5, "one pair has no interval"
    assert "interval" not in caption(at) and "judged on the same 1 pair" in caption(at)


def test_a_saturated_softmax_hides_the_circuit_from_eap_alone() -> None:
    faithful = {
        method: float(tables(opened("Circuit", **MOVED, method=method))[0][0][1])
        for method in METHODS
    }
    assert faithful["EAP"] == 0 and faithful["EAP-IG"] == faithful["exact"] == 1


def test_a_pin_brings_back_what_the_search_missed() -> None:
    """EAP sees nothing of what the pattern is found by; pinned, these edges carry the answer."""
    at = opened("Circuit", **MOVED, method="EAP")
    assert tables(at)[0][0][1] == "0.000"
    pins = ["embed->L0H1.v", "L0H1->L1H2.k", "L1H2"]
    at.multiselect(key="pins").set_value(pins).run()
    assert not at.exception and not told(at)
    assert tables(at)[0][0][1] == "1.000" and "of them by pins alone" in said(at)
    again = opened("Circuit", **MOVED, method="EAP", pins=pins)  # type: ignore[arg-type]
    assert again.multiselect(key="pins").value == pins and said(again) == said(at)


def test_the_slider_runs_the_circuit_alone_and_scores_nothing_again() -> None:
    at = opened("Circuit", **MOVED)
    (key,) = circuit_finding._held_runs()
    held = len(circuit_finding._held_runs()[key])
    at.select_slider(key="edges").set_value("20").run()
    assert "by 20 of 81 edges" in said(at) and len(circuit_finding._held_scores()) == 1
    more = len(circuit_finding._held_runs()[key])
    assert more == held + 5, "the circuit, all others, three random ones"
    at.select_slider(key="edges").set_value("5").run()
    assert len(circuit_finding._held_runs()[key]) == more, "known already"


def test_a_larger_circuit_of_another_model_does_not_survive_the_change() -> None:
    """81 edges are all there are here; the copier has 17."""
    at = opened("Circuit", **{**MOVED, "edges": "81"})
    assert tables(at)[0][0][1] == "1.000"
    at.selectbox(key="model").set_value("copier-by-hand").run()
    assert not at.exception


@pytest.mark.parametrize("ablation", ["mean", "zero"])
def test_other_ablations_are_those_of_the_core(ablation: str) -> None:
    kept, _ = tables(opened("Circuit", **MOVED, ablation=ablation, random="1"))
    *_, ran = expected(ablation=ablation, rivals=1)
    assert [row[1] for row in kept] == [f"{v:.3f}" for v in ran.faithfulness().mean.tolist()]


def test_the_curve_comes_when_it_is_asked_for() -> None:
    at = opened("Circuit", **MOVED)
    assert len(charts(at)) == 1
    (button,) = (b for b in at.button if "CPR and CMD" in b.label)
    button.click().run()
    assert len(charts(at)) == 2 and not at.exception
    model, judge, scores, *_ = expected()
    how: dict[str, Any] = {"ablation": "resample"}
    cpr = curve(model, judge, scores.graph, scores.shares, **how).cpr
    cmd = curve(model, judge, scores.graph, scores.shares.abs(), **how).cmd
    title = charts(at)[1]["layout"]["title"]["text"]
    assert title == f"CPR {cpr:.3f} (signed scores), CMD {cmd:.3f} (their size)"
    assert len(charts(opened("Circuit", **MOVED))) == 2, "held: shown without asking"


def test_the_lists_of_the_page_are_those_of_the_core() -> None:
    at = opened("Circuit", **MOVED)
    assert at.selectbox(key="method").options == list(METHODS)
    assert at.selectbox(key="search").options == list(SEARCHES)
    assert at.selectbox(key="ablation").options == list(ABLATIONS)
    assert set(MEASURES) - set(at.selectbox(key="metric").options) == {"top-1 accuracy"}


def test_sizes_go_up_to_the_whole_model() -> None:
    known = sizes(graph_of(load("copier-by-hand")))
    assert known == [1, 2, 3, 5, 10, 17] and first_size(known) == 5
    assert first_size([10, 100, 200, 500, 70_000]) == 200


# --- faults --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "notice"),
    [
        ({"edges": "7"}, "asks for edges “7”"),
        ({"method": "ACDC"}, "asks for method “ACDC”"),
        ({"metric": "top-1 accuracy"}, "asks for metric"),
        ({"search": "wide"}, "asks for search"),
        ({"ablation": "none"}, "asks for ablation"),
        ({"steps": "0"}, "asks for steps"),
        ({"random": "99"}, "asks for random"),
        ({"pins": "L9H9"}, "'L9H9' is no component"),
        ({"pins": "logits->L0H0.q"}, "is no edge of this model"),
    ],
)
def test_a_bad_address_is_a_notice(address: dict[str, str], notice: str) -> None:
    at = opened("Circuit", **{**MOVED, **address})
    assert not at.exception and len(at.warning) == 1 and not at.error
    assert notice in re.sub(r"\\(.)", r"\1", at.warning[0].value) and "kept by" in said(at)


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ({"metric": "KL", "method": "EAP"}, "flat at the clean run"),
        ({"task": "capitals"}, "vocabulary"),
    ],
)
def test_what_cannot_be_computed_is_one_sentence(address: dict[str, str], sentence: str) -> None:
    at = opened("Circuit", **{**MOVED, **address})
    assert not at.exception and len(at.error) == 1 and sentence in at.error[0].value
    assert not charts(at)


def test_exact_scores_of_a_large_model_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(circuit_finding, "LARGE", 100)
    at = opened("Circuit", **MOVED, method="exact")
    assert "take 324 runs here, and this page does at most 100" in at.error[0].value


# --- files ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("more", [{}, {"pins": "L0H1", "search": "threshold", "method": "EAP"}])
def test_the_script_gives_the_same_numbers(
    more: dict[str, str], monkeypatch: pytest.MonkeyPatch, own_home: Path, capsys
) -> None:
    at = opened("Circuit", **MOVED, **more)
    (button,) = (b for b in at.button if "CPR and CMD" in b.label)
    button.click().run()
    export = exported(monkeypatch, **MOVED, **more)
    path = own_home / "script.py"
    path.write_text(export.script, encoding="utf-8")
    found = runpy.run_path(str(path))
    kept = [float(row["mean"]) for row in rows_of(export, "faithfulness")]
    np.testing.assert_allclose(found["kept"].mean.numpy(), kept, atol=1e-6)
    assert list(found["circuit"].edges) == [row["edge"] for row in rows_of(export, "edges")]
    printed = capsys.readouterr().out
    assert f"this circuit: {kept[0]:.4f} [" in printed
    assert "CPR" in printed and "CMD" in printed


def test_the_files_hold_what_is_shown(monkeypatch: pytest.MonkeyPatch, own_home: Path) -> None:
    export = exported(monkeypatch, **MOVED)
    _, _, scores, circuit, _ = expected()
    rows = rows_of(export, "edges")
    assert [row["edge"] for row in rows] == list(circuit.edges)
    assert all(row["edge"] == f"{row['sender']}->{row['receiver']}" for row in rows)
    shares = [float(row["share"]) for row in rows]
    np.testing.assert_allclose(shares, scores.shares[circuit.kept].numpy(), rtol=1e-6)
    strongest = rows_of(export, "strongest edges")
    assert len(strongest) == 81 and sum(row["kept"] == "True" for row in strongest) == 5
    page = export.html()
    assert "Circuit: 5 of 81 edges" in page and "judged on 4 other pairs" in page
    assert "all other edges" in page


def test_the_circuit_goes_out_as_the_commands_file(own_home: Path) -> None:
    at = opened("Circuit", **MOVED, pins="L0H0")
    (button,) = (b for b in at.get("download_button") if "JSON" in b.proto.label)
    assert button.proto.label == "The circuit (JSON)"
    *_, circuit, _ = expected()
    path = own_home / "circuit.json"
    (held,) = circuit_finding._held_scores().values()
    model = load(BY_HAND)
    pairs = task("induction").pairs(model, 8, 0, corruption="moved")
    from dashboards.circuit_view import Chosen, find
    from dashboards.patching_sweeps import Source
    from dashboards.state import store

    question = circuit_finding.Question("logit difference", "EAP-IG", 5, "greedy", "resample")
    work = circuit_finding.Task.of(Source(model, store(), pairs))
    path.write_text(find(work, question, held, Chosen(5, ("L0H0",), 0)).circuit.text())
    read = read_circuit(path)
    assert read.edges == circuit.joined(["L0H0"]).edges
    assert read.found["pins"] == ["L0H0"] and read.found["size"] == 5
    assert read.found["fingerprint"] == model.identity.fingerprint


def test_progress_tells_stage_count_and_seconds() -> None:
    bar = create_autospec(DeltaGenerator, instance=True)
    progress_bar(bar, "EAP-IG")(1500, 6000)
    assert bar.progress.call_args.args == (0.25, "EAP-IG: 1,500 of 6,000, 0 s")
