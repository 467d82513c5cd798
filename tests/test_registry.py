"""Plugins: every target resolves, clashes and foreign values are told."""

from importlib.metadata import EntryPoint

import pytest

from workbench import registry
from workbench.errors import InputError
from workbench.registry import Command, Plugin, listed, plugins, resolve

ONE = Plugin("one", commands={"run": "one:RUN"}, claims={"a": "one:A"})
TWO = Plugin("two", commands={"run": "two:RUN"}, claims={"b": "two:B"})
NOT_A_PLUGIN = {"name": "three"}


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch):
    """Pretend that the named values of this module are what is installed."""

    def entries(*names: str) -> None:
        found = [EntryPoint(name.lower(), f"{__name__}:{name}", registry.GROUP) for name in names]
        monkeypatch.setattr(registry, "entry_points", lambda group: found)
        plugins.cache_clear()

    yield entries
    monkeypatch.undo()
    plugins.cache_clear()


@pytest.mark.parametrize("sort", ["commands", "models", "claims"])
def test_every_listed_target_resolves(sort: str) -> None:
    for name, target in listed(sort).items():
        value = resolve(target)
        assert isinstance(value, Command) == (sort == "commands"), name
        assert callable(value) == (sort == "claims"), name


def test_the_ground_comes_first() -> None:
    assert plugins()[0].name == "workbench"
    assert {"attention", "lens", "capture", "models", "cache", "selftest"} <= set(
        listed("commands")
    )


def test_names_of_all_plugins_are_joined(install) -> None:
    install("TWO", "ONE")
    assert plugins() == (ONE, TWO)
    assert listed("claims") == {"a": "one:A", "b": "two:B"}
    assert listed("pages") == {}


def test_a_clash_of_names_is_told(install) -> None:
    install("ONE", "TWO")
    with pytest.raises(InputError, match="two plugins name commands 'run': one:RUN and two:RUN"):
        listed("commands")


def test_a_foreign_value_is_told(install) -> None:
    install("ONE", "NOT_A_PLUGIN")
    with pytest.raises(InputError, match=r"plugin 'not_a_plugin' .* is a dict; it must be"):
        plugins()
