"""The law of the ledger: its row of a session is what reading that session back from the log gives."""

from __future__ import annotations

import atexit
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from functools import cache
from itertools import pairwise
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.fork import cut_before, fork
from runtime.ledger import Sessions, ledger
from runtime.people.approvals import append_answer, open_question
from runtime.sessions import PREFIX, UNANSWERED, WAITING, SessionRow, row_of
from telemetry.events import Draft, Event, Recorded, execute, session
from telemetry.events.values import Usage
from telemetry.log import EventLog, open_log
from telemetry.log.sqlite.place import SqliteRows
from tests.local import Cut, Cutter, Local
from tests.projections import Table

NULL = """
name = "null"
environment = { id = "null:" }
memory = { recall = 0 }
"""
ASKS = (
    NULL.replace('"null"', '"asks"')
    + """
[[heart.rules]]
id = "ask"
verdict = "ask"
reason = "r"
actions = [0, 1]
"""
)
HASH, OTHER = "a" * 64, "b" * 64
EFFECT = "cd" * 32
NAMES = st.sampled_from(["x", "y", "z"])


def told(log: EventLog) -> list[SessionRow]:
    """Every session as it is read back from the log itself."""
    return [row_of(log, head) for head in log.heads(prefix=PREFIX)]


def listed(log: EventLog) -> list[SessionRow]:
    """The same, as the ledger has it."""
    with ledger(log) as found:
        page, _ = found.page()
    return [SessionRow.model_validate(row.model_dump(include=set(SessionRow.model_fields))) for row in page]


# --- logs of real sessions -----------------------------------------------------------------------


def runs(local: Local, name: str, number: int) -> None:
    scenario = ASKS if name == "y" else NULL
    stops = iter([False] * (number % 4))
    local.run(name, scenario, cycles=4, stop=lambda: next(stops, True))


def is_cut_off(local: Local, name: str, number: int) -> None:
    with suppress(Cut):
        local.run(name, ASKS if name == "y" else NULL, cycles=4, commits=Cutter(at=1 + number))


def is_forked(local: Local, name: str, number: int) -> None:
    head = local.log.head(PREFIX + name)
    if head is not None:
        new = f"{name}{number}"
        if local.log.head(PREFIX + new) is None:
            fork(local.log, name, at=cut_before(local.log, name, 1 + number % head.version), new=new)


def goes_on_as_a_fork(local: Local, name: str, number: int) -> None:
    new = f"{name}{number}"
    if local.log.head(PREFIX + new) is not None:
        runs(local, new, number)


def is_answered(local: Local, name: str, number: int) -> None:
    if local.log.head(PREFIX + name) is not None:
        asked = open_question(local.log, name)
        if asked is not None:
            append_answer(local.log, name, asked.effect, granted=number % 2 == 0, by="ann", why="")


def is_listed(local: Local, name: str, number: int) -> None:
    assert listed(local.log) == told(local.log)


DEEDS: Sequence[Callable[[Local, str, int], None]] = (
    runs,
    is_cut_off,
    is_forked,
    goes_on_as_a_fork,
    is_answered,
    is_listed,
)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(DEEDS), NAMES, st.integers(0, 20)), min_size=4, max_size=14))
def test_whatever_became_of_sessions_the_ledger_has_their_rows(
    deeds: list[tuple[Callable[[Local, str, int], None], str, int]],
) -> None:
    with tempfile.TemporaryDirectory() as folder, closing(open_log(Path(folder) / "log.db")) as log:
        local = Local(log)
        for does, name, number in deeds:
            row = next((row for row in told(log) if row.session == name), None)
            if does not in (runs, is_cut_off) or row is None or row.status != "closed":
                does(local, name, number)
        local.close()
        assert listed(log) == told(log)


# --- any order of what tells ---------------------------------------------------------------------


def opened() -> Event:
    return session.Opened(
        scenario="s",
        scenario_text="",
        scenario_digest=HASH,
        seed=0,
        environment="null:",
        spaces={},
        versions={},
    )


def suspended(reason: str) -> Event:
    return session.Suspended(reason=reason, cycles=3, state_hash=OTHER)


MIDDLE: tuple[Event, ...] = (
    session.CycleClosed(
        cycle=2, state_hash=HASH, reducer=1, usage=Usage(model_calls=1, input_tokens=7, output_tokens=5, cost_usd=0.1)
    ),
    suspended("asked to rest"),
    suspended(f"{WAITING} of {EFFECT}"),
    suspended(f"{UNANSWERED}: it is down"),
    session.Resumed(after="suspended", owner="o", verified_to=1),
    execute.ApprovalGiven(effect=EFFECT, arguments=HASH, granted=True, by="ann"),
    execute.UnknownOutcome(effect=EFFECT, why="cut off"),
    execute.Reconciled(effect=EFFECT, cycle=1, happened=True, by="ann", why="it arrived"),
    session.CycleOpened(cycle=3),
)
CLOSED = session.Closed(reason="failed", error="it broke", cycles=4, state_hash=HASH)


@given(st.lists(st.sampled_from(MIDDLE), max_size=12), st.booleans())
@settings(max_examples=60, deadline=None)
def test_in_any_order_of_events_the_ledger_ends_as_reading_back_does(events: list[Event], closes: bool) -> None:
    everything = [opened(), *events, *([CLOSED] if closes else [])]
    with tempfile.TemporaryDirectory() as folder, closing(open_log(Path(folder) / "log.db")) as log:
        for version, event in enumerate(everything):
            log.append("session/a", [Draft(event=event, command=f"c{version}")], expected_version=version, epoch=1)
        assert listed(log) == told(log)
        with ledger(log) as found:
            ((row,), _) = found.page()
        calls = sum(isinstance(event, session.CycleClosed) for event in events)
        doubts = [e for e in events if isinstance(e, execute.UnknownOutcome | execute.Reconciled)]
        assert (row.model_calls, row.input_tokens, row.output_tokens) == (calls, 7 * calls, 5 * calls)
        assert row.unknown_effects == (bool(doubts) and isinstance(doubts[-1], execute.UnknownOutcome))


# --- batches -------------------------------------------------------------------------------------


def tables(log: EventLog, batches: Sequence[Sequence[Recorded]]) -> list[Table]:
    """The ledger's tables, whole, once these batches were applied."""
    projection = Sessions(log)
    with closing(sqlite3.connect(":memory:")) as connection:
        rows = SqliteRows(connection)
        for statement in projection.tables:
            rows.execute(statement)
        for batch in batches:
            projection.apply(rows, batch)
        return [rows.execute(f"SELECT * FROM {name} ORDER BY 1, 2") for name in ("session", "unknown")]


@cache
def history() -> tuple[EventLog, tuple[Recorded, ...]]:
    """A log of sessions side by side, forked and cut off, and its events."""
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    log = open_log(Path(folder) / "log.db")
    local = Local(log)
    runs(local, "x", 3)
    runs(local, "y", 3)
    is_cut_off(local, "z", 17)
    for number in (2, 40):
        is_forked(local, "x", number)
        goes_on_as_a_fork(local, "x", number)
    runs(local, "z", 2)
    local.close()
    return log, tuple(log.read_all())


@given(st.data())
@settings(max_examples=30, deadline=None)
def test_where_batches_end_does_not_matter(data: st.DataObject) -> None:
    log, events = history()
    ends = sorted({0, *data.draw(st.lists(st.integers(0, len(events)), max_size=12)), len(events)})
    batches = [events[begin:end] for begin, end in pairwise(ends)]
    assert tables(log, batches) == tables(log, [events])
