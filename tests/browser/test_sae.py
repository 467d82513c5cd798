"""What a user does on the page SAE, with the dictionary of Othello-GPT that is shipped."""

from playwright.sync_api import expect

from .conftest import User

MODEL = "othello-6x6"
DONE = "The address of this page is its permalink"


def test_a_latent_is_found_and_its_neighbour_followed(user: User) -> None:
    user.open("sae", model=MODEL, latent="7")
    expect(user.page.get_by_text(DONE)).to_be_visible(timeout=60_000)
    expect(user.page.get_by_text("Strongest examples")).to_be_visible()
    expect(user.page.locator(".js-plotly-plot")).to_have_count(2)
    neighbours = user.page.locator("button", has_text="(0.")
    named = neighbours.first.inner_text().split()[0]
    neighbours.first.click()
    expect(user.page.get_by_label("Latent", exact=True)).to_have_value(named)
    user.wait_for_address(f"latent={named}")


def test_moves_are_read_and_a_latent_is_ablated(user: User) -> None:
    user.open("sae", model=MODEL, by="a prompt", prompt="c2 b2 b3", edit="true", new="4")
    expect(user.page.get_by_text(DONE)).to_be_visible(timeout=60_000)
    expect(user.page.get_by_text("in the prompt, at most")).to_be_visible()
    expect(user.page.get_by_text("The next token after the prompt")).to_be_visible()
    for told in ("Plain", "Edited"):
        expect(user.page.get_by_text(told, exact=True)).to_be_visible()
    for move in ("c2", "b2", "b3"):
        expect(user.page.get_by_role("radio", name=move)).to_be_visible()
