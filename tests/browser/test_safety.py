"""A prompt is only text, sessions do not mix, and only this machine is served."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import expect
from transformers import AutoTokenizer

from benchmarks.browser import Dashboard
from tests.websocket import handshake

from .conftest import BY_HAND, NewUser, User

IMAGE, BOLD = "<img src=x onerror=alert(1)>", "<b>the</b>"


@pytest.fixture(scope="session")
def html_folder(
    tiny_folder: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A model with tokens that are HTML."""
    folder = tmp_path_factory.mktemp("html") / "model"
    shutil.copytree(tiny_folder("gpt2"), folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens([IMAGE, BOLD])
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("page", ["attention", "lens"])
def test_a_prompt_with_html_is_text(user: User, html_folder: Path, page: str) -> None:
    user.open(page, model=str(html_folder), prompt=f"{IMAGE}{BOLD}{IMAGE}", follow=IMAGE)
    user.wait_for_picture()
    canvas = user.part("attention-zoom" if page == "attention" else "lens-table")
    canvas.hover()
    canvas.focus()
    canvas.press("ArrowLeft")
    canvas.press("Enter")
    told = user.page.locator(".wb").filter(has_text="<b>the" if page == "attention" else "<img src")
    expect(told).to_be_visible()
    assert any(word.startswith("<img") for word in user.painted())
    assert user.page.locator("img[src=x], .wb b, .wb img").count() == 0
    assert user.page.evaluate("performance.getEntriesByName(location.origin + '/x').length") == 0


@pytest.mark.parametrize("page", ["attribution", "attention"])
def test_charts_and_tables_of_html_are_text(user: User, html_folder: Path, page: str) -> None:
    asked = {"answer": BOLD, "wrong": IMAGE, "part": "L1H1", "circuits": "true"}
    user.open(page, model=str(html_folder), prompt=f"{IMAGE}{BOLD}{IMAGE}", **asked)
    user.page.locator(".js-plotly-plot .gtitle").last.wait_for()
    user.page.get_by_text("Export", exact=True).click()
    expect(user.page.get_by_test_id("stCode").first).to_contain_text("<img src=x onerror")
    if page == "attribution":
        expect(user.page.locator(".xtick").filter(has_text="<b>the</b>")).to_be_visible()
    assert user.page.locator("img[src=x], .js-plotly-plot b").count() == 0
    assert user.page.evaluate("performance.getEntriesByName(location.origin + '/x').length") == 0


@pytest.mark.parametrize("name", ["score", "model"])
def test_an_address_with_markdown_is_text(user: User, name: str) -> None:
    """Or a link could have the page fetch a picture from anywhere."""
    image = "![x](http://203.0.113.1/x.png)"
    user.open("attention", **{"model": BY_HAND, "prompt": "a b a", name: image})
    expect(user.page.get_by_test_id("stAlert")).to_contain_text("203.0.113.1/x.png")
    assert user.page.locator("img[src*='203']").count() == 0


def test_two_users_never_see_each_other(new_user: NewUser) -> None:
    letters = ("abcdef", "uvwxyz")
    users = [new_user() for _ in letters]
    for user in users:
        user.open("attention", model=BY_HAND)
    for turn in range(3):
        prompts = [" ".join(own[turn:] + own[turn:]) for own in letters]
        for user, prompt in zip(users, prompts, strict=True):
            user.ask(prompt)  # neither waits for the other
        for user, prompt in zip(users, prompts, strict=True):
            expect(user.part("attention-looks-at")).to_contain_text(f" ({2 * (6 - turn)}) looks at")
            assert prompt in user.page.get_by_label("Prompt", exact=True).input_value()
    for user, own, other in zip(users, letters, letters[::-1], strict=True):
        assert set(own) <= user.painted() and not set(other) & user.painted()
        received = b"".join(user.seen.frames)
        tokens = set(re.findall(rb'\[\\?"(\w)\\?", \\?"\'\w\'\\?"\]', received))
        assert tokens == {letter.encode() for letter in own}


def test_this_machine_is_served(server: Dashboard) -> None:
    assert handshake(server.port, Origin=server.address) == 101
    assert handshake(server.port, Host=f"localhost:{server.port}") == 101


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example"])
def test_a_foreign_host_is_refused(server: Dashboard, host: str) -> None:
    """What DNS rebinding looks like from here."""
    assert handshake(server.port, Host=host) == 403


@pytest.mark.parametrize("origin", ["http://evil.example", "https://127.0.0.1.evil.example"])
def test_a_foreign_origin_is_refused(server: Dashboard, origin: str) -> None:
    assert handshake(server.port, Origin=origin) == 403
