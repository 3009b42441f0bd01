"""Replay: fold what was recorded and compare with the state hashes that were recorded with it.

No model and no tool is called. Invariant: it reads the log and nothing else."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from loops.state import REDUCER, SessionState, apply, state_hash
from runtime.errors import UsageError
from runtime.sessions import PREFIX, opened, stream_of
from telemetry.events import Unknown, session
from telemetry.log import EventLog


class ReplayReport(BaseModel):
    """What folding a session gave. `differs_at` is the first version whose recorded hash did not come out."""

    model_config = ConfigDict(frozen=True)

    session: str
    version: int
    cycles: int
    checked: int
    """Recorded hashes that were compared."""
    not_comparable: int
    """Hashes recorded by another version of the reducer."""
    unknown: int
    """Events of types or schemas that this version does not know."""
    state_hash: str
    differs_at: int | None = None
    recorded: str | None = None

    @property
    def agrees(self) -> bool:
        return self.differs_at is None


def replay(log: EventLog, session_id: str, *, to: int | None = None) -> ReplayReport:
    """Folds the session up to version `to`. Raises `NotFound`, `UsageError` for a version it does not have."""
    stream = stream_of(session_id)
    opened(log, stream)
    head = log.head(stream)
    assert head is not None
    if to is not None and not 1 <= to <= head.version:
        raise UsageError(f"session {session_id} has the versions 1 to {head.version}; {to} is not among them")
    state, version, checked, skipped, unknown = SessionState(), 0, 0, 0, 0
    differs: tuple[int, str] | None = None
    for recorded in log.read(stream, to=to):
        event, version = recorded.event, recorded.version
        state = apply(state, event)
        unknown += isinstance(event, Unknown)
        said = _said(event)
        if said is None:
            continue
        if isinstance(event, session.CycleClosed) and event.reducer != REDUCER:
            skipped += 1
            continue
        checked += 1
        if said != state_hash(state):
            differs = version, said
            break
    return ReplayReport(
        session=stream.removeprefix(PREFIX),
        version=version,
        cycles=state.cycles_closed,
        checked=checked,
        not_comparable=skipped,
        unknown=unknown,
        state_hash=state_hash(state),
        differs_at=differs[0] if differs else None,
        recorded=differs[1] if differs else None,
    )


def _said(event: object) -> str | None:
    if isinstance(event, session.CycleClosed | session.Closed | session.Suspended):
        return event.state_hash
    return None
