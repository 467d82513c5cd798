"""The same numbers on a CUDA device, and a store that serves both."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from benchmarks import small
from probes.fits import FITS, fit
from probes.rows import split
from tests.harvests import made_of, text
from tests.planted import SITE, planted
from tests.test_training import RECIPE
from workbench.cache import Store, capture, harvest, shuffled, stream
from workbench.cache.prefetch import ahead
from workbench.corpus import from_ids
from workbench.hooks import Edit, Start, run
from workbench.models import Model, load, pad, resolve_device
from workbench.models import from_ids as prompt
from workbench.patching import Metric, attribute_patches, sweep
from workbench.patching.edges import Circuit, graph_of, patch_paths, run_circuits, score_edges
from workbench.tasks import Pair, Pairs
from workbench.training import NextTokenTraining

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device"),
]


@pytest.mark.parametrize("processing", ["raw", "folded"])
def test_every_site_equals_the_cpu(
    tiny: Callable[..., Model],
    tiny_folder: Callable[[str], Path],
    family: str,
    processing: str,
    ids: Tensor,
) -> None:
    on_gpu = load(str(tiny_folder(family)), device="cuda", processing=processing)
    here = run(tiny(family, processing), ids, read=lambda site: True)
    there = run(on_gpu, ids, read=lambda site: True)
    for site, value in here.activations.items():
        assert_close(there[site].cpu(), value, atol=1e-4, rtol=1e-4)


def test_the_store_serves_both_devices(
    tiny: Callable[..., Model], tiny_folder: Callable[[str], Path], ids: Tensor, tmp_path: Path
) -> None:
    on_gpu = load(str(tiny_folder("llama")), device="cuda")
    assert on_gpu.identity == tiny("llama").identity
    first = capture(on_gpu, ids.cuda(), "1.resid_post", Store(tmp_path))
    again = capture(tiny("llama"), ids, "1.resid_post", Store(tmp_path))
    assert again.whole and torch.equal(again["1.resid_post"], first["1.resid_post"].cpu())


def test_an_edit_on_the_gpu(tiny_folder: Callable[[str], Path], ids: Tensor) -> None:
    model = load(str(tiny_folder("gpt2")), device="cuda")
    edited = run(model, ids, edit=Edit("L1H2.z", lambda z: z * 0), read="logits")
    assert edited["logits"].is_cuda and edited.receipt.moved[0] > 0
    assert not torch.equal(edited["logits"], run(model, ids, read="logits")["logits"])


def test_auto_is_cuda() -> None:
    assert resolve_device("auto").type == "cuda"


@pytest.mark.parametrize("processing", ["raw", "folded"])
def test_restart_padding_and_past_equal_the_cpu(
    tiny: Callable[..., Model],
    tiny_folder: Callable[[str], Path],
    family: str,
    processing: str,
    ids: Tensor,
) -> None:
    cpu, gpu = (
        tiny(family, processing),
        load(str(tiny_folder(family)), device="cuda", processing=processing),
    )
    full = run(cpu, ids, read="1.resid_pre", stop="never")
    there = run(gpu, ids, read="1.resid_pre", stop="never", keep_past=True)
    assert full.logits is not None and there.logits is not None and there.past is not None
    again = run(gpu, ids, start=Start(1, there["1.resid_pre"]))
    later = run(gpu, ids[:, 5:], past=there.past.upto(5))
    assert again.logits is not None and later.logits is not None
    assert torch.equal(again.logits, there.logits)
    assert_close(again.logits.cpu(), full.logits, atol=1e-4, rtol=1e-4)
    assert_close(later.logits.cpu(), full.logits[:, 5:], atol=1e-4, rtol=1e-4)
    batch = pad([row[:length].tolist() for row, length in zip(ids, (5, 12), strict=True)])
    here = run(cpu, batch.ids, mask=batch.mask).logits
    padded = run(gpu, batch.ids.cuda(), mask=batch.mask.cuda()).logits
    assert here is not None and padded is not None
    assert_close(padded.cpu(), here, atol=1e-4, rtol=1e-4, equal_nan=True)


def test_a_stream_and_a_harvest_equal_the_cpu(
    tiny: Callable[..., Model], tiny_folder: Callable[[str], Path], family: str, tmp_path: Path
) -> None:
    corpus = from_ids("drawn", torch.randint(1, 250, (6, 10)))
    gpu = load(str(tiny_folder(family)), device="cuda")
    sites = ["1.resid_post", "0.z"]
    pairs = zip(
        stream(tiny(family), corpus, sites, batch=4),
        stream(gpu, corpus, sites, batch=4),
        strict=True,
    )
    for here, there in pairs:
        for site, value in here.activations.items():
            assert there[site].is_cuda
            assert_close(there[site].cpu(), value, atol=1e-4, rtol=1e-4)
    made = harvest(gpu, corpus, "1.resid_post", Store(tmp_path), batch=4)
    fresh = run(tiny(family), torch.from_numpy(corpus.ids).long(), read="1.resid_post")
    with made["1.resid_post"] as kept:
        assert_close(kept.contexts(0, 6), fresh["1.resid_post"], atol=1e-4, rtol=1e-4)


def _pairs(model: Model, length: int = 9) -> Pairs:
    drawn = torch.Generator().manual_seed(0)
    rows = []
    for clean in torch.randint(5, 300, (4, length), generator=drawn):
        corrupted = clean.clone()
        corrupted[3] = (clean[3] + 1) % 300
        one, other = (
            prompt(model.vocabulary, ids.tolist(), bos=False) for ids in (clean, corrupted)
        )
        rows.append(Pair(one, other, (7,), (8,)))
    return Pairs("random", tuple(rows))


@pytest.mark.parametrize("site", ["resid_pre", "z", "k", "pattern", "mlp_out"])
def test_patching_equals_the_cpu(
    tiny: Callable[..., Model], tiny_folder: Callable[[str], Path], family: str, site: str
) -> None:
    cpu, gpu = tiny(family), load(str(tiny_folder(family)), device="cuda")
    for analyse in (sweep, attribute_patches):
        here, there = (analyse(model, _pairs(model), site, places="all") for model in (cpu, gpu))
        assert_close(there.values, here.values, atol=1e-4, rtol=1e-3)


def test_edges_equal_the_cpu(
    tiny: Callable[..., Model], tiny_folder: Callable[[str], Path], family: str
) -> None:
    cpu, gpu = tiny(family), load(str(tiny_folder(family)), device="cuda")
    for method in ("EAP-IG", "exact"):
        here, there = (score_edges(model, _pairs(model), method=method) for model in (cpu, gpu))
        assert_close(there.values, here.values, atol=1e-4, rtol=1e-3)
    ran = [
        run_circuits(model, _pairs(model), [Circuit.whole(graph_of(model)).without(["L1H0"])])
        for model in (cpu, gpu)
    ]
    assert_close(ran[1].values, ran[0].values, atol=1e-4, rtol=1e-3)
    one, other = (patch_paths(model, _pairs(model), ["L2H0.k", "logits"]) for model in (cpu, gpu))
    assert_close(other.values, one.values, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("kind", FITS)
def test_a_probe_equals_the_cpus(kind: str) -> None:
    rows, _ = planted()
    on_gpu = replace(
        rows,
        activations={SITE: rows[SITE].cuda()},
        labels=rows.labels.cuda(),
        groups=rows.groups.cuda(),
        tokens=rows.tokens.cuda(),
        positions=rows.positions.cuda(),
    )
    here, there = (fit(kind, some, split(some.groups))[SITE] for some in (rows, on_gpu))
    scores = there.scores(on_gpu[SITE])
    assert scores.is_cuda
    close = 2e-2 if kind in ("logistic", "mlp") else 1e-4
    expected = here.scores(rows[SITE]).softmax(-1)
    assert_close(scores.cpu().softmax(-1), expected, atol=close, rtol=0)


def test_a_sweep_under_a_memory_cap_is_chunked(tiny_folder: Callable[[str], Path]) -> None:
    model = load(str(tiny_folder("gpt2")), device="cuda")
    pairs = _pairs(model, length=40)
    whole = sweep(model, pairs, "z", places="each")
    torch.cuda.empty_cache()
    held = torch.cuda.memory_reserved()
    capped = held + 64 * 2**20
    torch.cuda.set_per_process_memory_fraction(
        capped / torch.cuda.get_device_properties(0).total_memory
    )
    try:
        chunked = sweep(model, pairs, "z", places="each", memory=16 * 2**20)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert chunked.forwards > whole.forwards
    assert_close(chunked.values, whole.values, atol=1e-4, rtol=1e-3)


def test_at_gpt2_smalls_size_sweeps_fit_a_card_of_8_gb(tmp_path: Path) -> None:
    sizes = {"d_model": 768, "n_layers": 12, "n_heads": 12, "d_vocab": 50257}
    model = load(str(small.write(tmp_path, **sizes)), device="cuda")
    pairs = _pairs(model, length=128)
    card = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(min(1.0, 8 * 2**30 / card))
    try:
        every = Metric("own", lambda logits, wanted: logits.logsumexp(-1), at="all")
        for site, places in (("resid_pre", "each"), ("z", "all"), ("pattern", "all")):
            found = sweep(model, pairs, site, places=places, metric=every)
            assert found.values.isfinite().all()
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def test_batches_read_ahead_are_the_same(tmp_path: Path) -> None:
    rows = torch.randn(64, 6, 16)
    made = made_of(tmp_path, rows, text(64))
    drawn = [batch["1.resid_post"] for batch in shuffled(made, batch_size=50)]
    plain = (({"x": rows}, number) for number, rows in enumerate(drawn))
    for tensors, number in ahead(plain, torch.device("cuda", 0)):
        assert tensors["x"].is_cuda and torch.equal(tensors["x"].cpu(), drawn[number])


def test_the_same_training_twice_is_the_same() -> None:
    first, again = (NextTokenTraining(RECIPE, "cuda") for _ in range(2))
    for training in (first, again):
        for _ in zip(range(5), training.steps(), strict=False):
            pass
    for name, value in first.network.named_parameters():
        assert torch.equal(again.network.get_parameter(name), value), name


def test_one_step_of_training_equals_the_cpu() -> None:
    here, there = (NextTokenTraining(RECIPE, device) for device in ("cpu", "cuda"))
    for training in (here, there):
        training.bfloat16 = False
        next(training.steps())
    for name, value in here.network.named_parameters():
        there_value = there.network.get_parameter(name).cpu()
        # Adam's first step is the sign of a gradient: one near 0 may go either way.
        far = (there_value - value).abs() > 1e-4
        assert float(far.float().mean()) < 0.01, name
