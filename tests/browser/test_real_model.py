"""The first example with the real model: its induction heads are found."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from benchmarks.browser import Dashboard, dashboard
from workbench.errors import InputError
from workbench.models.catalogue import SMOLLM2

from .conftest import NewUser

pytestmark = pytest.mark.real_model


@pytest.fixture(scope="module")
def real(
    chromium: Browser, users_home: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Dashboard]:
    """A dashboard that has the user's copy of the real model."""
    assert SMOLLM2.install is not None
    folder = users_home / "models" / "smollm2-135m"
    try:
        SMOLLM2.install(folder, say=lambda _: None)
    except InputError as error:
        pytest.skip(f"smollm2-135m cannot be fetched here: {error}")
    home = tmp_path_factory.mktemp("real-home")
    (home / "models").mkdir()
    (home / "models" / folder.name).symlink_to(folder)
    with dashboard(tmp_path_factory.mktemp("real"), home) as running:
        yield running
    assert "Traceback" not in running.log.read_text(encoding="utf-8")


def test_induction_heads_from_home(new_user: NewUser, real: Dashboard) -> None:
    user = new_user(address=real.address)
    user.open()
    card = user.page.get_by_test_id("stVerticalBlock").filter(has_text="Induction on random tokens")
    card.last.get_by_role("link", name="Open in Attention").click()
    best = user.page.get_by_test_id("stMarkdown").filter(has_text="Top by induction")
    expect(best).to_be_visible(timeout=180_000)
    heads = re.findall(r"L\d+H\d+", best.inner_text())
    assert heads[0] == "L18H6"
    assert set(heads[1:4]) == {"L17H3", "L17H4", "L17H5"}
    user.wait_for_picture()
    expect(user.part("attention-live")).to_contain_text("L18H6, induction 0.")
    user.click("attention-grid", row=17, column=3)
    user.wait_for_address("head=L17H3")
    expect(user.page.get_by_text("L17H3: attention")).to_be_visible()
