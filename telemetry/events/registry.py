"""Every event there is, by its stable name; how payloads are written and read.

Reading picks the class by the envelope's type (a discriminated union does the same where the type stands
inside the JSON). Invariant: `decode(type, schema, encode(event)) == event`."""

from __future__ import annotations

from typing import Annotated, get_args

import orjson
from pydantic import Field, JsonValue, TypeAdapter, ValidationError

from telemetry.errors import InvalidEvent, PayloadTooLarge, UnknownCriticalEvent
from telemetry.events import execute, feel, learn, privacy, reason, sense, session, system
from telemetry.events.event import Event, Unknown, phase_of
from telemetry.events.upcast import UPCASTERS, check_chain, upcast
from telemetry.events.values import canonical

MAX_PAYLOAD_BYTES = 16 * 1024 * 1024
"""Above this an event is refused (architecture, "The event")."""

AnyEvent = Annotated[
    session.Opened
    | session.Resumed
    | session.Suspended
    | session.Forked
    | session.Closed
    | session.CycleOpened
    | session.CycleClosed
    | sense.Observed
    | sense.Recalled
    | sense.Surprised
    | sense.ContextCompacted
    | feel.Felt
    | feel.Appraised
    | feel.Inhibited
    | feel.AlternativeOffered
    | reason.Requested
    | reason.Answered
    | reason.Unanswered
    | reason.Planned
    | reason.Proposed
    | reason.Predicted
    | reason.Decided
    | execute.Intended
    | execute.Dispatched
    | execute.Succeeded
    | execute.Failed
    | execute.UnknownOutcome
    | execute.Reconciled
    | execute.Cancelled
    | execute.ApprovalAsked
    | execute.ApprovalGiven
    | learn.Rewarded
    | learn.FeedbackReceived
    | learn.Remembered
    | learn.Forgotten
    | learn.BeliefUpdated
    | learn.StrategyAdjusted
    | learn.PlaybookWritten
    | learn.Corrected
    | learn.SessionReviewed
    | learn.DatasetBuilt
    | learn.TrainingProgressed
    | learn.ModelTrained
    | learn.ModelEvaluated
    | learn.ModelPromoted
    | learn.ModelRejected
    | learn.ModelRolledBack
    | learn.ModelAdopted
    | privacy.ConsentGranted
    | privacy.ConsentWithdrawn
    | privacy.SubjectErased
    | system.Pruned
    | system.Restored,
    Field(discriminator="type"),
]
"""A discriminated union: measured eight times faster to read than a plain one (3.3 µs against 26.6 µs)."""

ADAPTER: TypeAdapter[AnyEvent] = TypeAdapter(AnyEvent)

CLASSES: dict[str, type[Event]] = {
    member.model_fields["type"].default: member for member in get_args(get_args(AnyEvent)[0])
}

check_chain({name: kind.SCHEMA for name, kind in CLASSES.items()}, UPCASTERS)

_PAYLOAD: TypeAdapter[dict[str, JsonValue]] = TypeAdapter(dict[str, JsonValue])


def encode(event: Event) -> bytes:
    """The stored payload: canonical JSON without the type, which is a column of its own.

    Raises `InvalidEvent` for a type that is not in the vocabulary, `PayloadTooLarge` above MAX_PAYLOAD_BYTES."""
    if CLASSES.get(event.type) is not type(event):
        raise InvalidEvent(f"{type(event).__name__} is not in the event vocabulary under the name {event.type!r}")
    payload = canonical(event)
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise PayloadTooLarge(
            f"{event.type} of {len(payload):,} bytes is above the limit of {MAX_PAYLOAD_BYTES:,}; nothing was written. "
            "Store the content as a file and record its digest."
        )
    return payload


def decode(event_type: str, schema: int, payload: bytes) -> Event | Unknown:
    """Reads a payload as today's class of `event_type`, or keeps it opaque when the type or schema is newer.

    Raises `InvalidEvent` when the payload does not fit, `UnknownCriticalEvent` when a newer schema of a
    critical type must not be passed over."""
    known = CLASSES.get(event_type)
    if known is not None and schema == known.SCHEMA:
        try:  # the validator itself: `model_validate_json` around it takes half as long again for a small event
            event: Event = known.__pydantic_validator__.validate_json(payload)
        except ValidationError as error:
            raise InvalidEvent(f"payload is not a {event_type} of schema {schema}: {error}") from error
        return event
    if known is None or schema > known.SCHEMA:
        if known.CRITICAL if known else phase_of(event_type) == "privacy":
            raise UnknownCriticalEvent(
                f"{event_type} of schema {schema} is newer than this version and must not be passed over. "
                "The log is intact; upgrade aetherloop to read on."
            )
        return Unknown(type=event_type, schema_number=schema, payload=payload)
    try:
        old = _PAYLOAD.validate_json(payload)
        return known.model_validate_json(orjson.dumps(upcast(event_type, schema, old, to=known.SCHEMA)))
    except (ValidationError, KeyError, TypeError, ValueError) as error:  # an upcaster meets what never was of its shape
        raise InvalidEvent(f"payload is not a {event_type} of schema {schema}: {error!r}") from error


def json_schema() -> dict[str, JsonValue]:
    """JSON Schema (2020-12) of the whole vocabulary, one definition an event, told apart by `type`."""
    return ADAPTER.json_schema(ref_template="#/$defs/{model}")
