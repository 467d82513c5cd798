"""The architecture holds: imports point one way, roots are lazy, names are not junk drawers."""

import subprocess
import sys
from pathlib import Path

import pytest
from importlinter import cli

ROOT = Path(__file__).parent.parent
PACKAGES = ("workbench", "probes", "sae", "dashboards")
SOURCES = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
PAGES = sorted((ROOT / "dashboards" / "views").glob("*.py"))


def test_imports_point_one_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert cli.lint_imports(no_cache=True, no_logo=True) == 0


@pytest.mark.parametrize(
    "statement",
    [
        "import workbench",
        "import workbench.figures",
        "import dashboards.app",
        "from workbench.__main__ import parser; parser()",
        "from workbench import runs, sites, registry",
    ],
)
def test_light_parts_load_no_heavy_library(statement: str) -> None:
    """In a fresh process, because this one has torch already."""
    heavy = "{'torch', 'transformer_lens', 'transformers'}"
    code = f"import sys; {statement}; print(*sorted({heavy} & set(sys.modules)))"
    loaded = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True
    )
    assert loaded.stdout.split() == []


def test_the_lazy_root_hands_out_every_name() -> None:
    import workbench

    for name in workbench.__all__:
        assert getattr(workbench, name).__module__.startswith("workbench.")
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        getattr(workbench, "nonsense")  # noqa: B009 (pyright knows it is not there)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_modules_stay_small(path: Path) -> None:
    assert path.stem not in {"utils", "helpers", "common", "types", "misc"}
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 300


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_pages_stay_thin(page: Path) -> None:
    assert len(page.read_text(encoding="utf-8").splitlines()) <= 100
