"""What one server takes on: how many sessions, how much at once, how long texts.

A limit that is reached is a plain message on the page; work beyond it waits in a queue.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import streamlit as st
from streamlit import runtime
from streamlit.runtime.scriptrunner import get_script_run_ctx

from dashboards.reach import OPENED, is_loopback

LONGEST = 20_000  # characters of one text, typed or in an address
SESSIONS = 40  # at once; each holds its page's figures
COMPUTING = max(2, (os.cpu_count() or 2) // 2)  # at once; models share the processor anyway
LOOK = 0.1  # seconds between two looks at the queue


class Turns:
    """So many may compute at once; the others wait in the order in which they came."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._places: list[object] = []
        self._changed = threading.Condition()

    @contextmanager
    def taken(self, place: object) -> Iterator[None]:
        """Join the queue as `place`, to be waited for by `ahead`, and leave it at the end."""
        with self._changed:
            self._places.append(place)
        try:
            yield
        finally:
            with self._changed:
                self._places.remove(place)
                self._changed.notify_all()

    def ahead(self, place: object, patience: float) -> int:
        """How many must end before `place` may begin, after waiting `patience` seconds at most."""
        with self._changed:
            self._changed.wait_for(lambda: not self._before(place), patience)
            return self._before(place)

    def _before(self, place: object) -> int:
        return max(0, self._places.index(place) - self._most + 1)


_turns = Turns(COMPUTING)
_held = threading.local()
_sessions: dict[str, None] = {}  # in the order in which they came


@contextmanager
def turn() -> Iterator[None]:
    """Compute when it is this run's turn; meanwhile the page says how many are before it."""
    if getattr(_held, "turn", False):  # a part of what has its turn
        yield
        return
    place, told = object(), None
    with _turns.taken(place):
        while ahead := _turns.ahead(place, LOOK):
            told = told or st.empty()
            told.info(f"Waiting: {ahead} other computations come before this one on this machine.")
        if told is not None:
            told.empty()
        _held.turn = True
        try:
            yield
        finally:
            _held.turn = False


def check() -> None:
    """End the page with a sentence where a limit is passed; nothing of it is drawn yet."""
    if (server := _server()) is not None:
        _check_address()
        _check_sessions(server.is_active_session)
    _check_texts()


def _server() -> runtime.Runtime | None:
    """None in a test, or a bare script."""
    found = runtime.get_instance() if runtime.exists() else None
    return found if type(found) is runtime.Runtime else None  # a test has a stand-in


def _check_address() -> None:
    """However the app was started: Streamlit's own flags and variables come before its file."""
    address = str(st.get_option("server.address") or "0.0.0.0")
    if is_loopback(address) or os.environ.get(OPENED):
        return
    st.error(
        f"This server listens on {address}, where others reach it: they could run models and read "
        "model folders here. Start it with `workbench dashboard`, which tells how to reach it "
        "from elsewhere."
    )
    st.stop()


def _check_sessions(is_active: Callable[[str], bool]) -> None:
    running = get_script_run_ctx()
    assert running is not None, "a page runs in a session"
    _sessions[running.session_id] = None
    for one in list(_sessions):
        if not is_active(one):
            _sessions.pop(one, None)
    if list(_sessions).index(running.session_id) >= SESSIONS:
        st.error(
            f"{SESSIONS} sessions are open on this server, the most that it serves at once. "
            "Close a tab that is not needed, then reload this one."
        )
        st.stop()


def _check_texts() -> None:
    given = {**st.query_params.to_dict(), **st.session_state.to_dict()}
    for name, text in given.items():
        if isinstance(text, str) and len(text) > LONGEST:
            st.error(
                f"“{str(name)[:40]}” has {len(text):,} characters; a page takes {LONGEST:,} at "
                "most. For longer texts use the command line: `workbench corpus`, then "
                "`workbench harvest`."
            )
            if st.button("Leave it out"):
                st.session_state.pop(name, None)
                st.query_params.pop(str(name), None)
                st.rerun()
            st.stop()
