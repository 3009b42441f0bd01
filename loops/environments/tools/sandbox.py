"""Tools that run code a model wrote: `python` and `shell`, each call in a process shut in by `isolation`.

Knows limits and output; knows nothing of how the walls are made. Invariant: when a call returns, every process it
started is gone, and what it returns is bounded."""

from __future__ import annotations

import contextlib
import os
import resource
import select
import selectors
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Annotated, Literal

from pydantic import Field
from typing_extensions import TypedDict

from loops.environments.tools.declare import declare
from loops.environments.tools.isolation import Way, entered, isolation
from loops.environments.tools.tool import Tool
from loops.environments.tools.vault import Vault
from loops.errors import ScenarioInvalid
from telemetry.otel.context import carried

TICK_S = 0.05
"""Seconds between two looks at how many processes there are and how much memory they hold."""

GONE_S = 5.0
"""Seconds to wait for killed processes to let go of the output."""

READ_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Limits:
    """What one call may use. Wall time, processes, memory in all and output are watched from outside; processor time,
    memory and file size of each process are the kernel's limits. Shared memory that no process maps is not counted."""

    wall_s: float = 30
    cpu_s: int = 20
    memory_bytes: int = 1 << 30
    file_bytes: int = 64 << 20
    tmp_bytes: int = 256 << 20
    processes: int = 64
    open_files: int = 256
    output_bytes: int = 64 << 10


class Ran(TypedDict):
    """How a program ended. Standard output and error are one stream, its middle left out when it is long."""

    exit_code: int | None
    output: str
    left_out_bytes: int
    stopped: str | None
    """Which limit ended it, None when it ended by itself."""


def sandbox_tools(
    names: Sequence[Literal["python", "shell"]], *, folder: Path | None, vault: Vault, limits: Limits | None = None
) -> list[Tool]:
    """The tools. They work in `folder`, or in a private one that is gone after each call. Raises `ScenarioInvalid` when
    this machine has no way to shut a program in."""
    found = isolation()
    if found.kind == "none":
        raise ScenarioInvalid(f"the tools {', '.join(names)} need a sandbox, and this machine has {found.words}")
    sandbox = Sandbox(found.kind, folder=None if folder is None else folder.resolve(), limits=limits or Limits())
    functions = {"python": sandbox.python, "shell": sandbox.shell}
    timeout_s = sandbox.limits.wall_s + 15
    return [declare(functions[name], effect="unsafe", timeout_s=timeout_s).bind(vault) for name in names]


class Sandbox:
    """Programs shut in one way, under one set of limits."""

    def __init__(self, kind: Way, *, folder: Path | None, limits: Limits) -> None:
        self._kind = kind
        self._folder = folder
        self.limits = limits

    def python(self, code: Annotated[str, Field(description="A whole program; print what you want to see")]) -> Ran:
        """Runs a Python 3 program without network, in the workspace folder. One that takes too long or too much is
        stopped."""
        return self._run(["python3", "-"], code)

    def shell(self, command: Annotated[str, Field(description="Commands for sh, one or several lines")]) -> Ran:
        """Runs shell commands without network, in the workspace folder. What takes too long or too much is stopped."""
        # The text comes on standard input, for arguments can be read by everybody on the machine; it is read whole
        # before it runs, so that the commands find that input empty.
        return self._run(["sh", "-c", 'eval "$(cat)"'], command)

    def _run(self, program: Sequence[str], text: str) -> Ran:
        limits = self.limits
        with (
            tempfile.TemporaryFile() as given,
            entered(self._kind, folder=self._folder, tmp_bytes=limits.tmp_bytes, given=_span()) as command,
        ):
            given.write(text.encode())
            given.seek(0)
            output = _Output(limits.output_bytes)
            process = subprocess.Popen(
                [*command, *_limited(limits), *program],
                stdin=given,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                stopped = _watched(process, limits, output)
            finally:
                _kill(process, output)
        code = process.returncode
        if stopped is None and code == 128 + signal.SIGXCPU:
            stopped = f"it used more than {limits.cpu_s} s of processor time"
        return Ran(
            exit_code=code if stopped is None else None,
            output=output.text(),
            left_out_bytes=output.left_out,
            stopped=stopped,
        )


def _span() -> dict[str, str]:
    """The span that the call belongs to, in the variables that OpenTelemetry reads one from."""
    return {name.upper(): value for name, value in carried().items()}


class _Output:
    """The beginning and the end of a stream."""

    def __init__(self, most: int) -> None:
        self._half = most // 2
        self._head = b""
        self._tail = b""
        self.left_out = 0

    def add(self, data: bytes) -> None:
        room = self._half - len(self._head)
        self._head += data[:room]
        tail = self._tail + data[room:]
        self.left_out += max(0, len(tail) - self._half)
        self._tail = tail[-self._half :]

    def text(self) -> str:
        gap = f"\n[… {self.left_out:,} bytes left out …]\n".encode() if self.left_out else b""
        return (self._head + gap + self._tail).decode(errors="replace")


def _limited(limits: Limits) -> list[str]:
    """The kernel's limits, set inside. They hold for each process, but for `--nproc`: that is the number of them."""
    release = os.uname().release.split(".")
    # Before Linux 5.14 it counted what the user runs outside too. Root is spared from it: see `_watched`.
    counts_inside = (int(release[0]), int(release[1].split("-")[0])) >= (5, 14)
    # Nice, so that the one who watches comes first however many there are: measured on 2 cores as root, a fork bomb was
    # stopped within 0.2 s in 20 of 20 runs; without, 3 of 12 took 5 to 14 s.
    return [
        *("nice", "-n", "19", "prlimit"),
        f"--cpu={limits.cpu_s}:{limits.cpu_s + 2}",
        f"--as={limits.memory_bytes}",
        f"--fsize={limits.file_bytes}",
        f"--nofile={limits.open_files}",
        *([f"--nproc={limits.processes}"] if counts_inside else []),
        "--core=0",
        "--",
    ]


def _watched(process: subprocess.Popen[bytes], limits: Limits, output: _Output) -> str | None:
    """Reads what it writes until it ends or passes a limit; says which."""
    assert process.stdout is not None
    ends = time.monotonic() + limits.wall_s
    look = 0.0
    with selectors.DefaultSelector() as pipe:
        pipe.register(process.stdout, selectors.EVENT_READ)
        while pipe.get_map() or process.poll() is None:
            now = time.monotonic()
            if now >= ends:
                return f"it ran longer than {limits.wall_s:g} s"
            if now >= look:
                look = now + TICK_S
                tasks, resident = _held(process.pid, most=limits.processes)
                if tasks > limits.processes:
                    return f"it started more than {limits.processes} processes and threads"
                if resident > limits.memory_bytes:
                    return f"it held more than {limits.memory_bytes >> 20} MiB of memory"
            if pipe.select(TICK_S) and not _read(process.stdout, output):
                pipe.unregister(process.stdout)
    return None


def _read(pipe: IO[bytes], output: _Output) -> bool:
    """Whether there was anything left to read."""
    data = os.read(pipe.fileno(), READ_BYTES)
    output.add(data)
    return bool(data)


def _held(process: int, *, most: int) -> tuple[int, int]:
    """Processes and threads at and below a process, and the bytes they hold. Stops counting above `most`."""
    tasks = resident = 0
    below = [process]
    while below and tasks <= most:
        place = Path(f"/proc/{below.pop()}")
        # One that has ended since it was seen holds nothing.
        with contextlib.suppress(OSError):
            _, pages, shared, *_ = map(int, (place / "statm").read_text().split())
            resident += (pages - shared) * resource.getpagesize()
            for task in (place / "task").iterdir():
                tasks += 1
                below += map(int, (task / "children").read_text().split())
    return tasks, resident


def _kill(process: subprocess.Popen[bytes], output: _Output) -> None:
    """Kills the process with its group. The first process inside dies with it and takes all others along, so that
    nobody is left to write."""
    assert process.stdout is not None
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    with process.stdout as pipe:
        ends = time.monotonic() + GONE_S
        while select.select([pipe], [], [], max(0.0, ends - time.monotonic()))[0] and _read(pipe, output):
            pass
