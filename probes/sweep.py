"""`sweep`: probes at many sites of a model, each with its controls, from one pass of a corpus."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TypeVar

from probes.controls import Report, evaluated, label_sets, report
from probes.evaluation import Evaluation
from probes.fits import Probe, fit_sets
from probes.rows import Rows, Split, check_vectors, document_digests, gather, split
from workbench import ranks
from workbench.cache import Progress
from workbench.errors import InputError
from workbench.hooks import sites
from workbench.labels import Labelled
from workbench.models import Model
from workbench.sites import Request, Site, look_up, named

EMBED = Site("embed")
Fitted = TypeVar("Fitted")


@dataclass(frozen=True, eq=False)
class Sweep:
    """Probes of one kind at several sites, and what they are worth.

    `reports` are over all classes, `among` over some of them (empty where none were asked for).
    `corpus` holds name and digest, `model` name and identity; `random` names the model of the
    random-weights control. `n_rows` counts the rows of each part: train, choose, test. `fitted`
    holds the digests of all documents of these parts (`probes.rows.document_digests`), sorted.
    """

    labels: str
    corpus: Mapping[str, str]
    kind: str
    seed: int
    model: Mapping[str, str]
    random: str | None
    tasks: tuple[str, ...]
    classes: tuple[str, ...]
    n_rows: Mapping[str, int]
    fitted: Sequence[str] = field(repr=False)
    probes: Mapping[Site, Probe] = field(repr=False)
    reports: Mapping[Site, Report] = field(repr=False)
    among: Mapping[Site, Report] = field(repr=False)

    def __getitem__(self, site: Site | str) -> Probe:
        return look_up(self.probes, site)

    @property
    def best(self) -> Site:
        """The site whose probe is best on the rows to choose on, which are not the test rows."""
        return max(self.reports, key=lambda site: self.reports[site].chosen)


def sweep(
    model: Model,
    labelled: Labelled,
    wanted: Request | Iterable[Request],
    kind: str = "logistic",
    *,
    random: Model | None = None,
    among: Sequence[str] = (),
    strength: float | None = None,
    seed: int = 0,
    batch: int = 32,
    progress: Progress | None = None,
) -> Sweep:
    """Fit a probe and its controls at every site that `wanted` names, and evaluate them.

    The samples are split by document, 70 % to train, 10 % to choose, 20 % to test, drawn by
    `seed`. `random` is the model with random weights; `among` adds reports over these classes
    only. `progress` counts contexts read, and the fits of a model as as many again. Under
    `torchrun` the sites are dealt out over the ranks, and each rank returns them all. Raises
    `InputError` as `gather`, `split`, `fit` and `evaluate`, and for more ranks than sites.
    """
    every = named(wanted, sites(model))
    check_vectors(every)
    if len(every) < ranks.world():
        raise InputError(f"{ranks.world()} ranks for {len(every)} sites; start at most as many")
    places = every[ranks.rank() :: ranks.world()]
    models = [model] if random is None else [random, model]
    told = _Told(progress, 2 * len(models) * len(labelled.corpus), len(models) * len(places))
    selections = ((), tuple(among)) if among else ((),)
    by_chance: dict[Site, list[Evaluation]] = {}
    if random is not None:
        rows = gather(random, labelled, places, batch=batch, progress=told.read)
        parts = split(rows.groups, seed=seed)
        by_chance = _evaluations(kind, rows, parts, selections, strength, seed, told)
    extra = () if EMBED in places or EMBED not in sites(model) else (EMBED,)
    rows = gather(model, labelled, [*places, *extra], batch=batch, progress=told.read)
    parts = split(rows.groups, seed=seed)
    alone = _evaluations(kind, _at(rows, [EMBED]), parts, selections, strength, seed)
    sets = label_sets(rows, parts, seed)
    probes: dict[Site, Probe] = {}
    reports: list[dict[Site, Report]] = [{}, {}]
    fits = fit_sets(kind, _at(rows, places), parts, sets, model=model, strength=strength, seed=seed)
    for site, fitted in fits:
        probes[site] = fitted[0]
        for which, some in enumerate(selections):
            reports[which][site] = report(
                fitted,
                rows,
                parts,
                sets,
                random=by_chance[site][which] if by_chance else None,
                embedding=alone[EMBED][which] if alone else None,
                among=some,
                seed=seed,
            )
        told.fitted()
    parted = ranks.exchanged((probes, reports))
    probes = _merged(every, [one for one, _ in parted])
    reports = [_merged(every, [several[which] for _, several in parted]) for which in (0, 1)]
    return Sweep(
        labels=labelled.name,
        corpus={"name": labelled.corpus.name, "digest": labelled.corpus.digest},
        kind=kind,
        seed=seed,
        model={"name": model.name, **asdict(model.identity)},
        random=None if random is None else random.name,
        tasks=labelled.tasks,
        classes=labelled.classes,
        n_rows={name: int(getattr(parts, name).sum()) for name in ("train", "choose", "test")},
        fitted=sorted(set(document_digests(labelled).values())),
        probes=probes,
        reports=reports[0],
        among=reports[1],
    )


def _evaluations(
    kind: str,
    rows: Rows,
    parts: Split,
    selections: Sequence[Sequence[str]],
    strength: float | None,
    seed: int,
    told: "_Told | None" = None,
) -> dict[Site, list[Evaluation]]:
    """Probes without controls, over each selection of classes: they are controls themselves."""
    found: dict[Site, list[Evaluation]] = {}
    for site, (probe,) in fit_sets(
        kind, rows, parts, rows.labels[None], strength=strength, seed=seed
    ):
        found[site] = [evaluated(probe, rows, parts, among=some, seed=seed) for some in selections]
        if told is not None:
            told.fitted()
    return found


def _merged(places: Iterable[Site], parts: Iterable[Mapping[Site, Fitted]]) -> dict[Site, Fitted]:
    """What the ranks have of each site, in the order of sites."""
    found = {site: one for part in parts for site, one in part.items()}
    return {site: found[site] for site in places if site in found}


def _at(rows: Rows, places: Iterable[Site]) -> Rows:
    """The same rows at these sites only, as far as they were gathered."""
    kept = {site: rows[site] for site in places if site in rows.activations}
    return replace(rows, activations=kept)


class _Told:
    """Progress over contexts and fits, in one count."""

    def __init__(self, progress: Progress | None, total: int, n_fits: int) -> None:
        self.progress, self.total, self.n_fits = progress, total, n_fits
        self.contexts = self.fits = 0
        self.before = 0

    def read(self, done: int, total: int) -> None:
        """So many contexts of one pass are read."""
        self.contexts = self.before + done
        if done == total:
            self.before = self.contexts
        self._tell()

    def fitted(self) -> None:
        """One more site is done."""
        self.fits += 1
        self._tell()

    def _tell(self) -> None:
        if self.progress is not None:
            done = self.contexts + self.fits * (self.total // 2) // self.n_fits
            self.progress(done, self.total)
