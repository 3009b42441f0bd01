"""How many events a second one real session host gets onto the disk, and how large it is with many sessions.

All sessions run the null scenario, which never ends. The rate is read from the log: events written between the
moment when the last session was opened and the moment when the first one was told to rest, over that time. Each
session waits for every commit it makes, so what is written and what is acknowledged differ by one commit a session
at both ends."""

from __future__ import annotations

import subprocess
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from benchmarks.scenarios import NULL, order
from runtime.hosting.hosts import Hosts
from runtime.hosting.orders import RunStatus
from runtime.sessions import PREFIX
from runtime.settings import Settings, Telemetry
from telemetry.log import open_log

NOTHING = Telemetry()


@dataclass(frozen=True, slots=True)
class Load:
    events_per_s: float
    host_rss_mib: float
    """The largest resident size seen while all sessions were live."""


class _Watch:
    """Lets all sessions run for `window_s` from when the last was opened, then has the host suspend them."""

    def __init__(self, host: Hosts, sessions: int, window_s: float) -> None:
        self.rss_mib = 0.0
        self._host = host
        self._sessions = sessions
        self._window_s = window_s
        self._began: float | None = None
        self._suspended = False

    def __call__(self, status: RunStatus) -> None:
        if self._suspended or (self._began is None and not self._all_open()):
            return
        now = time.monotonic()
        self._began = now if self._began is None else self._began
        self.rss_mib = max(self.rss_mib, *map(_rss_mib, status.pids))
        if now - self._began >= self._window_s:
            self._suspended = True
            self._host.suspend()

    def _all_open(self) -> bool:
        with closing(open_log(self._host.url, mode="read")) as log:
            return len(log.heads(prefix=PREFIX, limit=self._sessions)) == self._sessions


def measure_load(folder: Path, sessions: int, *, window_s: float, telemetry: Telemetry = NOTHING) -> Load:
    """Runs `sessions` sessions at once in a host of their own, on the Ray that the caller is connected to, with
    `telemetry` beside them."""
    host = Hosts(Settings(home=folder, telemetry=telemetry))
    watch = _Watch(host, sessions, window_s)
    try:
        for session, error in host.run([order(NULL, index=index) for index in range(sessions)], watch=watch):
            if error is not None:
                raise RuntimeError(f"session {session} did not come to its end") from error
    finally:
        host.close()
    return Load(events_per_s=_rate(host.url, sessions), host_rss_mib=watch.rss_mib)


def _rate(url: str, sessions: int) -> float:
    with closing(open_log(url, mode="read")) as log:
        opened_ns = [recorded.at for recorded in log.read_all(types=("session.opened",))]
        rested_ns = [recorded.at for recorded in log.read_all(types=("session.suspended",))]
        assert len(opened_ns) == len(rested_ns) == sessions, "every session was opened once and suspended once"
        begin_ns, end_ns = max(opened_ns), min(rested_ns)
        events = sum(begin_ns < recorded.at <= end_ns for recorded in log.read_all())
    return events / ((end_ns - begin_ns) / 1e9)


def _rss_mib(pid: int) -> float:
    """Resident set of a process, from ps, which counts in KiB everywhere."""
    listed = subprocess.run(
        ["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=True, timeout=10
    )
    return int(listed.stdout) / 1024
