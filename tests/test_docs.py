"""The documentation: links lead somewhere, the site has every page, and what it names exists."""

import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from workbench.__main__ import parser
from workbench.registry import listed

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]
FENCED = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"(?<=\n\n)(?: {4}.*\n| {6,}.*\n)+")
CODE = re.compile(r"`[^`\n]+`")
LINK = re.compile(r'\]\(([^)\s]+)\)|(?:src|srcset|href)="([^"]+)"')
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def prose(page: Path) -> str:
    """A page without its blocks of code."""
    return INDENTED.sub("", FENCED.sub("", page.read_text(encoding="utf-8")))


def lines(page: Path) -> Iterator[str]:
    """The lines of a page's blocks of commands, those that go on in the next one joined."""
    text = page.read_text(encoding="utf-8")
    blocks = [body for language, body in FENCED.findall(text) if language in ("", "sh", "bash")]
    for block in [*blocks, *INDENTED.findall(FENCED.sub("", text))]:
        yield from (line.strip() for line in block.replace("\\\n", " ").splitlines())


def anchors(page: Path) -> set[str]:
    """The headings as GitHub makes anchors of them."""
    headings = re.findall(r"^#+ (.+)$", FENCED.sub("", page.read_text("utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in headings}


@each_page
def test_links_lead_somewhere(page: Path) -> None:
    for link in (one or other for one, other in LINK.findall(CODE.sub("", prose(page)))):
        if re.match(r"https?://", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{link} leads nowhere"
        assert not anchor or anchor in anchors(target), f"{link}: no such heading"


def test_the_site_has_every_page() -> None:
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    written = {page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")}
    assert sorted(_pages(nav)) == sorted({*written, "index.md", "changelog.md"})


def _pages(nav: object) -> Iterator[str]:
    if isinstance(nav, str):
        yield nav
    for one in nav.values() if isinstance(nav, dict) else nav if isinstance(nav, list) else ():
        yield from _pages(one)


@each_page
def test_what_is_made_can_be_made(page: Path) -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = re.findall(r"`make ([a-z0-9-]+)", prose(page))
    named += [line.split()[1] for line in lines(page) if line.startswith("make ")]
    assert set(named) <= targets


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if page.parent.name != "your-own"],  # run by `test_your_own`
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_commands_exist(page: Path) -> None:
    """In the text by name; in blocks with every option, up to what stands for more of them."""
    named = set(re.findall(r"`workbench ([a-z]+)", prose(page)))
    assert named <= set(listed("commands"))
    for line in lines(page):
        if found := re.match(r"(?:\.venv/bin/)?workbench (?!:)(.+)", line):
            words = shlex.split(found[1].split(" | ")[0].replace("...", ""), comments=True)
            parser().parse_args(words)


def test_images_are_small() -> None:
    """In light and dark; `python -m docs.screenshots` makes them."""
    images = {path.name: path.stat().st_size for path in (DOCS / "images").glob("*.png")}
    assert images and max(images.values()) <= 150_000
    assert {name.replace("-light", "-dark") for name in images if "-light" in name} == {
        name for name in images if "-dark" in name
    }


def test_the_picture_of_imports_is_the_contract() -> None:
    configured = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    packages, inside = configured["tool"]["importlinter"]["contracts"][:2]
    picture = FENCED.findall((DOCS / "architecture.md").read_text(encoding="utf-8"))[0][1]
    drawn = [line[13:] for line in picture.splitlines() if line]
    assert drawn == [*packages["layers"], *inside["layers"]]
