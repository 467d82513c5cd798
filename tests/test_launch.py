"""`workbench dashboard` as a process: its configuration is in force, it starts and ends well."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from dashboards import launch
from tests.websocket import handshake
from workbench.__main__ import main

APP = Path(__file__).parent.parent / "dashboards" / "app.py"
# What a user may have lying about; the shipped configuration must win.
CARELESS = """
[server]
address = "0.0.0.0"
allowedHosts = []
enableCORS = false
[browser]
gatherUsageStats = true
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def started(folder: Path, *command: str) -> Iterator[subprocess.Popen[bytes]]:
    """A server in a session of its own, its words in `folder/words`; nothing is left behind."""
    with (folder / "words").open("wb") as words:
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=words,
            stderr=words,
            start_new_session=True,
            # As at a terminal: what a shell starts in the background inherits a SIGINT ignored.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
    try:
        yield process
    finally:
        for child in family(process):
            child.kill()
        process.wait()


def family(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """The process and what it has started, as far as they live."""
    if process.poll() is not None:
        return []
    root = psutil.Process(process.pid)
    return [root, *root.children(recursive=True)]


def wait_until_up(port: int, process: subprocess.Popen[bytes], address: str = "127.0.0.1") -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until and process.poll() is None:
        with socket.socket() as knock:
            if knock.connect_ex((address, port)) == 0:
                return
        time.sleep(0.1)
    pytest.fail(f"nothing listens on port {port}; exit code {process.poll()}")


def other_address() -> str | None:
    """An address of this machine that is not the loopback's usual one."""
    for addresses in psutil.net_if_addrs().values():
        for found in addresses:
            if found.family == socket.AF_INET and not found.address.startswith("127."):
                return found.address
    return None


COMMANDS = {
    "workbench dashboard": ("workbench", "dashboard", "--no-browser", "--port"),
    "streamlit run": ("streamlit", "run", str(APP), "--server.port"),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_the_shipped_configuration_is_in_force(command: str, tmp_path: Path) -> None:
    (tmp_path / ".streamlit").mkdir()
    (tmp_path / ".streamlit" / "config.toml").write_text(CARELESS)
    port = free_port()
    with started(tmp_path, *COMMANDS[command], str(port)) as process:
        wait_until_up(port, process)
        assert handshake(port) == 101
        assert handshake(port, Host="evil.example") == 403
        assert handshake(port, Origin="http://evil.example") == 403
        listening = {
            connection.laddr.ip
            for member in family(process)
            for connection in member.net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        }
        assert listening == {"127.0.0.1"}
        if address := other_address():
            with socket.socket() as knock:
                knock.settimeout(5)
                assert knock.connect_ex((address, port)) != 0


def test_the_network_is_let_in_only_by_the_flag(tmp_path: Path) -> None:
    """127.0.0.2 cannot stand for the network here: it is this machine's too."""
    address, port = other_address(), free_port()
    if address is None:
        pytest.skip("this machine has no address but the loopback's")
    asked = ("workbench", "dashboard", "--no-browser", "--port", str(port), "--address", address)
    with started(tmp_path, *asked) as process:
        assert process.wait(60) == 2
    assert "ssh -L" in (tmp_path / "words").read_text()
    with started(tmp_path, *asked, "--open-to-network") as process:
        wait_until_up(port, process, address)
        assert handshake(port, at=address, Host=address) == 101
        assert handshake(port, at=address, Host="evil.example") == 403


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
@pytest.mark.parametrize("whole_group", [True, False])
def test_a_signal_ends_it_cleanly(tmp_path: Path, name: str, whole_group: bool) -> None:
    """A terminal's Ctrl-C reaches the whole group, `kill` only the launcher."""
    port = free_port()
    with started(tmp_path, *COMMANDS["workbench dashboard"], str(port)) as process:
        wait_until_up(port, process)
        members = family(process)
        assert len(members) > 1
        number = signal.Signals[name]
        if whole_group:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        assert process.wait(20) == 0
        _, alive = psutil.wait_procs(members, timeout=20)
        for orphan in alive:
            orphan.kill()
        assert not alive, "an orphan"
    words = (tmp_path / "words").read_text()
    assert f"The dashboard: http://127.0.0.1:{port}" in words
    assert "Traceback" not in words and "Error" not in words


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        yield holder.getsockname()[1]


def test_a_taken_port_is_one_sentence(taken: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dashboard", "--no-browser", "--port", str(taken)]) == 2
    out, error = capsys.readouterr()
    assert error == f"workbench: port {taken} is taken; choose another with --port\n" and not out


@pytest.mark.parametrize("port", ["99999", "-1"])
def test_a_port_that_is_none_is_one_sentence(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dashboard", "--no-browser", "--port", port]) == 2
    assert capsys.readouterr().err == (
        f"workbench: port {port} does not exist; choose one from 1 to 65535\n"
    )


def test_without_a_port_the_next_free_one_is_taken(taken: int) -> None:
    assert launch._free_port(taken) > taken


def test_the_browser_is_opened_once_the_server_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    knocks, opened = [], []

    class Answer:
        def close(self) -> None: ...

    def knock(address: str, timeout: float) -> Answer:
        knocks.append(address)
        if len(knocks) < 3:
            raise ConnectionRefusedError
        return Answer()

    monkeypatch.setattr(launch.urllib.request, "urlopen", knock)
    monkeypatch.setattr(launch.time, "sleep", lambda _: None)
    monkeypatch.setattr(launch.webbrowser, "open", opened.append)
    launch._open_when_up("http://127.0.0.1:1")
    assert len(knocks) == 3 and opened == ["http://127.0.0.1:1"]


def test_home_stands_before_torch_is_loaded() -> None:
    """In a fresh process, because this one has torch already."""
    code = f"""
import sys
from streamlit.testing.v1 import AppTest
at = AppTest.from_file({str(APP)!r}, default_timeout=60).run()
print([header.value for header in at.header], *({{"torch", "transformers"}} & set(sys.modules)))
"""
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == "['lensbench']"


def test_the_shipped_configuration_names_nothing_unknown() -> None:
    """A misspelt option would be dropped with a warning nobody reads."""
    from streamlit import config

    text = (APP.parent / ".streamlit" / "config.toml").read_text(encoding="utf-8")
    section, names = "", []
    for line in text.splitlines():
        if found := re.fullmatch(r"\[(.+)\]", line):
            section = found[1]
        elif found := re.match(r"(\w+) = ", line):
            names.append(f"{section}.{found[1]}")
    assert names and not [name for name in names if name not in config._config_options_template]
