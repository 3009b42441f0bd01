"""Sessions of a scenario, wave after wave, until enough moves of theirs are on the log.

Knows which sessions are to learn from and how many moves they made; knows no model. Invariant: what was begun is ended
before anything new is begun, and all seeds follow from the scenario's and from how many sessions there are."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

from loops.randomness import derive
from runtime.errors import FAILED, RuntimeFailure
from runtime.hosting.orders import RunStatus, SessionOrder
from runtime.learning.fleet import Fleet, Ran
from runtime.run import at_work
from runtime.scenario import ScenarioFile
from runtime.sessions import PREFIX, new_session
from telemetry.events import session
from telemetry.log import EventLog, open_log

MOVED = "execute.succeeded"
CLOSED = "session.closed"

NEARLY = 0.9
"""Share of the sessions that seem to be missing which a wave has."""
GROWTH = 4
"""How many times as many sessions as there were a wave may have."""


class Stopped(RuntimeFailure):
    """What kept a round from its end, with the exit code of that."""

    def __init__(self, message: str, *, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@dataclass(frozen=True, slots=True)
class Gathered:
    moves: int
    """Since the position that was asked for."""
    made_by: int
    """Sessions that made them."""
    sessions: int
    """All there are, evaluations apart."""
    unfinished: tuple[str, ...]
    """Ids of those that are not closed."""


def gathered(log: EventLog, scenario: str, *, since: int) -> Gathered:
    """What the sessions of the scenario of that name did after position `since`; evaluations are left out, and sessions
    that nobody can tell the scenario of, as what they opened with is withheld: nothing is learnt from them either."""
    position = log.position()
    closed: dict[str, bool] = {}
    for recorded in log.read_all(to=position, types=("session.opened", CLOSED)):
        if recorded.type == CLOSED:
            if recorded.stream in closed:
                closed[recorded.stream] = True
            continue
        if recorded.withheld:
            continue
        match recorded.event:
            case session.Opened(scenario=name, purpose=None) if name == scenario:
                closed[recorded.stream] = False
    movers: dict[str, int] = {}
    for recorded in log.read_all(after=since, to=position, types=(MOVED,)):
        if recorded.stream in closed:
            movers[recorded.stream] = movers.get(recorded.stream, 0) + 1
    unfinished = tuple(stream.removeprefix(PREFIX) for stream, over in closed.items() if not over)
    return Gathered(sum(movers.values()), len(movers), len(closed), unfinished)


Told = Callable[[int, RunStatus | None], None]
"""Is told of the moves so far, and of how the hosts stand while sessions run."""


def gather(fleet: Fleet, file: ScenarioFile, *, wanted: int, since: int, source: str, told: Told) -> Gathered:
    """Runs sessions of `file` until they have made `wanted` moves after position `since`; those that were cut off go on
    first. Returns at once where all of that is on the log.

    Raises `Stopped` where a session is kept from its end, or where sessions make no moves."""
    tried: set[str] = set()
    wave: tuple[Ran, int] | None = None
    while True:
        with closing(open_log(fleet.url, mode="read")) as log:
            have = gathered(log, file.scenario.name, since=since)
            left = [name for name in have.unfinished if name not in tried]
            busy = at_work(log, left)
        if wave is not None:
            _check_moved(*wave, now=have.moves)
        told(have.moves, None)
        orders = [SessionOrder(session=name) for name in left if name not in busy]
        if not orders and have.moves >= wanted:
            return have
        fresh = not orders
        orders = orders or _wave(file, have, wanted=wanted, source=source)
        tried |= {order.session for order in orders}
        ran = fleet.run(orders, watch=_counting(have.moves, told))
        if ran.errors:
            raise Stopped(f"{len(ran.errors)} sessions did not end: {ran.errors[0]}", exit_code=ran.exit_code)
        wave = (ran, have.moves) if fresh else None


def _wave(file: ScenarioFile, have: Gathered, *, wanted: int, source: str) -> list[SessionOrder]:
    """Nearly as many new sessions as it seems to take, and not many more than that rests on, as the next wave knows
    better; no fewer than the scenario says."""
    scenario = file.scenario
    missing = wanted - have.moves
    seem = min(math.ceil(NEARLY * missing * have.made_by / have.moves), GROWTH * have.made_by) if have.moves else 0
    return [
        SessionOrder(
            session=new_session(),
            scenario_text=file.text,
            source=source,
            seed=derive(scenario.seed, "session", have.sessions + index),
            cycles=wanted if scenario.cycles is None else scenario.cycles,
        )
        for index in range(max(scenario.sessions, seem))
    ]


def _counting(moves: int, told: Told) -> Callable[[RunStatus], None]:
    """A host counts the cycles of all that it ran: those of this wave are what came since its first word."""
    first: int | None = None

    def watch(status: RunStatus) -> None:
        nonlocal first
        first = status.cycles if first is None else min(first, status.cycles)
        told(moves + status.cycles - first, status)

    return watch


def _check_moved(ran: Ran, before: int, *, now: int) -> None:
    """Raises `Stopped` where new sessions made no moves."""
    if now > before:
        return
    why = next((row.error for row in ran.rows if row.error), "they ended without a move")
    raise Stopped(f"{len(ran.rows)} sessions ran and nothing was gathered: {why}", exit_code=ran.exit_code or FAILED)
