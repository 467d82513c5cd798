"""A sweep as independent jobs of a SLURM array: one dictionary for each number of active latents.

Needs `pip install submitit`. Where there is no SLURM the jobs run on this machine. What you add to
the command line goes to `workbench sae train`.
"""

import subprocess
import sys
from pathlib import Path

import submitit

FOLDER, ACTIVE = Path("trainings"), (16, 32, 64)


def train(k: int, more: list[str]) -> int:
    """One job is the command itself; a job that is started again goes on where it was."""
    out = FOLDER / f"k{k}"
    resume = ["--resume"] if out.exists() else []
    command = ["workbench", "sae", "train", "--k", str(k), "--out", str(out), *resume, *more]
    return subprocess.run([sys.executable, "-m", *command], check=False).returncode


if __name__ == "__main__":
    executor = submitit.AutoExecutor(FOLDER / "logs")
    executor.update_parameters(timeout_min=240, cpus_per_task=8, mem_gb=64, gpus_per_node=1)
    jobs = executor.map_array(train, ACTIVE, [sys.argv[1:]] * len(ACTIVE))
    sys.exit(max(job.result() for job in jobs))
