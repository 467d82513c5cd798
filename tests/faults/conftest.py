"""How many rounds are drawn (`--fault-rounds`), the jobs, and the report at the end."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.grounds import JOBS, Ground, make_grounds
from tests.faults.report import TALLY, Tally


@pytest.fixture(scope="session")
def grounds(
    tiny_folder: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Ground]:
    return make_grounds(tmp_path_factory.mktemp("undisturbed"), tiny_folder("llama"))


@pytest.fixture(params=JOBS)
def ground(request: pytest.FixtureRequest, grounds: dict[str, Ground]) -> Ground:
    return grounds[request.param]


@pytest.fixture(scope="session")
def tally() -> Tally:
    return TALLY


@pytest.fixture(scope="session")
def few(request: pytest.FixtureRequest) -> int:
    """How many moments are drawn for each job, of faults that are not rounds of their own."""
    return max(1, int(request.config.getoption("--fault-rounds") or 0) // 5)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "killed_round" in metafunc.fixturenames:
        rounds = metafunc.config.getoption("--fault-rounds")
        metafunc.parametrize("killed_round", range(int(rounds or 0)))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if TALLY.lines:
        terminalreporter.section("faults")
        for row in TALLY.table():
            terminalreporter.write_line(row)
