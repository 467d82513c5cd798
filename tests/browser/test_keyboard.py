"""Every page without a mouse: Tab reaches each control, and one sees where it stands."""

import pytest
from playwright.sync_api import Page, expect

from workbench.registry import listed

from .conftest import NewUser
from .test_accessibility import settled

# What Tab leaves out, the arrow keys do: other buttons of a group, lists, steps of a number.
CONTROLS = """() => {
  const found = "button, input, textarea, select, a[href], [role=slider], [tabindex]";
  const lists = "[data-testid=stSelectbox], [data-testid=stMultiSelect], "
    + "[data-testid=stNumberInput]";
  const byArrows = (one) => one.tabIndex < 0 && one.closest(`${lists}, [role=tablist]`)
    || one.matches("[type=radio]:not(:checked), [role=radio]:not(:first-child)");
  const meant = (one) => one.checkVisibility({ visibilityProperty: true }) && !one.disabled
    && !one.closest("[inert], [aria-hidden=true]") && one.type !== "file"
    && !(one.tabIndex < 0 && one.tagName === "DIV");
  return [...document.querySelectorAll(found)]
    .filter((one) => meant(one) && !byArrows(one))
    .map((one, at) => [one.dataset.control = `${at}`, one.outerHTML.slice(0, 300)]);
}"""
# How the control with the focus, or the one given, looks: its own, its neighbours' and parents'.
LOOKS = """(number) => {
  const one = number ? document.querySelector(`[data-control="${number}"]`)
    : document.activeElement;
  if (!one?.dataset.control) return ["", ""];
  document.getAnimations().forEach((each) => {
    if (each.effect.getComputedTiming().iterations !== Infinity) each.finish();
  });
  const around = [one, ...one.parentElement.children, one.parentElement,
    one.parentElement.parentElement, ...one.children];
  const drawn = around.map(getComputedStyle).map((style) => [style.outline, style.boxShadow,
    style.border, style.backgroundColor, style.color, style.textDecoration, style.opacity]);
  return [one.dataset.control, JSON.stringify(drawn)];
}"""


def walk(page: Page, most: int) -> dict[str, str]:
    """Each control that Tab comes to, as it looks then."""
    page.evaluate("() => document.activeElement?.blur()")
    found: dict[str, str] = {}
    for _ in range(most):
        page.keyboard.press("Tab")
        number, looks = page.evaluate(LOOKS)
        found[number] = looks
    page.evaluate("() => document.activeElement?.blur()")
    return found


@pytest.mark.parametrize("page", listed("pages"))
def test_tab_reaches_every_control(new_user: NewUser, page: str) -> None:
    user = new_user()
    settled(user, page)
    controls = dict(user.page.evaluate(CONTROLS))
    found = walk(user.page, len(controls) + 40)
    assert len(controls) > 5
    assert not [told for number, told in controls.items() if number not in found]
    alike = [n for n in controls if user.page.evaluate(LOOKS, n)[1] == found[n]]
    assert not [controls[number] for number in alike]


def test_arrows_go_on_in_a_group(new_user: NewUser) -> None:
    user = new_user()
    settled(user, "Attention")
    group = user.page.locator("[role=radiogroup]:has(button[role=radio])").first
    choices = group.locator("[role=radio]")
    choices.first.focus()
    user.page.keyboard.press("ArrowRight")
    expect(choices.nth(1)).to_be_focused()
    user.page.keyboard.press("Enter")
    expect(choices.nth(1)).to_be_checked()
