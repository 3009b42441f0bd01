"""Replay: fold what was recorded and compare with the state hashes that were recorded with it.

No model and no tool is called, and no snapshot is used. Invariant: it reads the log and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict

from loops.state import REDUCER, SessionState, apply_to, state_hash
from runtime.errors import UsageError, VerificationFailed
from runtime.sessions import PREFIX, check_there, stream_of
from telemetry.errors import InvalidEvent, LogDamaged
from telemetry.events import Event, Unknown, session
from telemetry.events.envelope import WITHHELD
from telemetry.events.registry import decode
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
    unreadable: int
    """Events whose payload is not there to be read: erased, or withheld."""
    withheld: int
    """How many of them did not come with the record that the log was rebuilt from."""
    unreadable_from: int | None
    """The cycle from which the state cannot be checked because of that."""
    state_version: int
    """The last event that could be folded."""
    state_hash: str
    """After it."""
    differs_at: int | None = None
    recorded: str | None = None

    @property
    def agrees(self) -> bool:
        return self.differs_at is None


def replay(log: EventLog, session_id: str, *, to: int | None = None, checked: bool = True) -> ReplayReport:
    """Folds the session up to version `to`, and checks its chain on the way, unless `checked` is false.

    Raises `NotFound`, `UsageError` for a version it does not have, `VerificationFailed` where the chain breaks."""
    stream = stream_of(session_id)
    check_there(log, stream)
    head = log.head(stream)
    assert head is not None
    if to is not None and not 1 <= to <= head.version:
        raise UsageError(f"session {session_id} has the versions 1 to {head.version}; {to} is not among them")
    fold = _Fold()
    try:
        for _, _, version, type_, schema, _, _, encoding, body in log.facts(stream, to=to, checked=checked):
            fold.version = version
            if body is None:
                fold.miss(encoding)
            elif not (fold.unreadable or fold.see(decode(type_, schema, body))):
                break
    except (LogDamaged, InvalidEvent) as error:
        report = log.verify(streams=[stream])
        if report.ok:
            raise
        name = stream.removeprefix(PREFIX)
        raise VerificationFailed(
            f"the chain of session {name} breaks: {report.problems[0]}. {fold.so_far()} Try: aether log verify"
        ) from error
    return fold.report(stream.removeprefix(PREFIX))


@dataclass
class _Fold:
    """A replay that is under way."""

    version: int = 0
    checked: int = 0
    not_comparable: int = 0
    unknown: int = 0
    unreadable: int = 0
    withheld: int = 0
    folded: int = 0
    differs: str | None = None
    """The recorded hash that did not come out."""
    state: SessionState = field(default_factory=SessionState)

    def miss(self, encoding: str) -> None:
        """The next event cannot be read; from the first one on there is no state to fold onto."""
        self.unreadable += 1
        self.withheld += encoding == WITHHELD

    def see(self, event: Event | Unknown) -> bool:
        """Folds it; whether it agrees."""
        self.folded = self.version
        kind = type(event)  # not `isinstance`, which pydantic's models answer slowly
        apply_to(self.state, event)
        said = _SAID.get(kind)
        if said is None:
            self.unknown += kind is Unknown
            return True
        if isinstance(event, session.CycleClosed) and event.reducer != REDUCER:
            self.not_comparable += 1
            return True
        self.checked += 1
        recorded = said(event)
        if recorded != state_hash(self.state):
            self.differs = recorded
        return self.differs is None

    def so_far(self) -> str:
        """What was found before the chain broke."""
        if not self.version:
            return "No event is intact."
        agree = f"agree with all {self.checked} hashes recorded in them" if self.checked else "hold no recorded hash"
        return f"Versions 1–{self.version} are intact and {agree}."

    def report(self, name: str) -> ReplayReport:
        return ReplayReport(
            session=name,
            version=self.version,
            cycles=self.state.cycles_closed,
            checked=self.checked,
            not_comparable=self.not_comparable,
            unknown=self.unknown,
            unreadable=self.unreadable,
            withheld=self.withheld,
            unreadable_from=self.state.cycle if self.unreadable else None,
            state_version=self.folded,
            state_hash=state_hash(self.state),
            differs_at=None if self.differs is None else self.version,
            recorded=self.differs,
        )


_SAID: dict[type, Callable[[Any], str]] = {
    session.CycleClosed: lambda event: event.state_hash,
    session.Closed: lambda event: event.state_hash,
    session.Suspended: lambda event: event.state_hash,
}
"""Events that say what the state is after them."""
