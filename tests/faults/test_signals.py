"""Ctrl-C and a request to end: each job stops at once, and goes on from there."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.faults.children import PATIENCE
from tests.faults.grounds import Ground
from tests.faults.jobs import MADE, STATE, moment, said, start
from tests.faults.report import Tally, check_goes_on, check_promises
from workbench.__main__ import main

STATUS = {signal.SIGINT: 130, signal.SIGTERM: -signal.SIGTERM}


@pytest.mark.parametrize("sent", STATUS, ids=lambda sent: sent.name)
def test_a_signal_leaves_what_goes_on(
    sent: signal.Signals, ground: Ground, tmp_path: Path, tally: Tally, few: int
) -> None:
    drawn = random.Random(sent)
    for number in range(few):
        folder, struck, at = None, False, drawn.random()
        with tally.fault(sent.name, ground.job.name) as line:
            while not struck:
                folder = ground.fresh(tmp_path / f"{number} {at}")
                child = start(ground.job.command(folder), folder)
                struck, at = moment(child, folder, at * ground.seconds), at / 2
                if struck and child.pid:
                    os.kill(child.pid, sent)
                child.join(10)
                assert child.exitcode in ((STATUS[sent], 0) if struck else (0,)), said(folder)
            assert folder and "Traceback" not in said(folder)
            check_promises(line, ground, folder)
            check_goes_on(ground, folder)


def test_control_c_as_a_user_gives_it(
    grounds: dict[str, Ground], tmp_path: Path, tally: Tally
) -> None:
    """In an interpreter of its own, nothing patched."""
    ground = grounds["train"]
    folder = ground.fresh(tmp_path)
    state = folder / MADE / STATE
    with tally.fault("SIGINT", "train, as started by hand") as line:
        child = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "workbench", *ground.job.command(folder)],
            env={**os.environ, "OMP_NUM_THREADS": "1", "WORKBENCH_HOME": str(folder)},
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        deadline = time.monotonic() + PATIENCE
        while child.poll() is None and not state.exists() and time.monotonic() < deadline:
            time.sleep(0.002)
        child.send_signal(signal.SIGINT)
        _, told = child.communicate(timeout=PATIENCE)
        assert (child.returncode, told) in ((130, "workbench: interrupted\n"), (0, ""))
        line.expect(1, int(not state.exists()))
        check_goes_on(ground, folder)


def test_control_c_inside_of_torch(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where it strikes there, torch may say that it could not determine the shape of something."""

    def torch_does(*_: object, **__: object) -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise ValueError("could not determine the shape") from None

    # What a shell starts in the background inherits a SIGINT that is ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    monkeypatch.setattr("workbench.models.loading.resolve_device", torch_does)
    assert main(["lens", "a b", "--model", "induction-by-hand"]) == 130
    assert capsys.readouterr().err.strip() == "workbench: interrupted"
    assert signal.signal(signal.SIGINT, before) is signal.default_int_handler
