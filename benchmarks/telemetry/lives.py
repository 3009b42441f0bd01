"""A log of many sessions in a moment: one recorded session, again and again under other names.

Knows a golden log and what the chain is over; knows nothing of what is measured on it. Invariant: every copy is a
stream that `aether log verify` finds whole."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import replace
from hashlib import sha256

from benchmarks.report import ROOT
from telemetry.events.envelope import GENESIS, Recorded, chain_hash
from telemetry.log import EventLog
from telemetry.log.export import event_of

MAZE = ROOT / "tests" / "golden" / "maze.jsonl"
"""Six cycles in a maze with a world model, 147 events."""

APART_NS = 1_000_000_000
"""Each session begins so long after the one before."""

UNDER_WAY = 64


def live(log: EventLog, *, events: int) -> int:
    """Fills `log` with sessions of at least so many events in all, and returns how many sessions."""
    session = [event_of(line) for line in MAZE.read_bytes().splitlines()]
    count = -(-events // len(session))
    waiting: deque[Future[tuple[Recorded, ...]]] = deque()
    for number in range(count):
        waiting.append(log.restore(list(_copied(session, number))))
        if len(waiting) > UNDER_WAY:
            waiting.popleft().result()
    for future in waiting:
        future.result()
    return count


def _copied(session: list[Recorded], number: int) -> Iterator[Recorded]:
    old, new = session[0].stream, f"session/{number:012x}"
    old_id, new_id = f'"{old}@'.encode(), f'"{new}@'.encode()
    hash_ = GENESIS
    for event in session:
        payload = event.payload.replace(old_id, new_id)
        copy = replace(
            event,
            stream=new,
            at=event.at + number * APART_NS,
            cause=event.cause.replace(old, new),
            refs=event.refs.replace(f'"{old}@', f'"{new}@'),
            payload=payload,
            digest=sha256(payload).digest(),
        )
        hash_ = chain_hash(hash_, copy.header(), copy.digest)
        yield replace(copy, hash=hash_)
