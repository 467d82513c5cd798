"""Files of results: directions, probes, lenses, circuits, rules, trainings, run records."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from probes.saved import about_sweep, load_sweep, save_sweep
from probes.sweep import sweep
from tests.fuzz import seals
from tests.fuzz.target import Case, Files, Target, files_in, folder_target
from workbench import runs
from workbench.carded import read_card
from workbench.corpus import from_ids
from workbench.directions import from_tensor, load_direction, save_direction
from workbench.labels import Labelled
from workbench.labs.induction.ladder import read_log, rungs
from workbench.lens import Comparison, Recipe, load_lens, save_lens, untrained
from workbench.models import Model, load
from workbench.patching.edges.circuit import Circuit, read_circuit
from workbench.patching.edges.graph import Graph
from workbench.sampling import batch_of
from workbench.training import recipe_named
from workbench.training.checkpoint import Row, Unfinished, read_state, write_state

FILE = "some.safetensors"


def targets(case: Case, made: Path) -> Iterator[Target]:
    model = load("induction-by-hand", device="cpu")
    yield folder_target(
        "direction",
        case,
        [_direction(made, model)],
        lambda at: load_direction(at / FILE, model),
        seal=seals.carded,
    )
    yield folder_target("probes", case, [_probes(made, model)], _sweep, seal=seals.carded)
    yield _lens(case, made, model)
    yield folder_target("circuit", case, [_circuit()], lambda at: read_circuit(at / "c.json"))
    yield folder_target("run records", case, [_records(made)], _kept)
    recipe = recipe_named("grokking")
    yield folder_target(
        "training, state",
        case,
        [_state(made)],
        lambda at: (read_state(at / FILE, recipe), read_card(at / FILE, what="checkpoint")),
        seal=seals.carded,
    )
    yield folder_target("training, log", case, [_log()], lambda at: (rungs(at), read_log(at)))
    yield folder_target(
        "sampled texts",
        case,
        [{"00000.jsonl": b'{"text": "a b", "sort": "story", "tokens": 3}\n' * 2}],
        lambda at: batch_of(at / "00000.jsonl"),
    )


def _direction(made: Path, model: Model) -> Files:
    vector = torch.arange(1.0, 1 + model.architecture.d_model)
    save_direction(
        from_tensor(vector, "0.resid_post", name="n", made="m", model=model), made / FILE
    )
    return {FILE: (made / FILE).read_bytes()}


def _probes(made: Path, model: Model) -> Files:
    ids = np.random.default_rng(0).integers(1, 15, (30, 8))
    documents = np.repeat(np.arange(30)[:, None], 8, axis=1)
    labels = (ids % 2).astype(np.int8)[..., None]
    corpus = from_ids("letters", ids, documents=documents)
    labelled = Labelled("parity", corpus, labels, ("this",), ("even", "odd"))
    found = sweep(model, labelled, "0.resid_post", "ridge", among=("even", "odd"))
    save_sweep(found, made / "probes.safetensors", {"arguments": {"seed": 0}})
    return {FILE: (made / "probes.safetensors").read_bytes()}


def _sweep(folder: Path) -> None:
    found = load_sweep(folder / FILE)
    about_sweep(folder / FILE)
    for probe in found.probes.values():
        probe.scores(torch.zeros(2, probe.width))


def _lens(case: Case, made: Path, model: Model) -> Target:
    blank = untrained(model)
    kl = torch.rand(len(blank), 3)
    corpus = from_ids("letters", np.ones((3, 4), dtype=np.int64))
    compared = Comparison(kl, kl, 12)
    save_lens(
        model, blank, corpus=corpus, recipe=Recipe(), held_out=compared, seconds=1.0, name="x"
    )
    seed = files_in(case.folder)  # the home, as everywhere here
    case.clear()
    return folder_target(
        "tuned lens", case, [seed], lambda _: load_lens(model, "x"), seal=seals.lens
    )


def _circuit() -> Files:
    graph = Graph(n_layers=2, n_heads=2, n_kv_heads=2, mlps=True, parallel=False)
    return {"c.json": Circuit.whole(graph).text().encode()}


def _records(made: Path) -> Files:
    opened = {"page": "lens", "path": "lens", "address": {"prompt": ["a", "b"]}}
    one = runs.Record("lens", {"name": "m"}, [[1, 2]], {"prompt": "a"}, "cpu", 0.1, opened=opened)
    two = runs.Record("patch", {"name": "m"}, [[1]], {}, "cpu", 0.1, opened={"command": ["patch"]})
    return {f"runs/{n}.json": json.dumps(asdict(r)).encode() for n, r in enumerate((one, two))}


def _kept(_: Path) -> None:
    """As `workbench runs list` and the page do."""
    records = [record for _, record in runs.kept()]
    for record in records:
        runs.told(record)
        runs.address(record)
        runs.differences(records[0], record)


def _state(made: Path) -> Files:
    rows = (Row(1, 2, 0.5, {"test accuracy": 0.1}),)
    state = Unfinished({"a": torch.zeros(3)}, 1, 0.5, rows)
    write_state(made / "state.safetensors", recipe_named("grokking"), state)
    return {FILE: (made / "state.safetensors").read_bytes()}


def _log() -> Files:
    rows = [{"step": n, "examples": n, "loss": 1.0, "metrics": {"m": 0.5}} for n in (1, 2)]
    card = json.dumps({"log": rows}).encode()
    return {"model/card.json": card, "ladder/0/card.json": b"{}", "ladder/16/card.json": b"{}"}
