"""Runs on several session hosts that share a PostgreSQL log: how they are started, killed and looked at.

Knows the command line and the log. Invariant: who owned a session is read from its events, never from a host."""

from __future__ import annotations

import itertools
import os
import random
import signal
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass

from runtime.sessions import PREFIX
from telemetry.errors import LogError
from telemetry.events import Recorded, execute, sense, session, split_id
from telemetry.log import open_log
from tests.aether import Aether, Row, Started, wait_until

BOUND_S = 240.0
EVENTS_A_CYCLE = 20
MAZE = """\
name = "many"
seed = 11
[environment]
id = "gymnasium:PointMaze_UMaze-v3"
frames = 5
max_frames = 150
episodes = 1000
[memory]
when = "surprise"
recall = 4
"""
POOLS = f"""\
{MAZE}
[placement]
reason = "away"
execute = "away"
learn = "away"
[pools.away]
cpus = 1
"""


@dataclass(frozen=True)
class Death:
    """A host that was killed, and those that lived then."""

    victim: int
    survivors: frozenset[int]


def calm(aether: Aether, *, sessions: int, cycles: int, scenario: str = MAZE) -> list[Row]:
    """The sessions on one SQLite host that nobody disturbs."""
    ran = aether(*_command(aether, scenario, aether.folder / "calm.db", sessions, cycles), timeout_s=BOUND_S)
    assert ran.code == 0, ran.err
    return ran.rows


def started(
    aether: Aether, url: str, *, sessions: int, cycles: int, hosts: int | None = 2, scenario: str = MAZE
) -> Started:
    """The same sessions, from the same seeds, on several hosts; on as many as there are by default when None."""
    env = {} if hosts is None else {"AETHER_HOSTS": str(hosts)}
    return aether.start(*_command(aether, scenario, url, sessions, cycles), env=env)


def _command(aether: Aether, scenario: str, log: object, sessions: int, cycles: int) -> tuple[str, ...]:
    file = aether.folder / "maze.toml"
    file.write_text(scenario)
    return "run", str(file), "--sessions", str(sessions), "--cycles", str(cycles), "--log", str(log), "--json"


def strike(url: str, kills: int, living: Callable[[], Sequence[int]], chance: random.Random) -> list[Death]:
    """Kills one host after the other, each when two live and the log has gone on."""
    deaths: list[Death] = []
    pair: list[int] = []
    goal = 15 * EVENTS_A_CYCLE

    def both() -> bool:
        killed = {death.victim for death in deaths}  # the system may show them for a while
        pair[:] = sorted(set(living()) - killed)
        return len(pair) == 2

    for _ in range(kills):
        reach(url, goal)
        wait_until(both, timeout_s=BOUND_S, what="both hosts live")
        victim, survivor = chance.sample(pair, 2)
        os.kill(victim, signal.SIGKILL)
        deaths.append(Death(victim, frozenset({survivor})))
        goal = position(url) + chance.randrange(40, 120) * EVENTS_A_CYCLE
    return deaths


def reach(url: str, goal: int) -> None:
    """Waits until the log has so many events."""
    wait_until(lambda: position(url) >= goal, timeout_s=BOUND_S, what=f"position {goal}")


def position(url: str) -> int:
    try:
        with closing(open_log(url, mode="read")) as log:
            return log.position()
    except LogError:  # its tables are being made
        return 0


def counted(url: str, type_: str) -> int:
    """How many events of that type the log has."""
    with closing(open_log(url, mode="read")) as log:
        return sum(1 for _ in log.read_all(types=(type_,)))


def owned(url: str, number: int) -> list[tuple[Row, str]]:
    """So many sessions, by their ids alone, each with the host that opened it; waits until they have acted."""
    found: list[tuple[Row, str]] = []

    def there() -> bool:
        found[:] = acted(url)
        return len(found) == number

    wait_until(there, timeout_s=BOUND_S, what=f"{number} sessions at work")
    return found


def acted(url: str) -> list[tuple[Row, str]]:
    """As `owned`, those that have acted by now."""
    if not position(url):
        return []
    with closing(open_log(url, mode="read")) as log:
        rows: list[Row] = [{"session": head.stream.removeprefix(PREFIX)} for head in log.heads(prefix=PREFIX)]
    return [(row, had[0]) for row in rows if (had := owners(url, row))]


def events(url: str, row: Row, *types: str) -> list[Recorded]:
    with closing(open_log(url, mode="read")) as log:
        return list(log.read(PREFIX + row["session"], types=types))


def owners(url: str, row: Row) -> list[str]:
    """The hosts that had the session, in turn: who opened it is known by its first effect."""
    found: list[str] = []
    for recorded in events(url, row, "execute.dispatched", "session.resumed"):
        match recorded.event:
            case execute.Dispatched(executor=owner) if not found:
                found.append(owner)
            case session.Resumed(owner=owner):
                found.append(owner)
    return found


def pid(owner: str) -> int:
    return int(owner.rpartition("/")[2])


def check_moves(url: str, row: Row, deaths: Sequence[Death]) -> int:
    """How often the session moved. Asserts that it went on at a host that lived when its own was killed."""
    lived = {death.victim: death.survivors for death in deaths}
    had = [pid(owner) for owner in owners(url, row)]
    for before, after in itertools.pairwise(had):
        assert after in lived[before], f"{row['session']} went from {before} to {after}"
    return len(had) - 1


def check_whole(url: str) -> None:
    """Asserts that every chain is whole, and that no session was written under an epoch that had passed."""
    with closing(open_log(url, mode="read")) as log:
        assert log.verify().ok
        for head in log.heads(prefix=PREFIX):
            epochs = [recorded.epoch for recorded in log.read(head.stream)]
            assert epochs == sorted(epochs)


def recalled(url: object, row: Row) -> list[list[tuple[int, float]]]:
    """What each recall of the session brought back: versions and scores."""
    with closing(open_log(str(url), mode="read")) as log:
        found = [recorded.event for recorded in log.read(PREFIX + row["session"], types=("sense.recalled",))]
    return [
        [(split_id(hit.event)[1], hit.score) for hit in event.hits]
        for event in found
        if isinstance(event, sense.Recalled)
    ]
