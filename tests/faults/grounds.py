"""The long jobs undisturbed: what each begins with, what it makes and in how many seconds."""

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from tests.faults.children import PATIENCE
from tests.faults.jobs import MADE, SAE, Job, Told, jobs, killed, moment, said, start, told, warm

JOBS = ("harvest", "train", "sae", "features")
_NEVER_PROMISED = ("manifest.json", "atlas.safetensors")  # no bar opens or ends after them


@dataclass(frozen=True)
class Ground:
    """`begun` is the folder that the job begins in; `whole` what it makes there."""

    job: Job
    begun: Path
    whole: dict[str, bytes]
    seconds: float

    def fresh(self, place: Path) -> Path:
        """A copy of what it begins with; `place` is for it and what is heard of it."""
        return Path(shutil.copytree(self.begun, place / "home"))

    def killed(self, place: Path, at: float) -> Path:
        """The folder of a job that was killed after a share of its time."""
        folder = self.fresh(place / f"{at}")
        if killed(self.job.command(folder), folder, at * self.seconds):
            return folder
        return self.killed(place, at / 2)  # it was faster than undisturbed


def make_grounds(place: Path, model: Path) -> dict[str, Ground]:
    """All jobs; the dictionary begins with the harvest, its features with both."""
    warm(model)
    text, nothing = place / "text.txt", place / "nothing"
    nothing.mkdir()
    text.write_text("\n".join(f"number {i} is {i * 7 % 31} or so.\n" for i in range(80)))
    every, found = jobs(model, text), {}

    def make(name: str, begun: Path) -> Path:
        folder = Path(shutil.copytree(begun, place / name / "home"))
        found[name] = _undisturbed(every[name], begun, folder)
        return Path(shutil.copytree(folder, place / f"after {name}"))

    make("train", nothing)
    trained = make("sae", make("harvest", nothing))
    (trained / SAE).parent.mkdir(exist_ok=True)
    (trained / MADE / "topk").rename(trained / SAE)
    shutil.rmtree(trained / MADE)
    make("features", trained)
    return found


def _undisturbed(job: Job, begun: Path, folder: Path) -> Ground:
    child = start(job.command(folder), folder)
    moment(child, folder, 0)
    started = time.monotonic()
    child.join(PATIENCE)
    seconds = time.monotonic() - started
    assert child.exitcode == 0, said(folder)
    whole = job.made(folder)
    _check_promised(job, told(folder), whole)
    return Ground(job, begun, whole, seconds)


def _check_promised(job: Job, heard: Told, whole: dict[str, bytes]) -> None:
    """Else nothing could be lost."""
    silent = [name for name in whole if not job.promised(heard, name)]
    assert whole and all(name.endswith(_NEVER_PROMISED) for name in silent), silent
