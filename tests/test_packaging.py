"""The wheel: everything that is needed outside the repository, and nothing else."""

import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

from tests.test_launch import free_port, started, wait_until_up
from tests.websocket import handshake

ROOT = Path(__file__).parent.parent
PACKAGES = ("workbench", "probes", "sae", "dashboards", "notebooks")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the wheel is unpacked, as pip does it; made of a copy of the sources."""
    sources, made, folder = (tmp_path_factory.mktemp(name) for name in ("src", "dist", "site"))
    for name in _tracked():
        (sources / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, sources / name)
    build = "from setuptools.build_meta import build_wheel; import sys; build_wheel(sys.argv[1])"
    subprocess.run(
        [sys.executable, "-c", build, str(made)], cwd=sources, check=True, capture_output=True
    )
    (wheel,) = made.glob("*.whl")
    with ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def _tracked() -> list[str]:
    """The files of the packages, and those that a build reads."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", *PACKAGES, "pyproject.toml", "README.md", "LICENSE"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    return [name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_every_file_of_the_packages_is_in_the_wheel(installed: Path):
    """Configuration, components, small models, data; notebooks are read in the repository."""
    expected = {name for name in _tracked() if "/" in name and not name.endswith(".ipynb")}
    found = {
        path.relative_to(installed).as_posix()
        for package in PACKAGES
        for path in (installed / package).rglob("*")
        if path.is_file()
    }
    assert found == expected


@pytest.fixture
def outside(installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder elsewhere with a new home; what is started there finds the wheel's files first."""
    for name, value in {"HOME": tmp_path, "PYTHONPATH": installed, "PYTHONSAFEPATH": 1}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.delenv("WORKBENCH_HOME")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    return tmp_path


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["-c", "import workbench, sae; print(workbench.__file__, sae.__file__)"], "site"),
        (["-m", "workbench", "models", "list"], "induction-2l"),
        (["-m", "workbench", "attention", "a b c a b", "--model", "induction-by-hand"], "L1H0"),
    ],
)
def test_it_runs_outside_the_repository(words: list[str], told: str, outside: Path):
    found = subprocess.run(
        [sys.executable, *words], cwd=outside, capture_output=True, text=True, check=True
    )
    assert told in found.stdout
    assert str(ROOT) not in found.stdout


def test_the_dashboard_opens_outside_the_repository(outside: Path):
    port = free_port()
    command = ("workbench", "dashboard", "--no-browser", "--port", str(port))
    with started(outside, *command) as process:
        wait_until_up(port, process)
        assert handshake(port) == 101
