"""SIGKILL, to the session host and to phase actors, at moments that nobody chose: nothing acknowledged is lost,
and the session ends as it would have ended."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from runtime.sessions import PREFIX
from telemetry.errors import LogError
from telemetry.log import EventLog, Head, open_log
from tests import clusters
from tests.aether import Aether, Row, wait_until

CYCLES = 200
EVENTS_A_CYCLE = 23
RESTART_TIMEOUT_S = 120.0
RUN_TIMEOUT_S = 400.0

MAZE = """\
name = "kill"
seed = 11

[environment]
id = "gymnasium:PointMaze_UMaze-v3"
frames = 5
max_frames = 150
episodes = 1000

[reasoner]
kind = "greedy"
hold = 6
explore = 0.5

[memory]
when = "surprise"
recall = 4
"""

POOLS = f"""\
{MAZE}
[placement]
sense = "light"
feel = "light"
reason = "light"
execute = "world"
learn = "light"

[pools.light]
cpus = 0.5

[pools.world]
cpus = 0.5
"""


_CALM: dict[str, Row] = {}
"""The undisturbed session of each scenario, run once."""


@dataclass(frozen=True)
class Moment:
    """Where the log stood when a process was killed: what a reader had seen was acknowledged."""

    version: int
    hash: bytes


def test_a_host_killed_twenty_times_ends_where_an_undisturbed_one_does(attached: Aether) -> None:
    calm, struck, moments = _calm_and_struck(attached, MAZE, kills=20, victims=lambda: _host(attached))
    assert struck["state_hash"] == calm["state_hash"]
    _check_record(attached, struck, moments)
    resumed = [m for m in _types(attached, struck) if m == "session.resumed"]
    assert 1 <= len(resumed) <= len(moments), "some kills hit a session that was still being opened or resumed"


def test_a_host_with_every_phase_in_pools_survives_its_kills(attached: Aether) -> None:
    calm, struck, moments = _calm_and_struck(attached, POOLS, kills=5, victims=lambda: _host(attached))
    assert struck["state_hash"] == calm["state_hash"]
    _check_record(attached, struck, moments)


def test_killed_phase_actors_come_back_and_change_nothing(attached: Aether, head: clusters.Head) -> None:
    calm, struck, moments = _calm_and_struck(attached, POOLS, kills=5, victims=lambda: head.actors("PhaseActor"))
    assert struck["state_hash"] == calm["state_hash"]
    _check_record(attached, struck, moments)
    assert "session.resumed" not in _types(attached, struck), "the host itself was never touched"


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_kills_of_hosts_and_phase_actors_mixed_change_nothing(attached: Aether, head: clusters.Head, seed: int) -> None:
    def anyone() -> list[int]:
        return _host(attached) + head.actors("PhaseActor")

    calm, struck, moments = _calm_and_struck(attached, POOLS, kills=20, victims=anyone, seed=seed)
    assert struck["state_hash"] == calm["state_hash"]
    _check_record(attached, struck, moments)


def _calm_and_struck(
    aether: Aether, scenario: str, *, kills: int, victims: Callable[[], list[int]], seed: int = 0
) -> tuple[Row, Row, list[Moment]]:
    """The rows of two equal sessions, one left alone and one whose `victims` were killed, and when they were."""
    file = aether.folder / "scenario.toml"
    file.write_text(scenario)
    command = ("run", str(file), "--cycles", str(CYCLES), "--json")
    if scenario not in _CALM:
        (calm,) = aether(*command, "--log", str(aether.folder / "calm.db"), timeout_s=RUN_TIMEOUT_S).rows
        assert calm["cycles"] == CYCLES
        _CALM[scenario] = calm
    with aether.start(*command) as started:
        moments = _strike(aether.log, kills, victims, random.Random(seed))
        (struck,) = started.end(timeout_s=RUN_TIMEOUT_S).rows
    return _CALM[scenario], struck, moments


def _strike(log: Path, kills: int, victims: Callable[[], list[int]], chance: random.Random) -> list[Moment]:
    """Kills one of `victims` each time the session has gone on by a random number of events, so anywhere in a cycle.

    None of them is killed twice: the next has to be there first."""
    moments: list[Moment] = []
    killed: set[int] = set()
    wait_until(log.exists, timeout_s=RESTART_TIMEOUT_S, what="the log is there")
    with closing(_reader(log)) as reader:
        goal = 1
        for _ in range(kills):
            while True:
                victim, head = _next(reader, goal, lambda: [pid for pid in victims() if pid not in killed], chance)
                killed.add(victim)
                with suppress(ProcessLookupError):  # as a phase actor that ends with its host
                    os.kill(victim, signal.SIGKILL)
                    break
            moments.append(Moment(head.version, head.hash))
            goal = head.version + chance.randrange(CYCLES * EVENTS_A_CYCLE // kills)
    assert moments[-1].version < CYCLES * EVENTS_A_CYCLE
    return moments


def _next(reader: EventLog, goal: int, victims: Callable[[], list[int]], chance: random.Random) -> tuple[int, Head]:
    found: list[int] = []

    def there() -> bool:
        found[:] = victims()
        return bool(found) and _version(reader) >= goal

    wait_until(there, timeout_s=RESTART_TIMEOUT_S, what=f"version {goal} with somebody to kill")
    (head,) = reader.heads(prefix=PREFIX)
    return chance.choice(sorted(found)), head


def _reader(log: Path) -> EventLog:
    found: list[EventLog] = []

    def readable() -> bool:
        try:
            found.append(open_log(log, mode="read"))
        except LogError:  # its tables are being made
            return False
        return True

    wait_until(readable, timeout_s=RESTART_TIMEOUT_S, what="the log can be read")
    return found[0]


def _version(reader: EventLog) -> int:
    heads = reader.heads(prefix=PREFIX)
    return heads[0].version if heads else 0


def _host(aether: Aether) -> list[int]:
    """The process that holds the log, by the name it left on its lock."""
    words = aether.log.with_name("aether.db.lock").read_text().split()
    return [int(words[1])] if words[:1] == ["pid"] else []


def _check_record(aether: Aether, row: Row, moments: list[Moment]) -> None:
    with closing(open_log(aether.log, mode="read")) as log:
        recorded = list(log.read(PREFIX + row["session"]))
        assert [event.version for event in recorded] == list(range(1, row["version"] + 1))
        assert [recorded[moment.version - 1].hash for moment in moments] == [moment.hash for moment in moments]
        assert log.verify().ok
    assert aether("log", "verify").code == 0
    (replayed,) = aether("replay", row["session"], "--json").rows
    assert replayed["agrees"]
    assert replayed["state_hash"] == row["state_hash"]


def _types(aether: Aether, row: Row) -> list[str]:
    with closing(open_log(aether.log, mode="read")) as log:
        return [event.type for event in log.read(PREFIX + row["session"])]
