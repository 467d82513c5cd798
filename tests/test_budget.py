"""The budget: what a harvest is said to cost is what it costs, and what does not fit is refused."""

import errno
import json
import os
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from tests.test_harvest import Rows, files
from tests.test_stream import corpus
from workbench.__main__ import main
from workbench.cache import Budget, Store, budget, carried_out, planned, predict, resources
from workbench.cache.locks import lock_folder
from workbench.cache.resources import Spent, give_back, resident, spending
from workbench.commands import output
from workbench.corpus import from_ids
from workbench.errors import InputError
from workbench.runs import kept

SITES = ["0.resid_post", "1.z"]
CPU = torch.device("cpu")
linux = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's /proc")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def test_disk_and_forwards_are_what_they_were_said_to_be(tiny, store) -> None:
    plan = planned(
        tiny("llama"), corpus(50, 32), SITES, store, dtype="bfloat16", batch=8, shard_contexts=20
    )
    said = predict(plan)
    assert said.forwards == 3 + 3 + 2
    assert {str(site): shape for site, shape in said.shapes.items()} == {
        "0.resid_post": (50, 32, 24),
        "1.z": (50, 32, 6, 4),
    }
    with Rows(tiny("llama")) as rows:
        harvested = carried_out(plan, said)
    assert rows == [8, 8, 4, 8, 8, 4, 8, 2]
    assert said.disk == pytest.approx(harvested.n_bytes, rel=0.02)
    assert store.size()[1] == pytest.approx(harvested.n_bytes, rel=0.02)


def test_only_what_is_missing_is_counted(tiny, store) -> None:
    plan = planned(tiny("llama"), corpus(50, 32), SITES, store, batch=8, shard_contexts=20)
    whole = predict(plan)
    harvested = carried_out(plan, whole)
    folder = harvested["1.z"].folder
    manifest = harvested["1.z"].manifest
    type(manifest)(manifest.key, manifest.about, manifest.shape, 20).write(folder)  # not whole
    (folder / "shard-00001.safetensors").unlink()
    said = predict(planned(tiny("llama"), corpus(50, 32), SITES, store, batch=8))
    assert [str(site) for site in said.shapes] == ["1.z"]
    assert said.forwards == 3
    assert said.disk == pytest.approx(whole.disk / 2 * 20 / 50, rel=0.02)


def test_nothing_is_left_of_a_prediction(tiny, store) -> None:
    predict(planned(tiny("gpt2"), corpus(), SITES, store))
    assert [path.name for path in store.folder.rglob("*")] == ["lensbench-store.json"]


def test_it_is_a_plain_value(tiny, store) -> None:
    said = predict(planned(tiny("gpt2"), corpus(), SITES, store))
    told = json.loads(json.dumps(said.to_json()))
    assert told["shapes"]["1.z"] == [11, 10, 3, 8]
    assert told["predicted"]["seconds"] > 0


@linux
def test_memory_is_measured_at_its_peak() -> None:
    """64 MB that are gone again, after more that was held before."""
    torch.ones(2**25)
    give_back()  # else what is held stays hidden in what the C library keeps
    before = resident(CPU).host
    with spending(CPU) as spent:
        torch.ones(2**24)
    assert 60e6 < spent.host - before < 80e6
    give_back()
    assert resident(CPU).host - before < 20e6


@linux
def test_memory_is_predicted(tiny, store) -> None:
    """Logits of 512 contexts: 40 MB, and what the forward takes."""
    text = from_ids("random", np.random.default_rng(0).integers(1, 260, (1024, 64)))
    plan = planned(tiny("gpt2"), text, "logits", store, dtype="bfloat16", batch=512)
    said = predict(plan)
    spent = carried_out(plan, said).spent
    assert said.predicted.host - said.held.host > 40e6
    assert said.predicted.host == pytest.approx(spent.host, rel=0.25)


# What does not fit

GB = 10**9


def made(**more) -> Budget:
    sizes = {"disk": 3 * GB, "predicted": Spent(0, 5 * GB, 1.0), "held": Spent(0, 2 * GB)}
    there = {"store_limit": 20 * GB, "store_holds": 0, "free_disk": 9 * GB, "free_host": 4 * GB}
    return Budget(**{**sizes, **there, "forwards": 1, "shapes": {}, "free_device": None, **more})


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"store_limit": 2 * GB}, r"takes 3\.0 GB of the store, but its limit is 2\.0 GB"),
        ({"free_disk": 2 * GB}, r"takes 3\.0 GB on disk, but 2\.0 GB are free"),
        ({"free_host": 2 * GB}, r"takes 3\.0 GB of memory, but 2\.0 GB are free"),
        (
            {"predicted": Spent(7 * GB, 5 * GB, 1.0), "free_device": 6 * GB},
            r"takes 7\.0 GB on the device, but 6\.0 GB are free",
        ),
        ({"free_disk": GB, "free_host": GB}, r"on disk, but .*; it takes 3\.0 GB of memory, but"),
        ({"free_disk": 0, "store_holds": 19 * GB}, r"on disk, but 2\.0 GB are free"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_numbers(more: dict, told: str) -> None:
    with pytest.raises(InputError, match=f"this harvest does not fit: .*{told}.*; take fewer"):
        made(**more).check()


def test_what_fits_is_not_refused() -> None:
    made().check()
    made(free_host=None).check()
    made(free_disk=0, store_holds=21 * GB).check()  # what is evicted makes room


def test_refused_before_it_starts(tiny, store, monkeypatch) -> None:
    plan = planned(tiny("gpt2"), corpus(), SITES, store)
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage(10**6, 10**6, 10))
    with pytest.raises(InputError, match=r"on disk, but 0\.0 MB are free"):
        carried_out(plan, predict(plan))
    monkeypatch.undo()
    store.limit = 1000
    with pytest.raises(InputError, match="of the store, but its limit is"):
        carried_out(plan, predict(plan))
    assert files(store) == {}


def test_a_batch_that_cannot_fit_is_not_run(tiny, store, monkeypatch) -> None:
    monkeypatch.setattr(budget, "free_host", lambda: -1)
    plan = planned(tiny("gpt2"), corpus(100), SITES, store, batch=64)
    told = r"a batch of 64 contexts of 10 tokens takes more than .* of memory, .* smaller batch"
    with Rows(tiny("gpt2")) as rows, pytest.raises(InputError, match=told):
        predict(plan)
    assert rows == [1]


def test_a_device_that_is_full_is_told(tiny, store, monkeypatch) -> None:
    def refuse(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(budget, "run", refuse)
    with pytest.raises(InputError, match="a batch of 1 contexts of 10 tokens does not fit on cpu"):
        predict(planned(tiny("gpt2"), corpus(), SITES, store))


def test_a_full_disk_is_told_by_the_trial(tiny, store, monkeypatch) -> None:
    def refuse(_) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(InputError, match="No space left on device"):
        predict(planned(tiny("gpt2"), corpus(), SITES, store))


def test_what_is_free() -> None:
    assert resources.free_disk(Path("/nowhere/at/all")) > 0
    assert resources.free_device(CPU) is None
    free = resources.free_host()
    assert free is None or free > 0


def test_a_containers_limit_is_seen(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(resources, "_GROUP", tmp_path)
    assert resources.free_host() != 7_000
    (tmp_path / "memory.max").write_text("10000\n")
    (tmp_path / "memory.current").write_text("5000\n")
    (tmp_path / "memory.stat").write_text("anon 3000\ninactive_file 2000\n")
    assert resources.free_host() == 7_000
    (tmp_path / "memory.max").write_text("max\n")
    assert resources.free_host() != 7_000


# The command


@pytest.fixture
def command(tmp_path: Path, monkeypatch, capsys):
    """`workbench harvest` of a text by the model by hand, in a home of its own."""
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(output, "console", Console(width=200))
    text = tmp_path / "letters.txt"
    text.write_text("a b c d e f g h " * 40)
    given = ["--model", "induction-by-hand", "--device", "cpu", "--n-ctx", "16"]

    def run(*more: str, code: int = 0) -> str:
        assert main(["harvest", str(text), "--sites", "0.z,1.resid_post", *given, *more]) == code
        out, err = capsys.readouterr()
        return out if code == 0 else err

    return run


def test_a_dry_run_tells_the_budget_alone(command, tmp_path) -> None:
    told = command("--dry-run")
    for word in ("budget: induction-by-hand", "disk", "memory", "time", "forwards"):
        assert word in told
    assert "outcome" not in told
    about = json.loads(command("--dry-run", "--json"))
    assert set(about["budget"]["shapes"]) == {"0.z", "1.resid_post"}
    assert "outcome" not in about
    assert not list((tmp_path / "home" / "store").rglob("*.safetensors"))
    assert kept() == []


def test_the_outcome_stands_beside_the_prediction(command) -> None:
    told = command("--dtype-stored", "bfloat16")
    for word in ("predicted", "was", "in the store", "1.resid_post", "bfloat16", "relative"):
        assert word in told
    (record,) = (record for _, record in kept())
    assert record.kind == "harvest"
    assert len(record.files) == 2
    assert len(record.arguments["corpus_digest"]) == 32
    assert "all of" in command("--dtype-stored", "bfloat16")


def test_the_outcome_as_json(command, capsys) -> None:
    told = json.loads(command("--json"))
    assert told["outcome"]["disk"] == pytest.approx(told["budget"]["disk"], rel=0.05)
    assert [one["site"] for one in told["sites"]] == ["0.z", "1.resid_post"]
    assert told["sites"][0]["relative error"] == 0
    assert main(["cache", "list"]) == 0
    listed = capsys.readouterr().out
    assert "letters.txt" in listed
    assert main(["cache", "list", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["site"] for row in rows} == {"0.z", "1.resid_post"}
    assert main(["cache", "verify"]) == 0
    assert "2 of 2 entries are sound" in capsys.readouterr().out


def test_prune(command, capsys, tmp_path) -> None:
    command()
    less = str((Store(tmp_path / "home" / "store").size()[1] - 1) / 1024**3)
    assert main(["cache", "prune"]) == 0
    assert "freed 0.0 MB in 0 entries" in capsys.readouterr().out
    assert main(["cache", "prune", "--to", less, "--json"]) == 0
    freed = json.loads(capsys.readouterr().out)
    assert (freed["entries"], freed["in_use"]) == (1, [])
    assert main(["cache", "prune", "--to", "0"]) == 0
    assert "in 1 entries; 0.0 MB are left" in capsys.readouterr().out
    assert main(["cache", "list"]) == 0
    assert "is empty; `workbench capture` and" in " ".join(capsys.readouterr().out.split())


def test_prune_tells_what_is_in_use(command, capsys, tmp_path) -> None:
    command("--max-tokens", "64")
    folders = list((tmp_path / "home" / "store" / "harvests").iterdir())
    with lock_folder(folders[0], shared=True) or pytest.fail("not locked"):
        assert main(["cache", "prune", "--to", "0"]) == 0
    told = "".join(capsys.readouterr().out.split())
    assert f"kept{folders[0]}:aprocessreadsorwritesit" in told


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--batch", "0"], "--batch takes a whole number from 1"),
        (["--sites", "1.resid_pots"], "did you mean resid_post"),
        (["--sites", "1.mlp_out"], "this model has no site '1.mlp_out'; it has "),
        (["--dtype-stored", "int8"], "dtype 'int8' is not one of float32, bfloat16, float16"),
        (["--store-limit", "0.000001"], "this harvest does not fit: it takes "),
    ],
)
def test_a_mistake_is_one_line(command, more: list[str], told: str) -> None:
    (line,) = (line for line in command(*more, code=2).splitlines() if line.strip())
    assert line.startswith("workbench: ")
    assert told in line
    assert kept() == []


def test_a_prune_to_no_size_is_told(command, capsys) -> None:
    assert main(["cache", "prune", "--to", "-1"]) == 2
    assert "--to -1 is no size" in capsys.readouterr().err
