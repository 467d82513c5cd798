"""`workbench dashboard`: start the pages on this machine and open a browser where there is one."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import webbrowser
from argparse import ArgumentParser, Namespace
from pathlib import Path

from dashboards.reach import OPENED, answered
from workbench.errors import InputError
from workbench.registry import Command

APP = Path(__file__).parent / "app.py"


def configure(parser: ArgumentParser) -> None:
    parser.add_argument("--port", type=int, help="port (default: 8501, or the next free one)")
    parser.add_argument(
        "--address", default="127.0.0.1", help="where to listen (default: this machine alone)"
    )
    parser.add_argument(
        "--open-to-network",
        action="store_true",
        help="listen at an --address that others reach: whoever does may run models here",
    )
    parser.add_argument("--no-browser", action="store_true", help="do not open a browser")


def run(arguments: Namespace, path: str = "") -> int:
    """`path` is the page that is opened, with its query."""
    port = arguments.port or _free_port()
    if not 0 < port < 65536:
        raise InputError(f"port {port} does not exist; choose one from 1 to 65535")
    if arguments.port and not _is_free(port):
        raise InputError(f"port {port} is taken; choose another with --port")
    hosts = answered(arguments.address, port, opened=arguments.open_to_network)
    first = f"[{hosts[0]}]" if ":" in hosts[0] else hosts[0]
    address = f"http://{first}:{port}"
    print(f"The dashboard: {address}{path}  (stop it with Ctrl-C)", flush=True)  # noqa: T201
    for name in ("SIGTERM", "SIGHUP"):  # `kill`, and a terminal that is closed
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.default_int_handler)
    server = subprocess.Popen(
        [
            *(sys.executable, "-m", "streamlit", "run", str(APP), f"--server.port={port}"),
            f"--server.address={arguments.address}",
            *(f"--server.allowedHosts={host}" for host in hosts),
        ],
        env={**os.environ, OPENED: "1"} if arguments.open_to_network else None,
        stdout=subprocess.DEVNULL,  # it would print its own address once more
        start_new_session=True,  # Ctrl-C while it starts would have it print a traceback
    )
    if not arguments.no_browser:
        threading.Thread(target=_open_when_up, args=(address, path), daemon=True).start()
    try:
        return server.wait()
    except KeyboardInterrupt:
        _end(server)
        return 0


def _end(server: subprocess.Popen[bytes]) -> None:
    server.terminate()
    try:
        server.wait(10)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        server.kill()
        server.wait()


def _free_port(first: int = 8501) -> int:
    return next(port for port in range(first, 65536) if _is_free(port))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _open_when_up(address: str, path: str = "") -> None:
    for _ in range(120):
        try:
            urllib.request.urlopen(f"{address}/_stcore/health", timeout=1).close()
        except (urllib.error.URLError, OSError):
            time.sleep(0.25)
        else:
            webbrowser.open(address + path)
            return


COMMAND = Command("start the local dashboard in the browser", configure, run)
