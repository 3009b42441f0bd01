"""How long sessions stand still when their host is killed: from Ray's notice of the death to their first new event.

Two real hosts share a PostgreSQL log. One is killed, then the other, in turn, each when both live and every session
of the last has gone on. The notice is when the driver meets Ray's error for the session; the first new event says that
the next owner has verified, folded and resumed it, by the log's clock, which is this machine's."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import closing, redirect_stdout
from pathlib import Path

from benchmarks.scenarios import maze, order
from runtime.hosting.cluster import connected
from runtime.hosting.hosts import Hosts
from runtime.hosting.orders import RunStatus
from runtime.sessions import stream_of
from runtime.settings import Settings
from telemetry.log import EventLog, open_log

HOSTS = 2
EVENTS_BETWEEN = 2000
"""Events of all sessions between one kill and the next."""


class _Killer:
    """Kills a host whenever all sessions go on at both, and lets them rest after the last."""

    def __init__(self, hosts: Hosts, log: EventLog, *, kills: int) -> None:
        self.lost: set[tuple[str, int]] = set()
        """Sessions and when their host was noticed to be dead (UTC, ns)."""
        self._hosts = hosts
        self._log = log
        self._left = kills
        self._position = 0
        self._victims: set[int] = set()
        self._resting = False

    def __call__(self, status: RunStatus) -> None:
        self.lost |= set(self._hosts.lost_ns.items())
        if self._resting or not self._all_go_on(status):
            return
        if not self._left:
            self._resting = True
            self._hosts.suspend()
            return
        self._left -= 1
        self._position = self._log.position()
        fresh = [pid for pid in status.pids if pid not in self._victims]
        victim = fresh[self._left % len(fresh)]
        self._victims.add(victim)
        os.kill(victim, signal.SIGKILL)

    def _all_go_on(self, status: RunStatus) -> bool:
        if len(status.pids) < HOSTS or self._victims & set(status.pids):
            return False
        if self._log.position() < self._position + EVENTS_BETWEEN:
            return False
        return all(resumed_after(self._log, session, noticed) is not None for session, noticed in self.lost)


def measure_takeover(folder: Path, url: str, *, sessions: int, kills: int) -> list[float]:
    """Seconds of each session of each killed host, on a Ray of its own and the empty log at `url`."""
    settings = Settings(home=folder, log=url, hosts=HOSTS)
    orders = [order(maze(), index=index) for index in range(sessions)]
    with redirect_stdout(sys.stderr), connected(settings):  # Ray prints what dies, and stdout is for figures
        hosts = Hosts(settings, orders)
        try:
            with closing(open_log(url, mode="read")) as log:
                killer = _Killer(hosts, log, kills=kills)
                for session, error in hosts.run(orders, watch=killer):
                    if error is not None:
                        raise RuntimeError(f"session {session} did not come to its rest") from error
                return [_seconds(log, session, noticed) for session, noticed in sorted(killer.lost)]
        finally:
            hosts.close()


def resumed_after(log: EventLog, session: str, noticed_ns: int) -> int | None:
    """When the session was resumed after that moment (UTC, ns)."""
    found = (r.at for r in log.read(stream_of(session), types=("session.resumed",)) if r.at > noticed_ns)
    return next(found, None)


def _seconds(log: EventLog, session: str, noticed_ns: int) -> float:
    resumed_ns = resumed_after(log, session, noticed_ns)
    assert resumed_ns is not None, f"{session} rests, so it was resumed"
    return (resumed_ns - noticed_ns) / 1e9
