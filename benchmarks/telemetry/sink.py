"""A collector that takes everything and keeps nothing, in a process of its own: `python -m benchmarks.telemetry.sink`.

Knows HTTP/1.1 as an exporter speaks it. Invariant: it answers 200 to each whole request, after `late_s`."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.report import ROOT

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n"
LENGTH = b"content-length:"


@contextmanager
def discarding(*, late_s: float = 0.0) -> Iterator[str]:
    """The URL of one, for as long as it is wanted."""
    command = (sys.executable, "-m", "benchmarks.telemetry.sink", str(late_s))
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


def serve(late_s: float) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        print(f"http://127.0.0.1:{listening.getsockname()[1]}", flush=True)
        while True:
            connection, _ = listening.accept()
            threading.Thread(target=_answer, args=(connection, late_s), daemon=True).start()


def _answer(connection: socket.socket, late_s: float) -> None:
    with connection, connection.makefile("rb") as file:
        while (length := _length(iter(file.readline, b""))) is not None:
            while length:
                length -= len(file.read1(min(length, 1 << 20)))
            time.sleep(late_s)
            connection.sendall(ANSWER)


def _length(lines: Iterator[bytes]) -> int | None:
    """Of the body that follows the head of the next request; None when there is none."""
    length = None
    for line in lines:
        if line == b"\r\n":
            return length
        if line.lower().startswith(LENGTH):
            length = int(line[len(LENGTH) :])
    return None


if __name__ == "__main__":
    serve(float(sys.argv[1]))
