"""The numbers behind the Probes page: a sweep held by what made it, and what is read at tokens."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import streamlit as st

from dashboards.probes_box import Asked
from dashboards.progress import Progress
from workbench.errors import InputError

if TYPE_CHECKING:  # torch must not load before it is needed
    import numpy as np

    from probes.evaluation import Evaluation
    from probes.sweep import Sweep
    from workbench.labels import Labelled
    from workbench.models import Model, Tokens

MOST = 8  # sweeps held for all sessions
CAP = 256  # tokens


@dataclass(frozen=True)
class ProbesView:
    """A model, what was asked of it, the labels and the sweep."""

    model: Model
    asked: Asked
    labelled: Labelled
    sweep: Sweep
    note: str

    @property
    def sites(self) -> list[str]:
        return [str(site) for site in self.sweep.reports]

    @property
    def columns(self) -> dict[str, np.ndarray]:
        """`probes.summary.COLUMNS`, of the classes that were asked about."""
        from probes.summary import by_site

        return by_site(self.sweep, among=bool(self.asked.among))

    def report(self, site: str) -> Evaluation:
        """How the probe at a site does on the test samples."""
        from probes.summary import reports_of

        found = reports_of(self.sweep, bool(self.asked.among))
        return list(found.values())[self.sites.index(site)].evaluation

    @property
    def about(self) -> str:
        """Labels, probes and samples, in words."""
        sweep, rows = self.sweep, self.sweep.n_rows
        among = f", judged among {', '.join(self.asked.among)}" if self.asked.among else ""
        return (
            f"{sweep.labels} ({', '.join(sweep.classes[:8])}; {len(sweep.tasks)} "
            f"{'task' if len(sweep.tasks) == 1 else 'tasks'}){among}; {sweep.kind} probes; "
            f"{sweep.corpus['name']}; "
            f"samples: {rows['train']:,} to train, {rows['choose']:,} to choose, "
            f"{rows['test']:,} to test, split by document, seed {sweep.seed}"
        )

    def worth(self, site: str) -> str:
        """A site's accuracy beside its controls, in words."""
        row = {name: float(x[self.sites.index(site)]) for name, x in self.columns.items()}
        found = self.report(site)
        beside = ", ".join(
            f"{name} {row[name]:.3f}"
            for name in (
                *("embedding only", "random weights", "control task", "shuffled labels"),
                "commonest class",
            )
            if row[name] == row[name]
        )
        return (
            f"{site}: accuracy {row['accuracy']:.3f} ({row['low']:.3f} to {row['high']:.3f}, 95 %, "
            f"{found.n_answers:,} answers of {found.n_groups:,} documents); {beside}. Balanced "
            f"{row['balanced accuracy']:.3f}, macro F1 {row['macro F1']:.3f}, AUROC "
            f"{row['AUROC']:.3f}"
        )

    def tokens(self, text: str) -> tuple[Tokens, int]:
        """The first tokens of a typed text, or of the first labelled context; how many there are.

        Raises as `tokenize`.
        """
        from workbench.models import from_ids

        vocabulary, corpus = self.model.vocabulary, self.labelled.corpus
        if text.strip():
            whole = self.model.tokenize(text)
            return from_ids(vocabulary, whole.ids[:CAP], bos=whole.bos), len(whole)
        real = (corpus.documents[0] >= 0).nonzero()[0]
        ids = corpus.ids[0, : int(real[-1]) + 1].tolist()
        return from_ids(vocabulary, ids[:CAP], bos=bool(real[0])), len(ids)

    def shares(self, site: str, tokens: Tokens) -> np.ndarray:
        """What the probe reads at each token, [pos, task, class]."""
        from probes.summary import token_scores

        ids = tokens.tensor(self.model.device)
        return token_scores(self.model, self.sweep[site], ids).cpu().numpy()


@st.cache_resource(show_spinner=False)
def _held() -> dict[Hashable, tuple[Labelled, Sweep]]:
    """A cached function could show no progress: its elements would be shown again each time."""
    return {}


def is_held(model: Model, asked: Asked) -> bool:
    """Whether `probes_view` has it at hand."""
    return (model.identity.fingerprint, asked) in _held()


def probes_view(model: Model, asked: Asked, progress: Callable[[str], Progress]) -> ProbesView:
    """Fit the probes and their controls, or take them from this process' last ones."""
    held, key = _held(), (model.identity.fingerprint, asked)
    started, fresh = time.perf_counter(), key not in held
    if fresh:
        held[key] = _computed(model, asked, progress)
        seconds = time.perf_counter() - started
        _keep(model, asked, seconds)
        while len(held) > MOST:
            held.pop(next(iter(held)), None)
    labelled, sweep = held[key]
    note = f"computed, {time.perf_counter() - started:.1f} s" if fresh else "cached"
    return ProbesView(model, asked, labelled, sweep, note)


def _computed(
    model: Model, asked: Asked, progress: Callable[[str], Progress]
) -> tuple[Labelled, Sweep]:
    from probes.sweep import sweep

    progress("Reading labels, and a model with random weights" if asked.random else "Labels")
    labelled = asked.labels.read(model)
    found = sweep(
        model,
        labelled,
        asked.sites,
        asked.kind,
        random=_random(model) if asked.random else None,
        among=asked.among,
        seed=asked.seed,
        progress=progress("Probing, contexts and fits"),
    )
    return labelled, found


def _random(model: Model) -> Model:
    from workbench.models import untrained

    try:
        return untrained(model)
    except InputError as error:
        raise InputError(f"{error}; or switch the control with random weights off") from error


def _keep(model: Model, asked: Asked, seconds: float) -> None:
    from workbench import runs

    runs.keep(
        runs.Record(
            kind="probe",
            model={"name": model.name, **asdict(model.identity)},
            tokens=[],
            arguments=asdict(asked),
            device=str(model.device),
            seconds=round(seconds, 4),
        )
    )
