"""The `aether` command as a user runs it: in processes of its own, with a home, a Ray token and a folder of its own.

Knows processes, terminals and signals; imports nothing of ours. Invariant: what it starts is ended by its id, and
nothing it starts can reach or be reached by another Ray of this machine."""

from __future__ import annotations

import ctypes
import json
import os
import pty
import random
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from telemetry.errors import LogError
from telemetry.log import open_log

ROOT = Path(__file__).parents[1]
AETHER = (sys.executable, "-m", "runtime")
RUN_TIMEOUT_S = 240.0
"""How long a test waits for what takes seconds, on a machine that may have ten times as much to do."""
POLL_S = 0.02
AGAIN_S = 30.0
LENT_TO_NOBODY = (20_000, 32_768)
"""Ray's workers have those before, connections by Linux' default those after."""
PR_SET_PDEATHSIG = 1
"""From <sys/prctl.h>."""
LIBC = ctypes.CDLL(None)
"""Looked up here: after a fork another thread's lock on the loader would be held for ever."""

Row = dict[str, Any]
"""A row of a JSON answer."""


def wait_until(true: Callable[[], bool], *, timeout_s: float = RUN_TIMEOUT_S, what: str) -> None:
    """Polls, and returns as soon as it is. Raises TimeoutError that says `what` did not come true."""
    deadline = time.monotonic() + timeout_s
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {timeout_s:g} s")
        time.sleep(POLL_S)


def end_with_parent() -> None:
    """Run in a child before its program: SIGTERM when the tests are killed, so that no cluster outlives them."""
    if sys.platform == "linux":
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def free_ports(number: int) -> list[int]:
    """Ports of loopback that nobody listens on: none of those that the system lends to connections, which may have one
    again before a server has it, and none that Ray gives to workers."""
    with ExitStack() as held:
        found: list[int] = []
        while len(found) < number:
            probe, port = held.enter_context(socket.socket()), random.SystemRandom().randrange(*LENT_TO_NOBODY)
            with suppress(OSError):  # somebody has it
                probe.bind(("127.0.0.1", port))
                found.append(port)
        return found


def short_folder() -> Path:
    """A new folder with a path short enough for Ray's sockets."""
    return Path(tempfile.mkdtemp(prefix="at-", dir="/tmp"))


def environment(folder: Path, **more: str) -> dict[str, str]:
    """This process' variables without its settings for Ray and aether, and with those of `folder`."""
    token = folder / "token"
    if not token.exists():
        token.write_text("0123456789abcdef" * 4)
        token.chmod(0o600)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "AETHER_"))}
    return {
        **kept,
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "AETHER_HOME": str(folder / "home"),
        "TMPDIR": str(folder),
        "COLUMNS": "200",
        **more,
    }


@dataclass(frozen=True)
class Ran:
    """How a command ended and what it said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """stdout, which must be one JSON document."""
        found = json.loads(self.out)
        assert isinstance(found, dict)
        return found

    @property
    def rows(self) -> list[Row]:
        rows = self.json["rows"]
        assert isinstance(rows, list)
        return rows


class Started:
    """A command that is running in a process group of its own, as a shell starts a foreground job."""

    def __init__(self, arguments: Sequence[str], env: dict[str, str], *, cwd: Path, terminal: bool) -> None:
        self._screen: int | None
        self._screen, slave = pty.openpty() if terminal else (None, None)
        self._process = subprocess.Popen(
            arguments,
            env=env,
            cwd=cwd,
            stdin=slave if slave is not None else subprocess.DEVNULL,
            stdout=slave if slave is not None else subprocess.PIPE,
            stderr=slave if slave is not None else subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=end_with_parent,
        )
        self.pid = self._process.pid
        self._shown = b""
        if slave is not None:
            os.close(slave)

    def signal_group(self, number: signal.Signals) -> None:
        """As a terminal does for Ctrl-C: to every process of the foreground group."""
        os.killpg(self.pid, number)

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def shown(self) -> str:
        """What the terminal showed so far."""
        while self._screen is not None and select.select([self._screen], [], [], 0)[0]:
            try:
                read = os.read(self._screen, 65536)
            except OSError:  # the last process that had the terminal open is gone
                break
            if not read:
                break
            self._shown += read
        return self._shown.decode(errors="replace")

    def end(self, *, timeout_s: float = RUN_TIMEOUT_S) -> Ran:
        """Waits for the command's own end. Raises TimeoutError."""
        if self._screen is None:
            try:
                out, err = self._process.communicate(timeout=timeout_s)
            except subprocess.TimeoutExpired as error:
                self.kill()
                raise TimeoutError(str(error)) from error
            return Ran(self._process.returncode, out, err)

        def ended() -> bool:
            self.shown()  # a terminal that nobody reads stops who writes to it
            return not self.running

        wait_until(ended, timeout_s=timeout_s, what="the command's end")
        return Ran(self._process.returncode, self.shown(), "")

    def interrupted_again(self) -> Ran:
        """How it ends by a further Ctrl-C, at once. One that comes before the first was heard is one with it for the
        system, so it is given again where nothing comes of it. Raises TimeoutError."""
        self.signal_group(signal.SIGINT)
        try:
            return self._ended(AGAIN_S)
        except TimeoutError:
            self.signal_group(signal.SIGINT)
        return self._ended(AGAIN_S)

    def _ended(self, timeout_s: float) -> Ran:
        def ended() -> bool:
            self.shown()
            return not self.running

        wait_until(ended, timeout_s=timeout_s, what="the end by a second Ctrl-C")
        return self.end()

    def kill(self) -> None:
        if self.running:
            os.killpg(self.pid, signal.SIGKILL)
            self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        if self._screen is not None:
            os.close(self._screen)


class Cluster(Protocol):
    """What attaching needs to know."""

    address: str
    env: dict[str, str]


class Aether:
    """The command line with a home of its own."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or short_folder()
        self.env = environment(self.folder)
        self.home = self.folder / "home"
        self.log = self.home / "aether.db"

    def __call__(
        self,
        *arguments: str,
        cwd: Path = ROOT,
        timeout_s: float = RUN_TIMEOUT_S,
        env: dict[str, str] | None = None,
    ) -> Ran:
        with self.start(*arguments, cwd=cwd, env=env) as started:
            return started.end(timeout_s=timeout_s)

    def start(
        self, *arguments: str, cwd: Path = ROOT, terminal: bool = False, env: dict[str, str] | None = None
    ) -> Started:
        more = env or {}
        path = os.pathsep.join(filter(None, (str(ROOT), more.get("PYTHONPATH"), self.env.get("PYTHONPATH"))))
        everything = {**self.env, **more, "PYTHONPATH": path}
        return Started((*AETHER, *arguments), everything, cwd=cwd, terminal=terminal)

    def attach(self, head: Cluster) -> None:
        """Runs on `head` from now on."""
        self.env |= {name: value for name, value in head.env.items() if name.startswith("RAY_")}
        self.env["AETHER_ADDRESS"] = head.address

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def processes_naming(text: str) -> list[str]:
    """Command lines of living processes that name `text`: Ray's name the folder they were started with."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # it ended meanwhile
            continue
        if text in line and str(os.getpid()) != path.parent.name:
            found.append(line)
    return found


def position(log: Path) -> int:
    """Position of the log's last event; 0 while there is none to read."""
    if not log.exists():
        return 0
    try:
        with closing(open_log(log, mode="read")) as store:
            return store.position()
    except LogError:  # its tables are being made
        return 0
