"""From a model and labels to reports and a file: pads are no samples, no other model reads it."""

from dataclasses import fields, is_dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from probes.fits import FITS, fit, fit_sets
from probes.rows import document_digests, gather, split, without
from probes.saved import FORMAT, load_sweep, save_sweep
from probes.sweep import Sweep, sweep
from tests.faults.children import check_all_end, forked
from tests.faults.test_ranks import together
from workbench import ranks
from workbench.cache import DamagedError
from workbench.carded import read_carded, write_carded
from workbench.corpus import from_ids
from workbench.errors import InputError
from workbench.hooks import run
from workbench.labels import Labelled
from workbench.models import load
from workbench.sites import Site

SITE = Site("resid_post", 1)


@pytest.fixture(scope="module")
def labelled() -> Labelled:
    """Forty texts, the last third of each padding; is the token even, and is the one before it?"""
    ids = torch.randint(1, 250, (40, 12), generator=torch.Generator().manual_seed(1)).numpy()
    documents = np.repeat(np.arange(40, dtype=np.int32)[:, None], 12, axis=1)
    documents[:, 8:] = -1
    ids[:, 8:] = 0
    before = np.roll(ids, 1, axis=1)
    labels = np.stack([ids % 2, before % 2], -1).astype(np.int8)
    labels[:, 0] = labels[:, 8:] = -1
    corpus = from_ids("texts", ids, documents=documents)
    return Labelled("parity", corpus, labels, ("this", "before"), ("even", "odd"))


def test_no_pad_is_ever_a_sample(tiny, family: str, labelled: Labelled) -> None:
    model = tiny(family)
    rows = gather(model, labelled, SITE, batch=7)
    assert len(rows) == 40 * 7 == labelled.n_samples
    assert int(rows.positions.min()) == 1 and int(rows.positions.max()) == 7
    assert not bool((rows.tokens == 0).any())
    everything = run(model, torch.from_numpy(labelled.corpus.ids).long(), read=SITE)[SITE]
    for row in (0, 6, 100, 279):
        place = int(rows.groups[row]), int(rows.positions[row])
        assert_close(rows[SITE][row], everything[place], atol=1e-5, rtol=1e-5)
        assert int(rows.tokens[row]) == labelled.corpus.ids[place]
        assert rows.labels[row].tolist() == labelled.labels[place].tolist()


def test_streamed_equals_whole(tiny, labelled: Labelled) -> None:
    one, all_ = (gather(tiny("gpt2"), labelled, SITE, batch=batch) for batch in (1, 40))
    assert_close(one[SITE], all_[SITE], atol=1e-5, rtol=1e-5)
    parts = split(one.groups)
    here, there = (fit("ridge", rows, parts, strength=1.0)[SITE] for rows in (one, all_))
    assert_close(here.scores(one[SITE]), there.scores(one[SITE]), atol=1e-4, rtol=1e-4)


def test_a_document_is_in_one_part() -> None:
    groups = torch.arange(50).repeat_interleave(4)
    parts = split(groups, seed=3)
    found = [set(groups[part].tolist()) for part in (parts.train, parts.choose, parts.test)]
    assert [len(one) for one in found] == [35, 5, 10]
    assert len(set.union(*found)) == 50
    with pytest.raises(InputError, match="come from 2 documents; give at least 3"):
        split(torch.tensor([0, 0, 1, 1]))


def test_a_weight_that_is_not_a_number_is_found(labelled: Labelled, tiny_folder) -> None:
    broken = load(str(tiny_folder("llama")), device="cpu")
    assert broken.plain is not None
    with torch.no_grad():
        next(p for n, p in broken.plain.named_parameters() if "layers.1" in n)[0] = torch.nan
    with pytest.raises(InputError, match=r"activations at 1\.resid_post that are not finite"):
        sweep(broken, labelled, SITE)


@pytest.fixture(scope="module")
def swept(tiny, labelled: Labelled) -> Sweep:
    return sweep(
        tiny("gpt2"),
        labelled,
        ["embed", "*.resid_post"],
        "ridge",
        random=tiny("llama"),
        among=("odd", "even"),
        seed=4,
    )


@pytest.mark.unpickles  # torch.distributed, what its own ranks say
@pytest.mark.parametrize("kind", ["ridge", "logistic"])
def test_ranks_sweep_as_one_process_does(
    kind: str, tiny_folder, labelled: Labelled, tmp_path: Path
) -> None:
    act = partial(_sweep_into, str(tiny_folder("gpt2")), labelled, kind)
    check_all_end(forked(partial(act, tmp_path / "alone")))
    check_all_end(together(2, partial(act, tmp_path / "shared")))
    alone, shared = (load_sweep(tmp_path / one) for one in ("alone", "shared"))
    assert [*alone.probes] == [*shared.probes] and len(alone.probes) == 3
    for site in alone.probes:
        _equal(alone.reports[site], shared.reports[site])
        _equal(alone[site], shared[site])


def _sweep_into(folder: str, labelled: Labelled, kind: str, path: Path) -> None:
    made = sweep(load(folder, device="cpu"), labelled, "*.resid_post", kind)
    if ranks.rank() == 0:
        save_sweep(made, path)


def test_more_ranks_than_sites_are_refused(
    tiny, labelled: Labelled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(InputError, match="4 ranks for 1 sites; start at most as many"):
        sweep(tiny("gpt2"), labelled, SITE, "ridge")


def test_a_sweep_is_fits_with_reports(tiny, labelled: Labelled, swept: Sweep) -> None:
    assert list(map(str, swept.probes)) == ["embed", *(f"{n}.resid_post" for n in range(3))]
    assert swept.n_rows == {"train": 196, "choose": 28, "test": 56}
    rows = gather(tiny("gpt2"), labelled, SITE)
    parts = split(rows.groups, seed=4)
    alone = fit("ridge", rows, parts, model=tiny("gpt2"), seed=4)[SITE]
    assert_close(swept[SITE].scores(rows[SITE]), alone.scores(rows[SITE]), atol=1e-5, rtol=1e-5)
    right = (alone.predict(rows[SITE]) == rows.labels)[parts.test].float().mean()
    report = swept.reports[SITE]
    assert report.evaluation.accuracy == pytest.approx(float(right))
    assert swept.best == max(swept.reports, key=lambda site: swept.reports[site].chosen)
    # Both classes in another order: the same accuracy.
    assert swept.among[SITE].evaluation.accuracy == pytest.approx(float(right))
    assert swept.among[SITE].evaluation.classes == ("odd", "even")


def test_controls_of_other_inputs_are_probes_too(tiny, labelled: Labelled, swept: Sweep) -> None:
    report, embedding = swept.reports[SITE], swept.reports[Site("embed")].evaluation
    assert report.embedding is not None and report.random is not None
    assert report.embedding.accuracy == pytest.approx(embedding.accuracy)
    other = sweep(tiny("llama"), labelled, SITE, "ridge", seed=4)
    assert report.random.accuracy == pytest.approx(other.reports[SITE].evaluation.accuracy)
    assert swept.random == tiny("llama").name
    assert other.reports[SITE].random is None and other.reports[SITE].embedding is not None
    assert not other.among


def test_progress_rises_to_its_end(tiny, labelled: Labelled) -> None:
    told: list[tuple[int, int]] = []
    sweep(
        tiny("gpt2"),
        labelled,
        "*.resid_post",
        "ridge",
        random=tiny("llama"),
        batch=16,
        progress=lambda done, total: told.append((done, total)),
    )
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert {total for _, total in told} == {160}
    assert told[-1] == (160, 160)


def test_a_document_has_its_digest_wherever_it_lies(labelled: Labelled) -> None:
    """Packed another way, over two contexts, among others, padded or not."""
    ids, documents = np.array([[5, 6, 7, 8], [9, 3, 4, 0]]), np.array([[0, 0, 1, 1], [1, 2, 2, -1]])
    again = np.array([[7, 8, 9, 5, 6, 1]]), np.array([[0, 0, 0, 4, 4, 5]])

    def found(ids: np.ndarray, documents: np.ndarray) -> Labelled:
        labels = np.where(documents < 0, -1, 0).astype(np.int8)[..., None]
        return Labelled("x", from_ids("x", ids, documents=documents), labels, ("t",), ("a", "b"))

    one, other = found(ids, documents), found(*again)
    here, there = document_digests(one), document_digests(other)
    assert (there[0], there[4]) == (here[1], here[0]) and there[5] not in here.values()
    left, gone, known = without(other, list(here.values()))
    assert (gone, known) == (2, 3) and left.labels[0, :, 0].tolist() == [-1] * 5 + [0]
    with pytest.raises(InputError, match="these are the samples that the probes were fitted on"):
        without(one, list(here.values()))
    unlabelled = replace(labelled, labels=labelled.labels.copy())
    unlabelled.labels[3] = -1
    assert sorted(document_digests(unlabelled)) == [n for n in range(40) if n != 3]


@pytest.mark.parametrize("site", ["*.pattern", "L1H1.scores"])
def test_sites_without_a_vector_at_each_token(tiny, labelled: Labelled, site: str) -> None:
    with pytest.raises(InputError, match=r"(pattern|scores).* has no vector at each token"):
        sweep(tiny("gpt2"), labelled, site)


# Files


@pytest.mark.parametrize("kind", FITS)
def test_a_file_holds_all_of_a_sweep(
    tiny, labelled: Labelled, tmp_path: Path, swept: Sweep, kind: str
) -> None:
    model = tiny("gpt2")
    made = swept if kind == "ridge" else sweep(model, labelled, SITE, kind)
    path = tmp_path / "probes.safetensors"
    save_sweep(made, path)
    back = load_sweep(path, model)
    rows = gather(model, labelled, SITE)
    assert torch.equal(back[SITE].scores(rows[SITE]), made[SITE].scores(rows[SITE]))
    assert (back.labels, back.kind, back.seed, back.tasks) == (
        "parity",
        kind,
        made.seed,
        ("this", "before"),
    )
    assert back[SITE].strength == made[SITE].strength and back[SITE].classes == ("even", "odd")
    assert (back.model, back.corpus, back.n_rows) == (made.model, made.corpus, made.n_rows)
    assert back.fitted == made.fitted and len(made.fitted) == 40
    assert list(back.among) == list(made.among)
    for here, there in ((back.reports, made.reports), (back.among, made.among)):
        for site, report in there.items():
            _equal(here[site], report)


def _equal(here: object, there: object) -> None:
    """All fields of two values, tensors and dataclasses in them included."""
    assert type(here) is type(there)
    if isinstance(there, torch.Tensor):
        assert isinstance(here, torch.Tensor)
        assert_close(here, there, equal_nan=True, rtol=0, atol=0)
    elif is_dataclass(there):
        for one in fields(there):
            _equal(getattr(here, one.name), getattr(there, one.name))
    else:
        assert here == there


def test_probes_of_another_model_are_refused(tiny, swept: Sweep, tmp_path: Path) -> None:
    path = tmp_path / "probes.safetensors"
    save_sweep(swept, path)
    with pytest.raises(InputError, match=r"of another model .*field weights: this one has"):
        load_sweep(path, tiny("llama"))
    assert load_sweep(path).model == swept.model


def test_a_file_that_was_changed(swept: Sweep, tmp_path: Path) -> None:
    path = tmp_path / "probes.safetensors"
    with pytest.raises(InputError, match="no sweep of probes at"):
        load_sweep(path)
    save_sweep(swept, path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(DamagedError, match="field checksum"):
        load_sweep(path)
    path.write_bytes(whole)
    card, tensors = read_carded(path, what="sweep of probes", fmt=FORMAT)
    del tensors["1.resid_post/bias"]
    write_carded(path, tensors, card, what="sweep of probes")
    with pytest.raises(DamagedError, match=r"field 1\.resid_post/bias: expected a tensor"):
        load_sweep(path)
    del card["reports"]
    write_carded(path, tensors, card, what="sweep of probes")
    with pytest.raises(DamagedError, match="field reports"):
        load_sweep(path)


def test_a_class_missing_in_training_is_told_by_a_sweep(tiny, labelled: Labelled) -> None:
    never = replace(labelled, classes=("even", "odd", "neither"))
    with pytest.raises(InputError, match="training has no sample of neither of this"):
        sweep(tiny("gpt2"), never, SITE)


def test_sites_without_a_row_are_refused(tiny, labelled: Labelled) -> None:
    rows = gather(tiny("gpt2"), labelled, SITE)
    with pytest.raises(InputError, match=r"2\.resid_post was not read; there is 1\.resid_post"):
        rows["2.resid_post"]
    assert [site for site, _ in fit_sets("ridge", rows, split(rows.groups), rows.labels[None])] == [
        SITE
    ]


def test_more_rows_than_memory_holds_are_refused(
    tiny, labelled: Labelled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("probes.rows.free_host", lambda: 1_000)
    with pytest.raises(InputError, match=r"280 samples at 1 sites take .* GiB, .* are free"):
        gather(tiny("gpt2"), labelled, SITE)
