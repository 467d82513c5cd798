"""What `mkdocs` finds outside of `docs`: the README, the changelog, the course, the API reference.

A hook of mkdocs.yml. Links are written for who reads the repository, and lead on here to where a
file lies in the site.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from pymdownx.slugs import slugify

from notebooks.committed import notebooks, read
from notebooks.course import html

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
MOVED = {ROOT / "README.md": "index.md", ROOT / "CHANGELOG.md": "changelog.md"}
PACKAGES = ("workbench", "probes", "sae")
INSIDE = {"__main__", "plugin", "commands", "claims", "science"}  # reached by the command line
_LINK = re.compile(r'(?<=\]\()[^)\s:#]+|(?<=src=")[^":]+|(?<=srcset=")[^":]+')


def on_config(config: MkDocsConfig) -> None:
    """The same anchors as on a page of the repository; the reference at the end of the nav."""
    config.mdx_configs["toc"]["slugify"] = slugify(case="lower")
    assert config.nav is not None
    config.nav.append({"API": [{one: [_entry(name) for name in names(one)]} for one in PACKAGES]})


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Pages for what has none in `docs`."""
    for path, place in MOVED.items():
        files.append(File.generated(config, place, content=path.read_text(encoding="utf-8")))
    for path in notebooks():
        files.append(File.generated(config, _place(path), content=html(read(path))))
    for name in (name for package in PACKAGES for name in names(package)):
        page = f"# `{name}`\n\n::: {name}\n"
        files.append(File.generated(config, _entry(name)[name], content=page))


def on_page_markdown(markdown: str, page: Page, **_) -> str:
    """Links as the site has them."""
    place = page.file.src_uri
    source = next((path for path, moved in MOVED.items() if moved == place), DOCS / place)
    return _LINK.sub(lambda link: _led(link[0], source.parent, place), markdown)


def names(package: str) -> Iterator[str]:
    """What of a package is for others: itself if it hands out names, else its modules."""
    yield from _public(ROOT / package)


def _public(folder: Path) -> Iterator[str]:
    whole = "__all__ = " in (folder / "__init__.py").read_text(encoding="utf-8")
    if whole:
        yield _dotted(folder)
    for path in sorted(folder.iterdir()):
        if path.stem in INSIDE or path.stem.startswith("_"):
            continue
        if (path / "__init__.py").is_file():
            yield from _public(path)
        elif path.suffix == ".py" and (not whole or folder.parent == ROOT):
            yield _dotted(path)


def _dotted(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def _entry(name: str) -> dict[str, str]:
    return {name: f"api/{name}.md"}


def _place(path: Path) -> str:
    """Where a file of the repository lies in the site."""
    if path in MOVED:
        return MOVED[path]
    if path.suffix == ".ipynb":
        return f"course/{path.stem}.html"
    return os.path.relpath(path / "index.md" if path.is_dir() else path, DOCS)


def _led(link: str, folder: Path, place: str) -> str:
    target = Path(os.path.normpath(folder / link))
    return os.path.relpath(_place(target), Path(place).parent) if target.exists() else link
