"""A live subscriber of a log on PostgreSQL beside many hosts, some of which hold their transaction open: does it miss
an event, and how many are written meanwhile? `python -m benchmarks.postgres_log` prints it.

Each writer is a process with some sessions that append at once, so that groups gather as in a host. A holding writer
begins each transaction, takes its transaction id, and waits a while before it asks for the lock: what began early
commits late, and the order of transactions is not that of positions. Positions are counted as they come. The server is
made for this, with fsync, in a temporary folder; where that lies in memory, the rate says little."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

from telemetry.events import Draft, sense
from telemetry.events.values import Text, digest_of
from telemetry.log import EventLog, open_log
from telemetry.log.postgres.writer import PostgresCommitter
from telemetry.log.stored import StoredLog
from tests.postgres import Server

EVENTS = 200_000
WRITERS, HOLDING = 16, 4
SESSIONS = 50
"""Of one writer."""
EACH = 5
"""Events of one append: a cycle's steps."""
TEXT_CHARACTERS = 66
"""Makes the stored payload 200 bytes long."""
HOLD_S = 0.02
"""A holding writer's transaction is open for up to so long before it asks for the lock."""
PATIENCE_S = 120.0


@dataclass(frozen=True)
class Measured:
    """`missed` and `twice` are events that the subscriber was not handed, or was handed again; `inverted` counts
    neighbours in the order of positions whose transactions began in the other order."""

    events: int
    missed: int
    twice: int
    inverted: int
    events_per_s: float


def measure(
    *, events: int = EVENTS, writers: int = WRITERS, holding: int = HOLDING, say: Callable[[str], None] = lambda _: None
) -> Measured:
    """Raises `tests.postgres.NoServer` where PostgreSQL is not installed."""
    with closing(Server()) as server:
        url = server.database()
        open_log(url).close()
        each = events // writers // (SESSIONS * EACH) * (SESSIONS * EACH)
        total = each * writers
        seen: list[int] = []
        following = threading.Thread(target=_follow, args=(url, total, seen))
        processes = [_writer(url, number, each, hold=number < holding) for number in range(writers)]
        for process in processes:
            assert process.stdout is not None
            process.stdout.readline()  # it is ready
        say(f"{writers} writers, {holding} of them holding, {total:,} events")
        following.start()
        began = time.perf_counter()
        for process in processes:
            assert process.stdin is not None
            process.stdin.close()
        codes = [process.wait() for process in processes]
        took_s = time.perf_counter() - began
        assert not any(codes), f"a writer failed: {codes}"
        following.join(PATIENCE_S)
        distinct = set(seen)
        with server.admin(url) as admin:
            found = admin.execute(INVERTED).fetchone()
        assert found is not None
        return Measured(
            events=total,
            missed=total - len(distinct),
            twice=len(seen) - len(distinct),
            inverted=int(str(found[0])),
            events_per_s=total / took_s,
        )


INVERTED = """SELECT count(*) FROM (
    SELECT xmin::text::bigint < lag(xmin::text::bigint) OVER (ORDER BY position) AS later FROM events) AS neighbours
WHERE later"""


def _follow(url: str, total: int, seen: list[int]) -> None:
    with closing(open_log(url, mode="read")) as log:
        subscription = log.subscribe()
        until = time.monotonic() + PATIENCE_S
        while subscription.position < total and time.monotonic() < until:
            seen.extend(event.position for event in subscription.next(timeout_s=1.0).events)


def _writer(url: str, number: int, events: int, *, hold: bool) -> subprocess.Popen[str]:
    order = json.dumps({"url": url, "number": number, "events": events, "hold": hold})
    command = [sys.executable, "-m", "benchmarks.postgres_log", "writer", order]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _write(url: str, number: int, events: int, *, hold: bool) -> None:
    """Appends as one host does, from several sessions at once; of a holding writer one group after the other."""
    with closing(open_log(url)) as log:
        print("ready", flush=True)
        sys.stdin.read()
        version = 0
        while version * SESSIONS < events:
            if hold:
                _open_early(log)
            futures = [
                log.submit(f"session/{number:02x}{session:02x}", _cycle(version), expected_version=version, epoch=1)
                for session in range(SESSIONS)
            ]
            for future in futures:
                future.result()
            version += EACH


def _cycle(version: int) -> list[Draft]:
    drafts = []
    for ordinal in range(EACH):
        seen = Text(name="step", text=str(version + ordinal).zfill(TEXT_CHARACTERS))
        event = sense.Observed(observations=(seen,), digest=digest_of(seen))
        drafts.append(Draft(event=event, command=f"{version}.sense", ordinal=ordinal, cycle=1 + version // EACH))
    return drafts


def _open_early(log: EventLog) -> None:
    """The host's own BEGIN then changes nothing."""
    assert isinstance(log, StoredLog)
    writer = log._database.writer
    assert writer is not None
    committer = writer._committer
    assert isinstance(committer, PostgresCommitter)
    committer._connection.execute("BEGIN")
    committer._connection.execute("SELECT pg_current_xact_id()")
    time.sleep(random.uniform(0, HOLD_S))


if __name__ == "__main__":
    if sys.argv[1:2] == ["writer"]:
        _write(**json.loads(sys.argv[2]))
    else:
        print(measure(say=print))
