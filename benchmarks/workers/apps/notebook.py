"""``python notebook.py [NOTEBOOK]``: a Jupyter kernel, and a client that executes its cells.

SIGTERM shuts it down, as closing the notebook does. Without a notebook there is one cell.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from jupyter_client import BlockingKernelClient, write_connection_file


def cells(notebooks: list[str]) -> list[str]:
    if not notebooks:
        return ["import beat; beat.start()"]
    found = json.loads(Path(notebooks[0]).read_text())["cells"]
    return ["".join(cell["source"]) for cell in found if cell["cell_type"] == "code"]


def wait_for(client: BlockingKernelClient, kernel: subprocess.Popen[bytes]) -> None:
    """Until it answers. The client takes a kernel for dead that is slow to begin its heartbeat."""
    while True:
        try:
            client.wait_for_ready(timeout=60)
            return
        except RuntimeError as error:
            if kernel.poll() is not None or "died" not in str(error):
                raise


def main(notebooks: list[str]) -> int:
    with tempfile.TemporaryDirectory() as folder:
        # By sockets in the folder: ports that are free when they are chosen may be taken by others
        # when the kernel binds them, and then it ends.
        kept = Path(folder)
        file, _ = write_connection_file(
            str(kept / "kernel.json"), transport="ipc", ip=str(kept / "kernel")
        )
        kernel = subprocess.Popen([sys.executable, "-m", "ipykernel_launcher", "-f", file])
        client = BlockingKernelClient(connection_file=file)
        client.load_connection_file()
        client.start_channels()
        wait_for(client, kernel)
        for cell in cells(notebooks):
            reply = client.execute_interactive(cell, timeout=60)
            assert reply["content"]["status"] == "ok"
        signal.sigwait({signal.SIGTERM})
        client.shutdown(reply=True, timeout=20)
        client.stop_channels()
        return kernel.wait(20)


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    raise SystemExit(main(sys.argv[1:]))
