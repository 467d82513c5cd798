"""What one server takes on: a queue, sessions, lengths of texts, and where it may be reached."""

import threading
from types import SimpleNamespace

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from dashboards import limits, reach
from dashboards.limits import Turns
from workbench.errors import InputError

# --- the queue -----------------------------------------------------------------------------------


def test_the_third_waits_for_the_first_and_the_fourth_comes_after_it():
    turns = Turns(2)
    with turns.taken("third's elder"):
        with turns.taken("first"), turns.taken("third"), turns.taken("fourth"):
            assert [turns.ahead(one, 0.0) for one in ("first", "third", "fourth")] == [0, 1, 2]
        assert turns.ahead("third's elder", 0.0) == 0


def test_whoever_waits_begins_when_another_ends():
    turns, begun, end = Turns(1), threading.Event(), threading.Event()

    def other():
        with turns.taken("other"):
            assert turns.ahead("other", 10.0) == 0
            begun.set()
            end.wait(10)

    with turns.taken("first"):
        thread = threading.Thread(target=other)
        thread.start()
        assert not begun.wait(0.05), "one at a time"
    assert begun.wait(10)
    end.set()
    thread.join()


def test_a_place_is_given_up_by_who_fails():
    turns = Turns(1)
    with pytest.raises(ZeroDivisionError), turns.taken("first"):
        raise ZeroDivisionError
    with turns.taken("next"):
        assert turns.ahead("next", 0.0) == 0


def test_a_part_of_a_turn_needs_none_of_its_own(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(limits, "_turns", Turns(1))
    with limits.turn(), limits.turn():
        pass


def waiting():
    """A page whose turn comes when another has ended."""
    from threading import Timer

    from dashboards import limits

    first = limits._turns.taken("first")
    first.__enter__()
    Timer(0.5, first.__exit__, (None, None, None)).start()
    with limits.turn():
        limits.st.write("computed")


def test_the_page_tells_how_many_come_before(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(limits, "_turns", Turns(1))
    said: list[str] = []
    monkeypatch.setattr(
        st, "empty", lambda: SimpleNamespace(info=said.append, empty=lambda: said.append("gone"))
    )
    at = AppTest.from_function(waiting, default_timeout=30).run()
    assert not at.exception and at.markdown[0].value == "computed"
    assert said[0] == "Waiting: 1 other computations come before this one on this machine."
    assert said[-1] == "gone"


# --- texts, sessions, addresses ------------------------------------------------------------------


def checked():
    """A page that has passed its checks."""
    from dashboards import limits

    limits.check()
    limits.st.text_area("Prompt", key="prompt", bind="query-params")
    limits.st.write("drawn")


def test_a_text_too_long_is_named_and_can_be_left_out():
    at = AppTest.from_function(checked)
    at.query_params["prompt"] = "a" * (limits.LONGEST + 1)
    at.run()
    assert not at.exception and not at.markdown
    assert "“prompt” has 20,001 characters; a page takes 20,000 at most" in at.error[0].value
    at.button[0].click().run()
    assert not at.error and at.markdown[0].value == "drawn"


@pytest.mark.parametrize("address", ["0.0.0.0", "192.168.1.7", None])
def test_a_page_that_others_reach_is_not_drawn(
    address: str | None, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(limits, "_server", lambda: SimpleNamespace(is_active_session=bool))
    monkeypatch.setattr(st, "get_option", lambda name: address)
    at = AppTest.from_function(checked).run()
    assert "others reach it" in at.error[0].value and not at.markdown
    monkeypatch.setenv(reach.OPENED, "1")
    at = AppTest.from_function(checked).run()
    assert not at.error and at.markdown[0].value == "drawn"


def test_one_session_too_many_is_told_so(monkeypatch: pytest.MonkeyPatch):
    alive = {"a", "b"}
    server = SimpleNamespace(is_active_session=lambda one: one in alive)
    monkeypatch.setenv(reach.OPENED, "1")
    monkeypatch.setattr(limits, "SESSIONS", 2)
    monkeypatch.setattr(limits, "_sessions", dict.fromkeys("ab"))
    monkeypatch.setattr(limits, "_server", lambda: server)
    running = SimpleNamespace(session_id="c")
    monkeypatch.setattr(limits, "get_script_run_ctx", lambda: running)
    alive.add("c")
    assert "2 sessions are open" in AppTest.from_function(checked).run().error[0].value
    alive.remove("a")
    assert not AppTest.from_function(checked).run().error, "a closed tab makes room"


@pytest.mark.parametrize(
    ("address", "hosts"),
    [
        ("127.0.0.1", ["127.0.0.1", "localhost"]),
        ("localhost", ["localhost", "127.0.0.1"]),
        ("127.0.0.5", ["127.0.0.5", "localhost"]),
    ],
)
def test_an_address_of_this_machine_alone_is_taken(address: str, hosts: list[str]):
    assert reach.is_loopback(address)
    assert reach.answered(address, 8501, opened=False) == hosts


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "192.168.1.7", "fe80::1"])
def test_an_address_that_others_reach_has_to_be_meant(address: str):
    assert not reach.is_loopback(address)
    told = r"ssh -L 8501:127.0.0.1:8501 .*--open-to-network"
    with pytest.raises(InputError, match=told):
        reach.answered(address, 8501, opened=False)
    hosts = reach.answered(address, 8501, opened=True)
    assert hosts and "0.0.0.0" not in hosts and "::" not in hosts, "a name that one can open"


def test_a_word_is_no_address():
    with pytest.raises(InputError, match="'here' is no address"):
        reach.answered("here", 8501, opened=True)
