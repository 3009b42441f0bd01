"""The effects of sessions as the log tells them, and settling by hand one whose outcome nobody saw.

Knows the log and the mailbox of its live host; attempts no effect. Invariant: what somebody found out is bound to one
effect that is unknown, and stands once: the same again is the first, anything else is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, JsonValue

from runtime.errors import NotFound, UsageError
from runtime.ledger import ledger
from runtime.people.approvals import check_prefix
from runtime.people.mailbox import Mailbox, NobodyThere
from runtime.sessions import PREFIX, check_rests, opened, stream_of
from runtime.why import told
from telemetry.errors import IdempotencyConflict
from telemetry.events import Draft, Recorded, execute, session, split_id
from telemetry.events.values import Action, Digest, EffectClass, EventId, ToolCalls, ToolResult, canonical_json
from telemetry.log import EventLog, open_log
from telemetry.log.retention.removed import begins_after

Standing = Literal[
    "intended", "dispatched", "succeeded", "failed", "unknown", "cancelled", "happened", "did not happen"
]
"""The last two are what somebody found out about an unknown one."""

_TELLING = (
    "session.cycle_opened",
    "execute.approval_asked",
    "execute.intended",
    "execute.dispatched",
    "execute.succeeded",
    "execute.failed",
    "execute.unknown",
    "execute.cancelled",
)
_BECAME: dict[str, Standing] = {
    "execute.dispatched": "dispatched",
    "execute.succeeded": "succeeded",
    "execute.failed": "failed",
    "execute.unknown": "unknown",
    "execute.cancelled": "cancelled",
}
SHOWN = 5
"""Effects that an error names."""


class EffectRow(BaseModel):
    """One effect as it stands. `at` is the time (UTC, ns) of `event`, which says how."""

    model_config = ConfigDict(frozen=True)

    session: str
    effect: Digest
    cycle: int
    ordinal: int
    action: Action
    effect_class: EffectClass | None
    """None for one that was cancelled before it was intended."""
    stands: Standing
    why: str = ""
    event: EventId
    at: int

    @property
    def what(self) -> str:
        """Tool and arguments, in words."""
        return told(self.action)


def effects(log: EventLog, session_id: str) -> Iterator[EffectRow]:
    """Every effect of the session, in the order of its cycles. Raises `NotFound` when there is no such session."""
    stream = stream_of(session_id)
    opened(log, stream)
    found_out = {
        r.event.effect: r
        for r in log.read(stream, types=("execute.reconciled",))
        if isinstance(r.event, execute.Reconciled)
    }
    cycle: dict[Digest, EffectRow] = {}  # but for a settlement, an effect's story ends with its cycle
    asked: execute.ApprovalAsked | None = None
    for recorded in log.read(stream, types=_TELLING):
        event = recorded.event
        match event:
            case session.CycleOpened():
                yield from cycle.values()
                cycle, asked = {}, None
            case execute.ApprovalAsked():
                asked = event
            case execute.Intended():
                row = _row(stream, recorded, event.effect, event.ordinal, event.action)
                cycle[event.effect] = row.model_copy(update={"effect_class": event.effect_class})
            case execute.Cancelled() if event.effect not in cycle and asked is not None:
                action = asked.action
                if isinstance(action, ToolCalls):
                    action = ToolCalls(calls=(action.calls[event.ordinal],))
                row = _row(stream, recorded, event.effect, event.ordinal, action)
                cycle[event.effect] = _after(row, recorded, _BECAME[recorded.type], event.why)
            case execute.UnknownOutcome() if event.effect in cycle:
                row = _after(cycle[event.effect], recorded, "unknown", event.why)
                cycle[event.effect] = _settled(row, found_out.get(event.effect))
            case execute.Dispatched() | execute.Succeeded() | execute.Failed() | execute.Cancelled():
                if event.effect in cycle:
                    why = event.error if isinstance(event, execute.Failed) else getattr(event, "why", "")
                    cycle[event.effect] = _after(cycle[event.effect], recorded, _BECAME[recorded.type], why)
    yield from cycle.values()


def unknown(log: EventLog, session_id: str) -> list[EffectRow]:
    """The effects of which nobody knows yet whether they happened. Raises `NotFound` when there is no such session."""
    stream = stream_of(session_id)
    opened(log, stream)
    return _unknown(log, stream, after=0)


def _unknown(log: EventLog, stream: str, *, after: int) -> list[EffectRow]:
    """Those that became unknown after version `after`."""
    if next(log.read(stream, after=after, types=("execute.unknown",)), None) is None:
        return []
    return [row for row in effects(log, stream) if row.stands == "unknown" and split_id(row.event)[1] > after]


def unknown_anywhere(log: EventLog, *, after: str = "", limit: int = 100) -> tuple[list[EffectRow], str | None]:
    """The unknown effects of the next `limit` sessions that have any, in the order of their ids, and the id to go on
    after (None at the end). What a fork shares is its parent's, and is told there; what was removed, by nobody."""
    with ledger(log) as found:
        names = found.doubtful(after=after, limit=limit + 1)
    page = names[:limit]
    streams = map(stream_of, page)
    rows = [row for stream in streams for row in _unknown(log, stream, after=begins_after(log, stream))]
    return rows, page[-1] if len(names) > limit else None


def reconcile(
    url: str, session_id: str, effect_prefix: str, *, happened: bool, by: str, why: str = "", result: str | None = None
) -> EventId:
    """Settles an unknown effect, by the session's live host where there is one, else as the writer of the log for
    that moment. `result` is the JSON that the call answered. Returns the event that says so, on disk; the same again
    returns the first.

    Raises `NotFound` when nothing that begins so is unknown, `UsageError` when it was settled otherwise before or
    `result` does not fit, `LogHeld` when another process writes the log and does not answer."""
    try:
        return Mailbox(url).reconcile(session_id, effect_prefix, happened=happened, by=by, why=why, result=result)
    except NobodyThere:
        pass
    with closing(open_log(url, create=False)) as log:
        return append_reconciled(log, session_id, effect_prefix, happened=happened, by=by, why=why, result=result)


def append_reconciled(
    log: EventLog, session_id: str, effect_prefix: str, *, happened: bool, by: str, why: str, result: str | None
) -> EventId:
    """As `reconcile`, for a session that does not run, by whoever writes the log."""

    def found() -> Finding | EventId:
        return finding(log, session_id, effect_prefix, happened=happened, by=by, why=why, result=result)

    new = found()
    if isinstance(new, str):
        return new
    stream = stream_of(session_id)
    check_rests(log, stream)
    head = log.head(stream)
    assert head is not None, "a stream with an effect has a head"
    cycle = next(log.read_back(stream, types=("session.cycle_opened",))).cycle
    draft = Draft(event=new.event, command=command_of(new.event.effect), cycle=cycle, cause=new.cause)
    try:
        return log.append(stream, [draft], expected_version=head.version, epoch=head.epoch)[0].id
    except IdempotencyConflict:  # somebody else settled it at this moment
        again = found()
        assert isinstance(again, str), "what stands is found again"
        return again


class Finding(NamedTuple):
    """What is to be recorded of an unknown effect: the event, its cause, and the version of the log it was made at."""

    event: execute.Reconciled
    cause: EventId
    version: int


def finding(
    log: EventLog, session_id: str, effect_prefix: str, *, happened: bool, by: str, why: str, result: str | None
) -> Finding | EventId:
    """What is to be recorded, or the event that says exactly this already. Raises as `reconcile` does."""
    check_prefix(effect_prefix)
    if result is not None and not happened:
        raise UsageError("only what happened has a result; nothing was written. Leave the result out")
    head = log.head(stream_of(session_id))
    row = _named(log, session_id, effect_prefix)
    event = execute.Reconciled(
        effect=row.effect,
        cycle=row.cycle,
        ordinal=row.ordinal,
        happened=happened,
        by=by,
        why=why,
        result=None if result is None else _result(row, result),
    )
    if row.stands != "unknown":
        stands = next(log.read(stream_of(session_id), after=int(row.event.rpartition("@")[2]) - 1))
        assert isinstance(stands.event, execute.Reconciled)
        if stands.event == event:
            return stands.id
        because = f": {stands.event.why}" if stands.event.why else ""
        raise UsageError(
            f"{row.effect[:12]} was settled already ({stands.id}): it {row.stands}, says {stands.event.by}{because}. "
            "That stands; nothing was written"
        )
    assert head is not None, "a session with an effect has a head"
    return Finding(event, row.event, head.version)


def command_of(effect: Digest) -> str:
    """The command that a settlement is appended under: one an effect, whoever settles it."""
    return f"reconcile.{effect[:12]}"


def _named(log: EventLog, session_id: str, prefix: str) -> EffectRow:
    """The one effect that begins so and is, or was, unknown."""
    name = session_id.removeprefix(PREFIX)
    found: list[EffectRow] = []
    open_ones: list[str] = []
    for row in effects(log, session_id):
        if row.effect.startswith(prefix.lower()):
            found.append(row)
        if row.stands == "unknown":
            open_ones.append(row.effect[:12])
    there = f"unknown are {', '.join(open_ones[:SHOWN])}" if open_ones else "no effect of it is unknown"
    there += f" and {len(open_ones) - SHOWN} more" if len(open_ones) > SHOWN else ""
    if not found:
        raise NotFound(f"session {name} has no effect that begins with {prefix}; {there}. Nothing was written")
    if len(found) > 1:
        raise UsageError(f"{prefix} begins {len(found)} effects of session {name}; give more digits of it")
    (row,) = found
    if row.stands not in ("unknown", "happened", "did not happen"):
        raise UsageError(
            f"{row.effect[:12]} of session {name} is not unknown, its log says {row.stands} ({row.event}); {there}. "
            "Nothing was written"
        )
    return row


def _result(row: EffectRow, text: str) -> ToolResult:
    """`text` as what the call answered. Raises `UsageError` when it is no JSON or the effect is no call."""
    if not isinstance(row.action, ToolCalls):
        raise UsageError(f"{row.effect[:12]} is no call of a tool, so it has no result; nothing was written")
    try:
        content: JsonValue = json.loads(text, parse_constant=_refused)
    except ValueError as error:
        raise UsageError(
            f"the result is no JSON: {error}. Nothing was written; quote text, as in '\"paid\"'"
        ) from error
    canonical_json(content)  # raises for what the log cannot hold
    (call,) = row.action.calls
    return ToolResult(call=call.id, tool=call.tool, content=content)


def _refused(constant: str) -> JsonValue:
    raise ValueError(f"{constant} is not a value of JSON")


def _row(stream: str, recorded: Recorded, effect: Digest, ordinal: int, action: Action) -> EffectRow:
    return EffectRow(
        session=stream.removeprefix(PREFIX),
        effect=effect,
        cycle=recorded.cycle,
        ordinal=ordinal,
        action=action,
        effect_class=None,
        stands="intended",
        event=recorded.id,
        at=recorded.at,
    )


def _after(row: EffectRow, recorded: Recorded, stands: Standing, why: str) -> EffectRow:
    return row.model_copy(update={"stands": stands, "why": why, "event": recorded.id, "at": recorded.at})


def _settled(row: EffectRow, found_out: Recorded | None) -> EffectRow:
    if found_out is None or not isinstance(event := found_out.event, execute.Reconciled):
        return row
    because = f"{event.by}: {event.why}" if event.why else event.by
    return _after(row, found_out, "happened" if event.happened else "did not happen", because)
