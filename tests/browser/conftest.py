"""One dashboard, started as a user starts it, and one Chromium for all tests in this folder."""

from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from benchmarks import browser as plumbing
from benchmarks.browser import Dashboard, Seen

BY_HAND = "induction-by-hand"
PATIENCE = 60_000  # ms; the first picture waits for torch on busy cores

expect.set_options(timeout=PATIENCE / 2)

# Remembers the words that are painted on any canvas: they are not in the page's own text.
WORDS = """
window.painted = [];
const write = CanvasRenderingContext2D.prototype.fillText;
CanvasRenderingContext2D.prototype.fillText = function (text, ...rest) {
  window.painted.push(text);
  return write.call(this, text, ...rest);
};
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    if plumbing.chromium() is None:
        pytest.skip(f"no Chromium found; looked for {', '.join(plumbing.NAMES)}")
    with plumbing.browser() as found:
        yield found


@pytest.fixture(scope="session")
def server_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Without the real model, as on a first day."""
    return tmp_path_factory.mktemp("server-home")


@pytest.fixture(scope="session")
def server(
    chromium: Browser, server_home: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Dashboard]:
    with plumbing.dashboard(tmp_path_factory.mktemp("anywhere"), server_home) as running:
        yield running
    assert "Traceback" not in running.log.read_text(encoding="utf-8")


class User:
    """A browser context of its own, its current page, and what went over the wire."""

    def __init__(self, context: BrowserContext, address: str) -> None:
        context.set_default_timeout(PATIENCE)
        context.add_init_script(WORDS)
        self.seen: Seen = plumbing.watch(context)
        self.page: Page = context.new_page()
        self.address = address

    def open(self, page: str = "", /, **settings: str) -> None:
        query = f"?{urlencode(settings)}" if settings else ""
        self.page.goto(f"{self.address}/{page}{query}")

    def part(self, testid: str) -> Locator:
        return self.page.get_by_test_id(testid)

    def wait_for_picture(self) -> None:
        self.page.locator(".wb[data-drawn]").wait_for()

    def ask(self, prompt: str) -> None:
        """Type a prompt and send it."""
        box = self.page.get_by_label("Prompt", exact=True)
        box.fill(prompt)
        box.press("Control+Enter")

    def painted(self) -> set[str]:
        return set(self.page.evaluate("window.painted"))

    def wait_for_paint(self, word: str) -> None:
        self.page.wait_for_function("word => window.painted.includes(word)", arg=word)

    def click(self, testid: str, row: int, column: int) -> None:
        canvas = self.part(testid)
        canvas.click(position=plumbing.place(canvas, row, column))

    def wait_for_address(self, part: str) -> None:
        self.page.wait_for_url(lambda url: part in url)


NewUser = Callable[..., User]


@pytest.fixture
def new_user(chromium: Browser, server: Dashboard) -> Iterator[NewUser]:
    """(settings of the context) -> a user; at the end, none has asked for anything elsewhere."""
    users: list[tuple[BrowserContext, User]] = []

    def make(address: str = server.address, **settings) -> User:
        context = chromium.new_context(**{"viewport": {"width": 1280, "height": 800}, **settings})
        users.append((context, User(context, address)))
        return users[-1][1]

    yield make
    for context, _ in users:
        context.close()
    for _, user in users:
        assert not user.seen.foreign, "a request to another machine"
        assert not user.seen.faults


@pytest.fixture
def user(new_user: NewUser) -> User:
    return new_user()
