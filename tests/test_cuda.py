"""The same numbers on a CUDA device, and a store that serves both."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from workbench.cache import Store, capture
from workbench.hooks import Edit, run
from workbench.models import Model, load, resolve_device

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
