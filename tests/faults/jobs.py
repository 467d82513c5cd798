"""The four long jobs as commands in a child of their own: what they make, say and promise.

What a job's bar counted is taken down line by line, outside of the job's folder: it is what the
user was told, and must be there after whatever happens.
"""

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, redirect_stderr
from contextlib import redirect_stdout as redirect
from dataclasses import dataclass
from functools import cache, partial
from importlib import import_module
from multiprocessing import Process
from pathlib import Path

from jaxtyping import config

from sae.atlas import ATLAS
from sae.checkpoint import STATE
from sae.commands.sae_features import ACTIVITY, RULES
from tests.faults.children import PATIENCE, forked
from workbench.__main__ import main, parser
from workbench.cache import plan
from workbench.carded import read_card
from workbench.commands import options
from workbench.models import Model, load
from workbench.training import run

Told = Mapping[str, tuple[int, int]]
Around = Callable[[Path], AbstractContextManager[object]]

N_CTX, MADE, SAE = 16, "made", "saes/topk"
_EACH = 4  # contexts in a shard
_STEPS, _SAVES = 150, 50  # a checkpoint every third step; rungs of the ladder fall between
# What commands import late; loaded before the fork, so that no child has to.
WARM = (
    *("workbench.labs.grokking.recipe", "sae.run", "sae.budget", "sae.samples", "sae.saved"),
    *("sae.rules", "workbench.corpus.opening", "workbench.models.small"),
)


@dataclass(frozen=True)
class Job:
    """`arguments` are a command's; of what it makes, `results` are compared bit for bit.

    `promised` says of a result's name whether the bars have counted it. A training has a
    checkpoint every `each` steps.
    """

    name: str
    arguments: tuple[object, ...]
    results: tuple[str, ...]
    promised: Callable[[Told, str], bool]
    each: int = 0

    def command(self, folder: Path) -> list[str]:
        out = () if not self.each else ("--folder" if self.name == "train" else "--out",)
        more = ["--resume"] if self.each and (folder / MADE / STATE).exists() else []
        ends = [*out, folder / MADE] if out else []
        put = [folder / SAE if one == SAE else one for one in self.arguments]
        return [*map(str, [*put, *ends, "--json"]), *more]

    def made(self, folder: Path) -> dict[str, bytes]:
        """The numbers of each result that is there."""
        return {
            str(path.relative_to(folder)): _numbers(path)
            for pattern in self.results
            for path in sorted(folder.glob(pattern))
        }

    def checkpoints(self, folder: Path, told: Told) -> tuple[int, int]:
        """How many were counted, and how many of those are lost."""
        if not self.each:
            return 0, 0
        counted = max(
            (n for what, (n, _) in told.items() if what.startswith("training")), default=0
        )
        path = folder / MADE / STATE
        kept = read_card(path, what="checkpoint")["done"] if path.exists() else 0
        return counted // self.each, max(0, counted // self.each - kept // self.each)


def _numbers(path: Path) -> bytes:
    """A file's bytes; without the header where that says when it was made, or how long it took."""
    content = path.read_bytes()
    if path.suffix != ".safetensors" or path.name.startswith("shard-"):
        return content
    return content[8 + int.from_bytes(content[:8], "little") :]


def _shards(told: Told, name: str) -> bool:
    done, total = told.get("harvesting", (0, 0))
    if not name.endswith(".safetensors"):  # the manifest has their marks once all are there
        return False
    return 0 < total == done or int(name[-17:-12]) < done // _EACH


def _models(told: Told, name: str) -> bool:
    done, total = told.get("training grokking", (0, 0))
    return total > 0 and (total if "/model/" in name else int(name.split("/")[-2])) <= done


def _dictionaries(told: Told, name: str) -> bool:
    if name.startswith("store"):
        return True
    return any(0 < n == total for what, (n, total) in told.items() if what.startswith("training"))


def _files(told: Told, name: str) -> bool:
    """What was there before; and both files before the bar opens that comes after them."""
    if name.endswith((ACTIVITY, RULES)):
        return "latents of random directions" in told
    return not name.endswith(ATLAS)


def jobs(model: Path, text: Path) -> dict[str, Job]:
    shared = ("--model", model, "--device", "cpu", "--n-ctx", N_CTX, "--threads", 1)
    site = ("--corpus", text, "--site", "1.resid_post")
    small = [f"--set={knob}" for knob in ("p=5", "d_model=8", "heads=2", "d_mlp=16")]
    harvests = tuple(
        f"store/harvests/*/{name}" for name in ("shard-*.safetensors", "manifest.json")
    )
    weights = "sae_weights.safetensors"
    found = (
        Job(
            "harvest",
            ("harvest", text, *shared, "--sites", "*.resid_post,1.mlp_post", "--batch", 2),
            harvests,
            _shards,
        ),
        Job(
            "train",
            ("train", "grokking", *small, "--set=every=4", "--steps", _STEPS, *shared[2:4],
             *shared[6:]),
            (f"{MADE}/ladder/*/model.safetensors", f"{MADE}/model/model.safetensors"),
            _models,
            _STEPS // _SAVES,
        ),
        Job(
            "sae",
            ("sae", "sweep", *shared, *site, "--kind", "topk,batchtopk", "--width", 96, "--k", 4,
             "--steps", 80, "--batch", 128, "--dead-after", 512, "--resample", 9),
            (*harvests, f"{MADE}/*/{weights}"),
            _dictionaries,
            5,
        ),
        Job(
            "features",
            ("sae", "features", SAE, *shared[:4], *shared[6:], "--random", 3),
            (*harvests, f"{SAE}/*.safetensors", f"{SAE}/{RULES}"),
            _files,
        ),
    )  # fmt: skip
    return {job.name: job for job in found}


def warm(model: Path) -> None:
    loaded(str(model))
    parser()
    for name in WARM:
        import_module(name)


@cache
def loaded(model: str) -> Model:
    """Once for all children: nothing here is about loading."""
    return load(model, device="cpu")


def start(command: list[str], folder: Path, around: Around = nullcontext) -> Process:
    """A child that does it, with `folder` for its home and `around` it whatever may happen."""
    (child,) = forked(partial(_run, command, folder, around))
    return child


def ended(command: list[str], folder: Path, around: Around = nullcontext) -> int:
    """Do it to the end; its exit status."""
    child = start(command, folder, around)
    child.join(PATIENCE)
    assert child.exitcode is not None, f"{command} still runs after {PATIENCE} s"
    return child.exitcode


def _run(command: list[str], folder: Path, around: Around) -> None:
    os.environ["WORKBENCH_HOME"] = str(folder)
    config.update("jaxtyping_disable", True)  # as users run it
    plan.SHARD_TOKENS, run._SAVES = _EACH * N_CTX, _SAVES
    with (
        (folder.parent / "said").open("w") as said_now,
        (folder.parent / "told").open("ab", buffering=0) as told_now,
        redirect(said_now),
        redirect_stderr(said_now),
    ):
        options.bar = partial(_bar, told_now)
        options.open_model = lambda arguments: loaded(arguments.model)
        status = 1
        try:
            with around(folder):
                status = main(command)
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # the command is over
        except KeyboardInterrupt:  # so it was by then
            pass
        except Exception:
            traceback.print_exc()
    sys.exit(status)


@contextmanager
def _bar(told_now, what: str) -> Iterator[Callable[[int, int], None]]:
    told_now.write(f"{what}\t0\t0\n".encode())
    yield lambda done, total: told_now.write(f"{what}\t{done}\t{total}\n".encode()) and None


def said(folder: Path) -> str:
    """What the last command printed."""
    return (folder.parent / "said").read_text()


def told(folder: Path) -> Told:
    """By bar: the most that was counted, of how many; over all of a folder's commands."""
    path, found = folder.parent / "told", {}
    for line in path.read_text().splitlines() if path.exists() else ():
        what, done, total = line.split("\t")
        found[what] = max(found.get(what, (0, 0)), (int(done), int(total)))
    return found


def killed(command: list[str], folder: Path, seconds: float) -> bool:
    """Do it for so long, then kill -9; whether it had not ended by then."""
    child = start(command, folder)
    alive = moment(child, folder, seconds)
    child.kill()
    child.join()
    assert alive or child.exitcode == 0, said(folder)
    return alive


def moment(child: Process, folder: Path, seconds: float) -> bool:
    """Wait for a first sign of progress and `seconds` more; whether it still runs."""
    path = folder.parent / "told"
    before = path.stat().st_size if path.exists() else 0
    while child.is_alive() and not (path.exists() and path.stat().st_size > before):
        child.join(0.0005)
    deadline = time.monotonic() + seconds
    while child.is_alive() and time.monotonic() < deadline:
        child.join(max(0, deadline - time.monotonic()))
    return child.is_alive()
