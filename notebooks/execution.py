"""Run a notebook in a kernel of its own, without a network."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

import nbclient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell

from notebooks.committed import read

TIMEOUT = 180  # seconds of one notebook
_MIB = 1024  # in KiB, as Linux tells a peak
# Whatever is not on this machine is not asked for: a course is offline, once the model is fetched.
_OFFLINE = """
def guard():
    import socket
    connect = socket.socket.connect
    def refuse(self, address):
        if self.family != socket.AF_UNIX and address[0] not in ("127.0.0.1", "localhost", "::1"):
            raise OSError(f"the course is offline; {address[0]} was asked for")
        return connect(self, address)
    socket.socket.connect = refuse
guard()
del guard
"""
# ru_maxrss would count what the process held that started the kernel
_PEAK = "print(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])"


@dataclass(frozen=True)
class Executed:
    """A notebook with new outputs, the seconds that it took, its kernel's peak memory in MiB, and
    the error in which it ended, if it did."""

    notebook: NotebookNode
    seconds: float
    peak: float
    error: str | None


def execute(path: Path) -> Executed:
    """Execute all cells in order, in the notebook's own folder."""
    notebook = read(path)
    client = nbclient.NotebookClient(
        notebook,
        timeout=TIMEOUT,
        kernel_name="python3",
        extra_arguments=["--IPKernelApp.log_level=ERROR", "--InteractiveShell.colors=nocolor"],
        resources={"metadata": {"path": str(path.parent)}},
    )
    environment = {
        **os.environ,
        "PLOTLY_RENDERER": "plotly_mimetype",
        "HF_HUB_OFFLINE": "1",
        "PYTHONWARNINGS": "ignore:IProgress not found",  # tqdm's; no notebook draws its bars
    }
    started, error = time.perf_counter(), None
    first, last = new_code_cell(_OFFLINE), new_code_cell(_PEAK)
    cells, notebook.cells = notebook.cells, [first, *notebook.cells, last]
    with client.setup_kernel(env=environment):
        try:
            for place, cell in enumerate(notebook.cells):
                client.execute_cell(cell, place, store_history=cell is not first)
        except CellExecutionError as raised:
            error = str(raised)
            client.execute_cell(last, len(cells) + 1)
    notebook.cells = cells
    for cell in cells:
        cell.metadata.pop("execution", None)  # times of this machine
    peak = float(last.outputs[0].text) / _MIB
    return Executed(notebook, time.perf_counter() - started, peak, error)
