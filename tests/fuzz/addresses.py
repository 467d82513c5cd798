"""Permalinks: what the pages read from an address, each reader with a page that is not drawn."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock, patch

import numpy as np
import torch

from dashboards import limits, neurons_box, prompts, state, steering_box
from dashboards.attention_view import AttentionView
from dashboards.attribution_view import Part, position_of
from dashboards.induction_view import place_of
from dashboards.lens_view import cell_of
from dashboards.patching_cell import head_named
from dashboards.patching_view import PatchingView
from dashboards.sae_box import latent_of
from tests.fuzz.target import Case, Target, text_target, values_target
from workbench import runs

Values = Mapping[str, str]


def targets(case: Case, made: Path) -> Iterator[Target]:
    yield values_target(
        "address: prompt",
        [{"prompt": "The capital", "bos": "auto", "input": "prompt", "length": "50", "batch": "4",
          "seed": "0", "model": "induction-by-hand", "dtype": "float32"}],
        _prompt,
    )  # fmt: skip
    yield values_target("address: steering", [{"strength": "1.5", "positions": "3,-1"}], _steering)
    yield values_target("address: neuron", [{"neuron": "12"}], _neuron)
    yield text_target("address: cell", ["3.5", "0.0"], lambda text: cell_of(text, (5, 9)))
    yield text_target("address: head", ["L1H2", "0.1"], _head)
    yield text_target("address: patched cell", ["L1.end", "L0.H1"], _cell)
    yield text_target("address: patched head", ["H3"], lambda text: head_named(text, [1, 3]))
    yield text_target("address: latent", ["17"], lambda text: latent_of(text, 400, 0))
    yield text_target("address: component", ["L5H1", "L5 heads", "L5 MLP"], Part.parse)
    asked: Any = SimpleNamespace(ids=torch.zeros(1, 9))
    yield text_target("address: position", ["3", "-1"], lambda text: position_of(text, asked))
    view: Any = SimpleNamespace(steps=[0, 16, 32], heads=["L0H0", "L1H1"], about="here")
    yield values_target(
        "address: training step",
        [{"step": "16", "head": "L1H1"}],
        lambda given: place_of(view, given["step"], given["head"]),
    )


def on_a_page(act: Callable[[], object], given: Values) -> None:
    """`act` with an address, and everything that would be drawn swallowed."""
    drawn = MagicMock()
    drawn.query_params = _Parameters(given)
    drawn.session_state = _Parameters({})
    drawn.stop.side_effect = _Stopped
    modules = (limits, state, neurons_box, steering_box, prompts)
    patches = [patch.object(module, "st", drawn) for module in modules]
    for one in patches:
        one.start()
    try:
        act()
    except _Stopped:
        pass
    finally:
        for one in patches:
            one.stop()


class _Stopped(Exception):
    """The page ended with a sentence."""


class _Parameters(dict):
    def to_dict(self) -> dict[str, Any]:
        return dict(self)

    def get_all(self, name: str) -> list[str]:
        return [self[name]]


def _prompt(given: Values) -> None:
    def read() -> None:
        limits._check_texts()
        state.allowed("dtype", state.DTYPES)
        state.allowed("bos", prompts.BOS)
        state.on_this_machine(given["model"])
        for name, ends in (("length", prompts.LENGTHS), ("batch", prompts.BATCHES)):
            if state.in_range(name, *ends) and given[name].isdecimal():
                int(given[name])
        state.plain(given["prompt"])
        state.literal(given["prompt"])

    on_a_page(read, given)
    record: Any = SimpleNamespace(
        opened={"path": "lens", "address": {k: [v] for k, v in given.items()}}
    )
    runs.address(record)


def _steering(given: Values) -> None:
    on_a_page(lambda: steering_box._bound("strength", (-10.0, 10.0)), given)
    steering_box.positions_of(given["positions"])


def _neuron(given: Values) -> None:
    view: Any = SimpleNamespace(found=SimpleNamespace(n_neurons=100))
    on_a_page(lambda: neurons_box.neuron_box(view, 0), given)


def _head(text: str) -> None:
    view: Any = SimpleNamespace(weights=np.zeros((2, 3)))
    AttentionView.head(view, text, "induction")


def _cell(text: str) -> None:
    view: Any = SimpleNamespace(layers=["L0", "L1"], columns=["end", "H1"], _cell=lambda *at: at)
    PatchingView.cell(view, text)
