"""Logs of several recorded sessions whose events come in turns, for those who make rows of them."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from telemetry.events import Draft, Recorded, session
from telemetry.log import EventLog
from telemetry.log.export import event_of
from tests.golden.shapes import SHAPES

GOLDEN = Path(__file__).parent / "golden"
SESSIONS = ("maze", "refund", "lava")


@cache
def golden(name: str) -> tuple[Recorded, ...]:
    """The events of one recorded session."""
    lines = GOLDEN.joinpath(f"{name}.jsonl").read_bytes().splitlines()
    return tuple(event_of(line) for line in lines)


def fill_in_turns(log: EventLog, names: Sequence[str] = SESSIONS, *, seed: int = 1) -> int:
    """Puts the sessions onto `log`, a few events of one, then of another. Returns the log's position."""
    chance = random.Random(seed)
    left = {name: list(golden(name)) for name in names}
    while left:
        name = chance.choice(sorted(left))
        some = chance.randint(1, 9)
        taken, left[name] = left[name][:some], left[name][some:]
        log.restore(taken).result()
        if not left[name]:
            del left[name]
    return log.position()


def fill_with_shapes(log: EventLog) -> int:
    """Puts one event of every type that no recorded session holds onto `log`. Returns the log's position."""
    drafts = [Draft(event=event, command="shapes", ordinal=place) for place, event in enumerate(SHAPES)]
    log.append("shapes", drafts, expected_version=0, epoch=1)
    return log.position()


def forked(log: EventLog, parent: str, child: str, *, at_version: int) -> int:
    """Makes `child` a fork of `parent` after that version, with one more cycle opened in it."""
    (last,) = log.read(f"session/{parent}", after=at_version - 1, to=at_version)
    fork = session.Forked(parent=f"session/{parent}", at_version=at_version, at_hash=last.hash.hex())
    drafts = [
        Draft(event=fork, command="fork"),
        Draft(event=session.CycleOpened(cycle=last.cycle + 1), command="open", cycle=last.cycle + 1),
    ]
    log.append(f"session/{child}", drafts, expected_version=at_version, epoch=1)
    return log.position()


def closings(name: str) -> Iterator[int]:
    """Versions at which a recorded session's cycles close."""
    return (event.version for event in golden(name) if event.type == "session.cycle_closed")
