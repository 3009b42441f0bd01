"""What every event is: a frozen, closed model with a stable name and a schema version.

Knows nothing of how events are stored or what surrounds them there; see `telemetry.events.envelope`."""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel, ConfigDict


class Event(BaseModel):
    """A fact in the past tense. Its `type` is never renamed; a changed shape counts `SCHEMA` up."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    type: str

    SCHEMA: ClassVar[int] = 1
    """Version of the payload's shape; a change needs an upcaster in `telemetry.events.upcast`."""
    CRITICAL: ClassVar[bool] = False
    """Whether a reader that does not know this schema must refuse instead of passing it through.
    A whole type that a reader does not know is critical when its phase is `privacy`."""


class Unknown(BaseModel):
    """An event of a type or schema this version does not know, kept opaque and bit-exact."""

    model_config = ConfigDict(frozen=True)

    type: str
    schema_number: int
    payload: bytes


def phase_of(event_type: str) -> str:
    """The phase an event's type begins with: `reason.decided` is of `reason`."""
    return event_type.partition(".")[0]
