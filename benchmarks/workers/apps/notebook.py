"""A Jupyter kernel, and somebody who executes a cell in it; SIGTERM shuts it down as a notebook
would."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from jupyter_client import BlockingKernelClient, write_connection_file


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        file, _ = write_connection_file(str(Path(folder) / "kernel.json"))
        kernel = subprocess.Popen([sys.executable, "-m", "ipykernel_launcher", "-f", file])
        client = BlockingKernelClient(connection_file=file)
        client.load_connection_file()
        client.start_channels()
        client.wait_for_ready(timeout=60)
        client.execute_interactive("import beat; beat.start()", timeout=60)
        signal.sigwait({signal.SIGTERM})
        client.shutdown(reply=True, timeout=20)
        client.stop_channels()
        kernel.wait(20)


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    main()
