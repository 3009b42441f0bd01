"""The sessions of a log as rows: a projection, so that a list of them reads no session.

Knows what each event means for its session's row; `row_of` reads one session from the log and is what these rows are
judged by. Invariant: an event counts for the session on whose stream it stands, so what forks share counts once."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import astuple, dataclass, fields
from itertools import islice

from runtime.errors import NotFound
from runtime.sessions import OBSERVED, PREFIX, UNANSWERED, WAITING, SessionRow, opened
from telemetry.errors import InvalidEvent
from telemetry.events import Event, Recorded, Unknown, execute, session, system
from telemetry.log import EventLog
from telemetry.log.lineage import FORKED
from telemetry.log.projection.place import Cell, Rows
from telemetry.log.projection.project import Projected
from telemetry.log.retention.removed import begins_after
from telemetry.log.verify import SYSTEM

TELLING = frozenset(
    {
        FORKED,
        "session.opened",
        "session.resumed",
        "session.suspended",
        "session.closed",
        "session.cycle_closed",
        "execute.approval_given",
        "execute.unknown",
        "execute.reconciled",
    }
)
"""What changes more of a row than its version; the rest is not decoded."""


PAGE_EVENTS = 512
"""Of a session whose row is made anew, how many events are in memory at a time."""


PAGE_ROWS = 500


class LedgerRow(SessionRow):
    """A session as the ledger has it. Usage and unknown effects are of its own events: what a fork shares with its
    parent stands in the parent's row."""

    environment: str
    parent: str | None = None
    forked_at: int | None = None
    """The parent's version that a fork was cut at."""
    epoch: int
    """Of the newest event."""
    opened_at: int
    """UTC ns, as `last_at`, which is the newest event's."""
    last_at: int
    model_calls: int
    input_tokens: int
    output_tokens: int
    cost_usd: float
    unknown_effects: int


@dataclass(slots=True)
class _Entry:
    """A row of the table, column by column."""

    session: str
    began: int
    """Position of the first event."""
    scenario: str | None = None
    environment: str | None = None
    status: str = "open"
    outcome: str | None = None
    error: str | None = None
    cycles: int = 0
    version: int = 0
    state_hash: str | None = None
    parent: str | None = None
    forked_at: int | None = None
    epoch: int = 0
    opened_at: int = 0
    last_at: int = 0
    model_calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0


_NAMES = tuple(field.name for field in fields(_Entry))
_COLUMNS = ", ".join(_NAMES)
_SAVE = (
    f"INSERT INTO session ({_COLUMNS}) VALUES ({', '.join('?' * len(_NAMES))}) ON CONFLICT (session) DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in _NAMES[1:])
)
_DOUBTS = "(SELECT count(*) FROM unknown WHERE unknown.session = session.session)"


class Sessions:
    """The projection: `session` has a row for each, `unknown` one for each effect whose outcome nobody knows."""

    name = "sessions"
    version = 1
    types: tuple[str, ...] = ()
    tables: tuple[str, ...] = (
        """CREATE TABLE session (
            session TEXT PRIMARY KEY, began BIGINT NOT NULL, scenario TEXT, environment TEXT, status TEXT NOT NULL,
            outcome TEXT, error TEXT, cycles BIGINT NOT NULL, version BIGINT NOT NULL, state_hash TEXT, parent TEXT,
            forked_at BIGINT, epoch BIGINT NOT NULL, opened_at BIGINT NOT NULL, last_at BIGINT NOT NULL,
            model_calls BIGINT NOT NULL, input_tokens BIGINT NOT NULL, output_tokens BIGINT NOT NULL,
            cost_usd DOUBLE PRECISION NOT NULL
        )""",
        "CREATE INDEX session_began ON session (began)",
        "CREATE TABLE unknown (session TEXT NOT NULL, effect TEXT NOT NULL, PRIMARY KEY (session, effect))",
    )

    def __init__(self, log: EventLog) -> None:
        self._log = log

    def apply(self, rows: Rows, events: Sequence[Recorded]) -> None:
        entries: dict[str, _Entry] = {}
        for recorded in events:
            if recorded.stream == SYSTEM:
                for changed in entries.values():
                    rows.execute(_SAVE, astuple(changed))
                entries = {}
                self._keep_up(rows, recorded)
            if not recorded.stream.startswith(PREFIX):
                continue
            name = recorded.stream.removeprefix(PREFIX)
            entry = entries.get(name)
            if entry is None:
                entry = entries[name] = _found(rows, name) or _Entry(name, recorded.position)
            entry.version, entry.epoch, entry.last_at = recorded.version, recorded.epoch, recorded.at
            if recorded.type in TELLING:
                self._change(rows, entry, recorded)
        for entry in entries.values():
            rows.execute(_SAVE, astuple(entry))

    def _keep_up(self, rows: Rows, fact: Recorded) -> None:
        """Where events of a session were removed or put back, its row is made anew of those that stand."""
        event = fact.event
        if not isinstance(event, system.Pruned | system.Restored) or not event.stream.startswith(PREFIX):
            return
        name = event.stream.removeprefix(PREFIX)
        rows.execute("DELETE FROM session WHERE session = ?", (name,))
        rows.execute("DELETE FROM unknown WHERE session = ?", (name,))
        left = self._log.read(event.stream, after=begins_after(self._log, event.stream))
        standing = (each for each in left if each.position < fact.position)
        while page := tuple(islice(standing, PAGE_EVENTS)):
            self.apply(rows, page)
        if self._log.removed(event.stream) is not None:
            rows.execute("UPDATE session SET scenario = '', environment = '' WHERE session = ?", (name,))

    def _change(self, rows: Rows, entry: _Entry, recorded: Recorded) -> None:
        if recorded.withheld:
            _stand_unread(entry, recorded)
            return
        match recorded.event:
            case session.Forked() as forked:
                self._fork(entry, forked)
                entry.opened_at = recorded.at
            case session.Opened() as opened:
                entry.scenario, entry.environment = opened.scenario, opened.environment
                entry.opened_at = recorded.at
            case execute.UnknownOutcome(effect=effect):
                rows.execute("INSERT INTO unknown VALUES (?, ?) ON CONFLICT DO NOTHING", (entry.session, effect))
            case execute.Reconciled(effect=effect):
                rows.execute("DELETE FROM unknown WHERE session = ? AND effect = ?", (entry.session, effect))
            case session.CycleClosed() as closed:
                entry.model_calls += closed.usage.model_calls
                entry.input_tokens += closed.usage.input_tokens
                entry.output_tokens += closed.usage.output_tokens
                entry.cost_usd += closed.usage.cost_usd
                entry.cycles, entry.state_hash = closed.cycle, closed.state_hash
                entry.status, entry.outcome, entry.error = "open", None, None
            case event:
                _stand(entry, event)

    def _fork(self, entry: _Entry, forked: session.Forked) -> None:
        """A fork begins as its parent stood at the cut, whatever became of the parent since."""
        entry.scenario = entry.environment = ""
        with suppress(InvalidEvent):
            first = opened(self._log, forked.parent)
            entry.scenario, entry.environment = first.scenario, first.environment
        entry.parent, entry.forked_at = forked.parent.removeprefix(PREFIX), forked.at_version
        entry.status = "suspended"
        cut = self._log.read_back(forked.parent, before=forked.at_version + 1, types=("session.cycle_closed",))
        for recorded in cut:
            if recorded.withheld:
                entry.cycles = recorded.cycle
                return
            if isinstance(recorded.event, session.CycleClosed):
                entry.cycles, entry.state_hash = recorded.event.cycle, recorded.event.state_hash
                return


def _stand(entry: _Entry, event: Event | Unknown) -> None:
    """How the session stands after `event`, as `row_of` reads it back."""
    match event:
        case session.Suspended():
            entry.status = "waiting" if event.reason.startswith(WAITING) else "suspended"
            entry.error = event.reason if event.reason.startswith(UNANSWERED) else None
            entry.cycles, entry.state_hash = event.cycles, event.state_hash
        case session.Closed():
            entry.status, entry.outcome, entry.error = "closed", event.reason, event.error
            entry.cycles, entry.state_hash = event.cycles, event.state_hash
        case session.Resumed():
            entry.status, entry.error = "open", None
        case execute.ApprovalGiven() if entry.status == "waiting":
            entry.status = "suspended"


def _stand_unread(entry: _Entry, recorded: Recorded) -> None:
    """How it stands after an event whose payload is withheld: what the type and the cycle tell."""
    if not recorded.type.startswith("session."):
        return
    entry.outcome = entry.error = entry.state_hash = None
    match recorded.type:
        case "session.opened":
            entry.scenario = entry.environment = ""
            entry.opened_at = recorded.at
        case "session.cycle_closed" | "session.resumed":
            entry.status = "open"
        case "session.suspended":
            entry.status = "suspended"
        case "session.closed":
            entry.status = "closed"
    entry.cycles = max(entry.cycles, recorded.cycle)


def _found(rows: Rows, name: str) -> _Entry | None:
    found = rows.execute(f"SELECT {_COLUMNS} FROM session WHERE session = ?", (name,))
    return _Entry(*found[0]) if found else None  # type: ignore[arg-type]  # the columns are its fields


@contextmanager
def ledger(log: EventLog) -> Iterator[Ledger]:
    """The ledger of `log`, brought up to its last event."""
    with Projected(log, Sessions(log)) as projected:
        projected.catch_up()
        with projected.rows() as (position, rows):
            yield Ledger(rows, as_of=position)


class Ledger:
    """Questions to the rows, which are those of position `as_of`."""

    def __init__(self, rows: Rows, *, as_of: int) -> None:
        self._rows = rows
        self.as_of = as_of

    def page(
        self,
        *,
        after: str = "",
        limit: int = 100,
        status: Collection[str] = (),
        scenario: str | None = None,
        newest: bool = False,
    ) -> tuple[list[LedgerRow], str | None]:
        """A page of sessions in the order of their ids, or the newest first, and the id to continue after (None at the
        end). Raises `NotFound` when newest first are to continue after a session that is not there."""
        conditions, values = ["TRUE"], list[Cell]()
        if status:
            conditions.append(f"status IN ({', '.join('?' * len(status))})")
            values += status
        if scenario is not None:
            conditions.append("scenario = ?")
            values.append(scenario)
        if after:
            conditions.append("began < ?" if newest else "session > ?")
            values.append(self._began(after) if newest else after)
        order = "began DESC" if newest else "session"
        found = self._read(f"WHERE {' AND '.join(conditions)} ORDER BY {order} LIMIT ?", (*values, limit + 1))
        page = found[:limit]
        return page, page[-1].session if len(found) > limit else None

    def every(self) -> Iterator[LedgerRow]:
        """All sessions in the order of their ids, a page in memory at a time."""
        after: str | None = ""
        while after is not None:
            page, after = self.page(after=after, limit=PAGE_ROWS)
            yield from page

    def to_resume(self) -> list[str]:
        """Ids of the sessions that are not closed and whose agents do not run elsewhere."""
        found = self._rows.execute(
            "SELECT session FROM session WHERE status <> 'closed' AND environment <> ? ORDER BY session", (OBSERVED,)
        )
        return [str(name) for (name,) in found]

    def doubtful(self, *, after: str, limit: int) -> list[str]:
        """Ids of the first `limit` sessions after `after` with an effect of their own whose outcome is unknown."""
        found = self._rows.execute(
            "SELECT DISTINCT session FROM unknown WHERE session > ? ORDER BY session LIMIT ?", (after, limit)
        )
        return [str(name) for (name,) in found]

    def _began(self, name: str) -> Cell:
        found = self._rows.execute("SELECT began FROM session WHERE session = ?", (name,))
        if not found:
            raise NotFound(f"there is no session {name!r} to continue after")
        return found[0][0]

    def _read(self, rest: str, values: Sequence[Cell]) -> list[LedgerRow]:
        found = self._rows.execute(f"SELECT {_COLUMNS}, {_DOUBTS} FROM session {rest}", values)
        rows = [dict(zip((*_NAMES, "unknown_effects"), row, strict=True)) for row in found]
        for row in rows:
            if row["scenario"] is None:
                raise NotFound(f"{PREFIX}{row['session']!s} has no event that opens it; try: aether log verify")
        return [LedgerRow.model_validate(row) for row in rows]
