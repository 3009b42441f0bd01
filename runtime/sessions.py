"""Sessions as rows: what a list of them shows, read from the log alone."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import suppress
from typing import Literal

from pydantic import BaseModel, ConfigDict

from runtime.errors import NotFound, Unavailable
from runtime.explain import nearest
from telemetry.errors import EventsPruned, InvalidEvent, PayloadWithheld
from telemetry.events import Recorded, execute, session
from telemetry.log import EventLog, Head, is_postgres

PREFIX = "session/"
OBSERVED = "gateway:"
"""The environment of sessions that a gateway watched; their agents run elsewhere."""

Status = Literal["open", "suspended", "waiting", "closed", "stalled"]

_TELLING = (
    "session.cycle_closed",
    "session.closed",
    "session.suspended",
    "session.opened",
    "session.resumed",
    "session.forked",
    "execute.approval_given",
)


class SessionRow(BaseModel):
    """One session as the log tells it. `open` means that nobody closed or suspended it: it runs, or was cut off."""

    model_config = ConfigDict(frozen=True)

    session: str
    status: Status
    cycles: int
    version: int
    state_hash: str | None
    scenario: str | None = None
    outcome: str | None = None
    error: str | None = None


def new_session() -> str:
    """A fresh session id: 12 hexadecimal digits, 48 random bits."""
    return secrets.token_hex(6)


def resting(stream: str, until: str) -> str:
    """What is intact of a session that cannot be taken up now, and what to do next."""
    name = stream.removeprefix(PREFIX)
    return f"Nothing was written: the session rests at its last commit. When {until}: aether session resume {name}"


def stream_of(session_id: str) -> str:
    return session_id if session_id.startswith(PREFIX) else PREFIX + session_id


def row_of(log: EventLog, head: Head) -> SessionRow:
    """The row of the session at `head`, from its newest telling events."""
    status: Status | None = None
    outcome: str | None = None
    error: str | None = None
    answered = False
    for recorded in log.read_back(head.stream, types=_TELLING):
        if recorded.withheld:
            return _untold_row(log, head, recorded, status)
        event = recorded.event
        match event:
            case session.Closed():
                status, outcome, error = status or "closed", event.reason, event.error
            case session.Suspended() if status is None:
                status = "waiting" if event.reason.startswith(WAITING) and not answered else "suspended"
                error = event.reason if event.reason.startswith(UNANSWERED) else None
            case execute.ApprovalGiven():
                answered = True
            case session.Forked():
                status = status or "suspended"
            case session.Resumed() | session.CycleClosed():
                status = status or "open"
        match event:
            case session.Closed() | session.Suspended():
                cycles, state_hash = event.cycles, event.state_hash
            case session.CycleClosed():
                cycles, state_hash = event.cycle, event.state_hash
            case session.Opened():
                cycles, state_hash = 0, ""
            case _:
                continue
        return SessionRow(
            session=head.stream.removeprefix(PREFIX),
            status=status or "open",
            cycles=cycles,
            version=head.version,
            state_hash=state_hash or None,
            scenario=_scenario(log, head.stream),
            outcome=outcome,
            error=error,
        )
    raise NotFound(f"{head.stream} has no event that opens it; try: aether log verify")


def _untold_row(log: EventLog, head: Head, recorded: Recorded, status: Status | None) -> SessionRow:
    """What can be said of a session where the newest that tells how far it came is withheld: its type and cycle."""
    resting: dict[str, Status] = {"session.closed": "closed", "session.suspended": "suspended"}
    return SessionRow(
        session=head.stream.removeprefix(PREFIX),
        status=status or resting.get(recorded.type, "open"),
        cycles=recorded.cycle,
        version=head.version,
        state_hash=None,
        scenario=_scenario(log, head.stream),
    )


def _scenario(log: EventLog, stream: str) -> str:
    """The scenario's name; empty where the session's beginning is withheld, or was archived and removed."""
    try:
        return opened(log, stream).scenario
    except (EventsPruned, PayloadWithheld):
        return ""


WAITING = "waiting for approval"
UNANSWERED = "no model answered"
IDLE = "idle"
"""How the reasons begin for which a session rests."""


def opened(log: EventLog, stream: str) -> session.Opened:
    """The session's first event. Raises `NotFound` with the nearest sessions when there is none, `EventsPruned` when
    it was archived and removed."""
    for recorded in log.read(stream, to=1):
        if isinstance(recorded.event, session.Opened):
            return recorded.event
    if (removed := log.removed(stream)) is not None:
        raise removed.error(log.name)
    known = [head.stream.removeprefix(PREFIX) for head in log.heads(prefix=PREFIX, limit=1000)]
    hint = nearest(stream.removeprefix(PREFIX), known) if known else "; this log holds no session yet"
    raise NotFound(f"there is no session {stream.removeprefix(PREFIX)!r} in {log.name}{hint}")


def check_there(log: EventLog, stream: str) -> None:
    """Raises as `opened` does where it is not; what it opened with may be withheld or erased."""
    with suppress(InvalidEvent):
        opened(log, stream)


def is_told(log: EventLog, stream: str) -> bool:
    """Whether what the session opened with can be read; not where it is withheld. Raises as `opened` does else."""
    try:
        opened(log, stream)
    except PayloadWithheld:
        return False
    return True


def owner_of(log: EventLog, stream: str) -> str | None:
    """The host that took the session up last; None while it is in the hands of whoever opened it."""
    for recorded in log.read_back(stream, types=("session.resumed",)):
        if isinstance(recorded.event, session.Resumed):
            return recorded.event.owner
    return None


def check_rests(log: EventLog, stream: str) -> None:
    """To be called before somebody else than its host appends to a session. Only a log that several hosts write asks
    for it: who writes a file is the only one there.

    Raises `Unavailable` unless the session rests on its log, or its host is known to be dead."""
    if not is_postgres(log.url):
        return
    latest = next(log.read_back(stream, types=_HOLDING), None)
    if latest is None or not isinstance(latest.event, session.Opened | session.Resumed):
        return
    owner = latest.event.owner if isinstance(latest.event, session.Resumed) else None
    if owner is not None:
        from runtime.hosting.executors import life_here, parse  # loads Ray, which a session at rest should not wait for

        executor = parse(owner)
        if executor is not None and life_here(executor) == "dead":
            return
    name = stream.removeprefix(PREFIX)
    raise Unavailable(
        f"session {name} does not rest: {'the host that opened it' if owner is None else f'the host {owner}'} has it "
        f"since {latest.id} and does not answer on this machine. Nothing was written. Say it on the machine of that "
        f"host; if it has ended, go on first with: aether session resume {name}"
    )


_HOLDING = ("session.opened", "session.resumed", "session.suspended", "session.forked", "session.closed")
"""What tells in whose hands a session is."""


def all_heads(log: EventLog) -> Iterator[Head]:
    """Every session's head, a page at a time."""
    after = ""
    while page := log.heads(prefix=PREFIX, after=after, limit=500):
        yield from page
        after = page[-1].stream
