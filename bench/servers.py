"""Start a server, wait until it answers, look at its memory, stop it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class Server:
    """A running server.

    Attributes:
        url: of its root.
        process: to be asked for its memory.
        ready_s: seconds from the start of the process to the first 200 of ``/health/ready``.
    """

    url: str
    process: subprocess.Popen[bytes]
    ready_s: float

    def resident_bytes(self) -> int:
        """Memory that the process holds now."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise RuntimeError("no VmRSS in /proc")


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


@contextlib.contextmanager
def running(command: Sequence[str], port: int, variables: Mapping[str, str]) -> Iterator[Server]:
    """Run a server on this machine for the length of a ``with`` block.

    Raises:
        RuntimeError: it ends or stays silent for a minute; its last words are in the message.
    """
    start = time.perf_counter()
    # A file and not a pipe: nobody reads along, and a full pipe would stop the server.
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [sys.executable, *command], env={**os.environ, **variables}, stdout=subprocess.DEVNULL, stderr=log
        )
        try:
            url = f"http://127.0.0.1:{port}"
            while not _ready(url):
                if process.poll() is not None or time.perf_counter() - start > PATIENCE_S:
                    process.kill()
                    log.seek(0)
                    said = log.read().decode(errors="replace")[-2000:]
                    raise RuntimeError(f"{' '.join(command)} did not get ready: {said}")
                time.sleep(0.01)
            yield Server(url, process, time.perf_counter() - start)
        finally:
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=20)
            if process.poll() is None:
                process.kill()


def _ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health/ready", timeout=1) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
