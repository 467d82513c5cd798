"""How often a harvest is killed is the caller's choice: `--fault-rounds`."""

import pytest


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "killed_round" in metafunc.fixturenames:
        rounds = metafunc.config.getoption("--fault-rounds")
        metafunc.parametrize("killed_round", range(int(rounds or 0)))
