"""A dashboard started as a user starts it, and a Chromium to look at it with.

For `benchmarks.pages` and `tests/browser` alike.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import (
    Browser,
    BrowserContext,
    Dialog,
    Locator,
    Page,
    Position,
    sync_playwright,
)

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
LOCAL = {"127.0.0.1", "localhost"}
# Streamlit looks for these beside a sub-page that is opened by its address; harmless.
MISSING = re.compile(r"/_stcore/(health|host-config)$")


def chromium() -> str | None:
    """The path of an installed Chromium, or None."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclass(frozen=True)
class Dashboard:
    """A running dashboard: its address, its process and what it has written."""

    address: str
    port: int
    process: subprocess.Popen[bytes]
    log: Path


@contextmanager
def dashboard(cwd: Path, home: Path) -> Iterator[Dashboard]:
    """`workbench dashboard` run in the folder `cwd`, up; ended by Ctrl-C."""
    port, log = free_port(), cwd / "dashboard.log"
    with log.open("wb") as written:
        process = subprocess.Popen(
            [sys.executable, "-m", "workbench", "dashboard", "--no-browser", "--port", str(port)],
            cwd=cwd,
            env={**os.environ, "WORKBENCH_HOME": str(home), "PYTHONWARNINGS": "default"},
            stdin=subprocess.DEVNULL,
            stdout=written,
            stderr=written,
            start_new_session=True,
        )
    try:
        wait_until_up(port, process)
        yield Dashboard(f"http://127.0.0.1:{port}", port, process, log)
    finally:
        end(process)


def wait_until_up(port: int, process: subprocess.Popen[bytes], seconds: float = 60) -> None:
    """Return once the server on `port` answers; `RuntimeError` if it ends or takes too long."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and process.poll() is None:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=2).close()
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
        else:
            return
    raise RuntimeError(f"no dashboard on port {port} (exit code {process.poll()})")


def end(process: subprocess.Popen[bytes]) -> None:
    """Killed if asking is not enough. What a shell runs in the background would ignore SIGINT."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(20)  # it gives Streamlit ten seconds
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def browser() -> Iterator[Browser]:
    """A headless Chromium."""
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        try:
            yield found
        finally:
            found.close()


@dataclass
class Seen:
    """What a context's pages asked for and complained about."""

    urls: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    frames: list[bytes] = field(default_factory=list)
    """what came over websockets"""

    @property
    def foreign(self) -> list[str]:
        """Requests to another machine."""
        return [
            url
            for url in self.urls
            if urlsplit(url).scheme not in ("data", "blob") and urlsplit(url).hostname not in LOCAL
        ]


def watch(context: BrowserContext) -> Seen:
    """Collect what all pages of `context` do from now on."""
    seen = Seen()

    def on_page(page: Page) -> None:
        page.on("pageerror", lambda error: seen.faults.append(f"error: {error}"))
        page.on("dialog", on_dialog)
        page.on("websocket", on_socket)

    def on_dialog(box: Dialog) -> None:
        seen.faults.append(f"dialog: {box.message}")
        box.dismiss()

    def on_socket(websocket) -> None:
        seen.urls.append(websocket.url)
        websocket.on(
            "framereceived",
            lambda frame: seen.frames.append(frame.encode() if isinstance(frame, str) else frame),
        )

    def on_console(message) -> None:
        if message.type == "error" and not MISSING.search(message.location.get("url", "")):
            seen.faults.append(f"console: {message.text} ({message.location.get('url')})")

    context.on("request", lambda request: seen.urls.append(request.url))
    context.on("console", on_console)
    context.on("page", on_page)
    return seen


def place(canvas: Locator, row: int, column: int) -> Position:
    """The middle of a canvas' cell, as its data attributes tell; `row` is counted from the top."""
    data = canvas.evaluate(
        "canvas => ({...canvas.dataset, gone: canvas.closest('.scroller')?.scrollLeft ?? 0})"
    )
    left, top, width, height, gone = (
        float(data[name]) for name in ("left", "top", "cellWidth", "cellHeight", "gone")
    )
    return {"x": left - gone + (column + 0.5) * width, "y": top + (row + 0.5) * height}
