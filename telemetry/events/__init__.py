"""The vocabulary: one file a phase, the values inside events, the envelope around them."""

from telemetry.events import execute, feel, learn, privacy, reason, sense, session, system
from telemetry.events.envelope import Draft, Recorded, split_id
from telemetry.events.event import Event, Unknown
from telemetry.events.registry import AnyEvent, decode, encode, json_schema

__all__ = [
    "AnyEvent",
    "Draft",
    "Event",
    "Recorded",
    "Unknown",
    "decode",
    "encode",
    "execute",
    "feel",
    "json_schema",
    "learn",
    "privacy",
    "reason",
    "sense",
    "session",
    "split_id",
    "system",
]
