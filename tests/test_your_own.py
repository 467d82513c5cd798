"""The examples of docs/your-own, each page run from nothing, as a reader would."""

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

PAGES = sorted((Path(__file__).parent.parent / "docs" / "your-own").glob("*.md"))
_BLOCK = re.compile(r"^```(python|bash|toml)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"# file: (\S+)\n")


def blocks(page: Path) -> list[tuple[str, str]]:
    return [(found[1], found[2]) for found in _BLOCK.finditer(page.read_text(encoding="utf-8"))]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder and home; `workbench` and `python` are this environment's."""
    (tmp_path / "bin").mkdir()
    for name, words in {"workbench": " -m workbench", "python": ""}.items():
        script = tmp_path / "bin" / name
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}"{words} "$@"\n')
        script.chmod(0o755)
    pip = tmp_path / "bin" / "pip"
    pip.write_text("#!/bin/sh\n")  # see `_installed`
    pip.chmod(0o755)
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PYTHONPATH", f"{work}:{Path(__file__).parent.parent}")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    yield work


def _installed(folder: Path) -> None:
    """What `pip install -e .` leaves of a pyproject.toml: its entry points."""
    told = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    info = folder / f"{told['name'].replace('-', '_')}-{told['version']}.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {told['name']}\nVersion: 1\n")
    lines = []
    for group, named in told["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {value}" for name, value in named.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")


def _run(words: list[str], folder: Path, text: str) -> None:
    found = subprocess.run(
        words, cwd=folder, input=text, capture_output=True, text=True, timeout=300
    )
    assert found.returncode == 0, f"{text}\n{found.stdout[-1500:]}\n{found.stderr[-3000:]}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_example_runs(page: Path, folder: Path) -> None:
    """Blocks in their order; Python blocks go on where the last one stopped."""
    said = ""
    for kind, text in blocks(page):
        if named := _FILE.match(text):
            (folder / named[1]).write_text(text[named.end() :])
        elif kind == "bash":
            if "pip install -e ." in text:
                _installed(folder)
            _run(["bash", "-e"], folder, text)
        else:
            said += text
            _run([sys.executable, "-W", "ignore", "-"], folder, said)


def test_every_page_has_an_example() -> None:
    assert [page.stem for page in PAGES if not blocks(page)] == ["index"]
