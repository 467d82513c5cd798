"""The examples of docs/your-own, each page done from nothing, as a reader would.

What a page shows as output is what came: `...` stands for anything, spaces may differ. Output that
begins with `workbench: ` is a refusal, of exit code 2.
"""

import doctest
import os
import re
import shlex
import subprocess
import sys
import tomllib
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from itertools import groupby
from pathlib import Path

import pytest

PAGES = sorted((Path(__file__).parent.parent / "docs" / "your-own").glob("*.md"))
_STEP = re.compile(
    r"^```(python|bash|toml)\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL
)
_FILE = re.compile(r"# file: (\S+)\n")
_ALIKE = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
_REFUSED = "workbench: "


def steps(page: Path) -> list[tuple[str, str, str]]:
    """Language, block and the output shown below it, if any."""
    return _STEP.findall(page.read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_example_runs(page: Path, tmp_path: Path) -> None:
    """In a process, folder and home of its own."""
    (work := tmp_path / "work").mkdir()
    root = Path(__file__).parent.parent
    surroundings = {
        "WORKBENCH_HOME": str(tmp_path / "home"),
        "PYTHONPATH": f"{work}:{root}",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "100",
    }
    found = subprocess.run(
        [sys.executable, "-W", "ignore", __file__, str(page)],
        cwd=work,
        env=os.environ | surroundings,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert found.returncode == 0, found.stderr[-6000:]
    assert found.stdout == "to the end\n", "a step ended the process"


def test_every_page_has_an_example() -> None:
    assert [page.stem for page in PAGES if not steps(page)] == ["index"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_output_is_of_a_block(page: Path) -> None:
    shown = page.read_text(encoding="utf-8").count("```text\n")
    assert shown == sum(1 for *_, output in steps(page) if output)


def follow(page: Path) -> None:
    """Do all steps in this process: a new one needs five seconds for each command."""
    names: dict[str, object] = {}
    for language, text, shown in steps(page):
        with redirect_stdout(StringIO()) as said, redirect_stderr(said):
            code = _do(language, text, names)
        expected = 2 if shown.startswith(_REFUSED) else 0
        assert code == expected, f"exit code {code}\n{text}\n{said.getvalue()}"
        alike = not shown or doctest.OutputChecker().check_output(shown, said.getvalue(), _ALIKE)
        assert alike, f"{text}\nshows\n{shown}\nbut says\n{said.getvalue()}"


def _do(language: str, text: str, names: dict[str, object]) -> int:
    if named := _FILE.match(text):
        Path(named[1]).write_text(text[named.end() :], encoding="utf-8")
    elif language == "python":
        exec(compile(text, "page", "exec"), names)
    else:
        return _shell(text)
    return 0


def _shell(text: str) -> int:
    """The exit code of the first lines that fail, or 0."""
    lines = text.replace("\\\n", " ").splitlines(keepends=True)
    for ours, group in groupby(lines, key=lambda line: line.startswith("workbench ")):
        some = list(group)
        codes = [_workbench(line) for line in some] if ours else [_bash("".join(some))]
        if any(codes):
            return max(codes)
    return 0


def _workbench(line: str) -> int:
    from workbench.__main__ import main

    try:
        return main(shlex.split(line)[1:])
    except SystemExit as ended:  # argparse's, after its help or a refusal
        return int(ended.code or 0)


def _bash(text: str) -> int:
    if "pip install -e .\n" in text:
        _install()
        text = text.replace("pip install -e .\n", "")
    found = subprocess.run(["bash", "-e"], input=text, capture_output=True, text=True, check=False)
    print(found.stdout, found.stderr, sep="", end="")  # noqa: T201
    return found.returncode


def _install() -> None:
    """What pip leaves of the pyproject.toml here: its entry points. It would fetch setuptools."""
    told = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    info = Path(f"{told['name'].replace('-', '_')}-{told['version']}.dist-info")
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {told['name']}\nVersion: 1\n")
    lines = []
    for group, named in told["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {value}" for name, value in named.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    follow(Path(sys.argv[1]))
    print("to the end")  # noqa: T201
