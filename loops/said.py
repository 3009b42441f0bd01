"""What an event is to a conversation: how the state's digest of it and its counters change.

Knows the state; folds nothing. Invariant: two sessions with one digest have heard, decided and found out the same."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from telemetry.events import execute, reason, sense
from telemetry.events.values import Digest, Message, Wait, canonical_json

if TYPE_CHECKING:
    from loops.state import Changes, SessionState

NOTHING_SAID = "0" * 64


def _heard(state: SessionState, before: Digest, event: sense.Observed) -> Changes:
    said = sum(isinstance(o, Message) and o.role == "user" for o in event.observations)
    return {
        "dialogue": _onto(before, "heard", event.digest),
        "messages": state.messages + said,
        "unsensed": 0,
        "unanswered": False,
    }


def _chosen(state: SessionState, before: Digest, event: reason.Decided) -> Changes:
    nothing = event.proposal is None and isinstance(event.action, Wait) and bool(event.options)
    return {"dialogue": _onto(before, "decided", event.arguments), "refused": state.refused + 1 if nothing else 0}


def _told(_: SessionState, before: Digest, event: execute.Reconciled) -> Changes:
    found = event.model_dump(mode="json", exclude={"effect"}, exclude_defaults=True)
    return {"dialogue": _onto(before, "reconciled", canonical_json(found))}


def _answered(state: SessionState, *, malformed: bool) -> Changes:
    # Calls of one cycle that cannot be made count once: the first one counts, any that can be made ends the row.
    # What was answered is hashed when it is sensed, because parallel calls answer in any order.
    first = state.unsensed == 0
    row = state.malformed + first if malformed and (first or state.malformed) else 0
    return {"unsensed": state.unsensed + 1, "malformed": row}


SAID: Mapping[type, Callable[[SessionState, Digest, Any], Changes]] = {
    sense.Observed: _heard,
    sense.ContextCompacted: lambda _, before, event: {"dialogue": _onto(before, "compacted", event.summary)},
    reason.Unanswered: lambda *_: {"unanswered": True},
    reason.Proposed: lambda *_: {"unanswered": False},
    reason.Decided: _chosen,
    execute.Succeeded: lambda state, _, event: {} if event.result is None else _answered(state, malformed=False),
    execute.Failed: lambda state, _, event: _answered(state, malformed=event.kind == "invalid"),
    execute.UnknownOutcome: lambda state, *_: _answered(state, malformed=False),
    execute.Cancelled: lambda state, *_: _answered(state, malformed=False),
    execute.Reconciled: _told,
}
"""By the class of the event, from the state and its digest of the conversation so far."""


def _onto(before: Digest, kind: str, what: str) -> Digest:
    return hashlib.sha256("\x1f".join((before, kind, what)).encode()).hexdigest()
