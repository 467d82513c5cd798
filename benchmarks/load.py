"""`python -m benchmarks.load`: twenty people at one dashboard, a click each every three seconds.

A session is a websocket that speaks Streamlit's protocol, as a browser does, with a prompt of its
own on the page Attention; a click locks another head. Fails where a page shows an exception, where
a session is shown another one's prompt, or where memory grows on and on. Times are from the click
to the end of the run that it started, at the server.
"""

import argparse
import asyncio
import random
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from urllib.parse import urlencode

import psutil
from rich.console import Console
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets import Subprotocol
from websockets.asyncio.client import ClientConnection, connect

from benchmarks.browser import dashboard
from benchmarks.ratios import load_average
from workbench.home import home
from workbench.models import DEFAULT_MODEL, load

MB, GROWTH = 1e6, 1.15  # memory of the second half over that of the first
PATIENCE = 120.0  # seconds; the first run loads torch and the model


@dataclass
class Session:
    """One person: their word, what they waited for, what went wrong."""

    number: int
    waited: list[float] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    @property
    def word(self) -> str:
        """Stands in this session's prompt and in no other's."""
        return f"visitor{self.number:02d}q"


async def _runs(socket: ClientConnection, asked: str) -> tuple[list[ForwardMsg], float]:
    """Everything that one run of the page sends, and the seconds until it ended."""
    message = BackMsg()
    message.rerun_script.query_string = asked
    message.rerun_script.page_name = "attention"
    began, sent = time.perf_counter(), []
    await socket.send(message.SerializeToString())
    while True:
        told = ForwardMsg.FromString(await asyncio.wait_for(socket.recv(decode=False), PATIENCE))
        sent.append(told)
        if (
            told.WhichOneof("type") == "script_finished"
            and told.script_finished != ForwardMsg.FINISHED_EARLY_FOR_RERUN
        ):
            return sent, time.perf_counter() - began


def _wrong(sent: list[ForwardMsg], session: Session, others: list[Session], head: str) -> list[str]:
    """What a page must not show, and what it must."""
    elements = [one.delta.new_element for one in sent if one.HasField("delta")]
    found = [one.exception.message for one in elements if one.HasField("exception")]
    raw = b"".join(one.SerializeToString() for one in sent)
    found += [f"{one.word} is shown" for one in others if one.word.encode() in raw]
    found += [f"{what} is not shown" for what in (session.word, head) if what.encode() not in raw]
    return found


async def _visit(
    address: str,
    session: Session,
    others: list[Session],
    heads: list[str],
    until: float,
    pace: float,
) -> None:
    drawn = random.Random(session.number)
    prompt = f"The {session.word} sat on the mat because the {session.word} was tired"
    async with connect(
        f"{address}/_stcore/stream", subprotocols=[Subprotocol("streamlit")], max_size=None
    ) as socket:
        await asyncio.sleep(drawn.uniform(0, pace))
        first = True
        while time.perf_counter() < until:
            began, head = time.perf_counter(), drawn.choice(heads)
            sent, seconds = await _runs(socket, urlencode({"prompt": prompt, "head": head}))
            session.faults += _wrong(sent, session, others, head)
            if not first:  # the first opens the page; it is no click
                session.waited.append(seconds)
            first = False
            await asyncio.sleep(max(0.0, pace - (time.perf_counter() - began)))


async def _memory(pid: int, until: float) -> list[float]:
    """Resident bytes of the server and its children, each second."""
    found, process = [], psutil.Process(pid)
    while time.perf_counter() < until:
        every = [process, *process.children(recursive=True)]
        found.append(sum(one.memory_info().rss for one in every))
        await asyncio.sleep(1)
    return found


async def _all(
    address: str, pid: int, sessions: list[Session], heads: list[str], seconds: float, pace: float
) -> list[float]:
    until = time.perf_counter() + seconds
    visits = [
        _visit(address, one, [other for other in sessions if other is not one], heads, until, pace)
        for one in sessions
    ]
    memory = asyncio.create_task(_memory(pid, until))
    await asyncio.gather(*visits)
    return await memory


def main() -> int:
    """Measure, print; 1 where something went wrong."""
    parser = argparse.ArgumentParser("benchmarks.load", description=__doc__)
    parser.add_argument("--sessions", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=180, help="how long (180)")
    parser.add_argument("--pace", type=float, default=3, help="seconds between two clicks (3)")
    given = parser.parse_args()
    shape = load(DEFAULT_MODEL, device="cpu").architecture
    heads = [f"L{layer}H{head}" for layer in range(shape.n_layers) for head in range(shape.n_heads)]
    sessions, console = [Session(number) for number in range(given.sessions)], Console()
    before = load_average()
    with tempfile.TemporaryDirectory() as name, dashboard(Path(name), home()) as server:
        address = server.address.replace("http", "ws")
        memory = asyncio.run(
            _all(address, server.process.pid, sessions, heads, given.seconds, given.pace)
        )
    waited = sorted(second for one in sessions for second in one.waited)
    faults = sorted({f"{one.word}: {fault}" for one in sessions for fault in one.faults})
    third = len(memory) // 3
    early, late = (max(part) / MB for part in (memory[third : 2 * third], memory[2 * third :]))
    console.print(
        f"{len(waited)} clicks by {len(sessions)} sessions in {given.seconds:.0f} s: median "
        f"{median(waited) * 1e3:.0f} ms, p95 {quantiles(waited, n=20)[-1] * 1e3:.0f} ms, longest "
        f"{waited[-1] * 1e3:.0f} ms\nmemory: {early:,.0f} MB at most in the second third, "
        f"{late:,.0f} MB in the last\nfaults: {len(faults)}\nload average {before} at the start, "
        f"{load_average()} at the end",
        highlight=False,
    )
    for fault in faults[:20]:
        console.print(fault, markup=False)
    return int(bool(faults) or late > GROWTH * early)


if __name__ == "__main__":
    sys.exit(main())
