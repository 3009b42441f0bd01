"""Where a stream was cut from its parent, and whether it may be cut there, as a store's rows tell it.

Knows rows and their keys; what a lineage is, `lineage` knows. Invariant: each answer costs a few look-ups by key,
however long the streams are."""

from __future__ import annotations

from telemetry.errors import InvalidEvent, LogDamaged, LogError
from telemetry.log.lineage import FORKED, Origin, owner
from telemetry.log.rows import SELECT, TYPE, Rows, pointer, recorded

FIRST = f"{SELECT} WHERE stream = ? ORDER BY version LIMIT 1"

PLACE = "SELECT position, hash FROM events WHERE stream = ? AND version = ?"


def origin_of(rows: Rows, stream: str) -> Origin | None:
    """`EventLog.origin`. Raises `InvalidEvent` when the pointer cannot be read."""
    first = rows(FIRST, (stream,))
    return pointer(recorded(first[0]).event) if first and first[0][TYPE] == FORKED else None


def place_of(rows: Rows, stream: str, version: int) -> tuple[int, bytes] | None:
    """Position and hash of the stream's own event of that version."""
    for position, hash_ in rows(PLACE, (stream, version)):
        assert isinstance(position, int)
        return position, hash_  # type: ignore[return-value]  # in an altered file it can be text, which verify says
    return None


def hash_at_cut(rows: Rows, stream: str, origin: Origin) -> bytes | LogError:
    """The hash that `stream` goes on from when it is cut off at `origin`, or why it cannot be."""
    event = f"{origin.parent}@{origin.at_version}"
    refused = f"{stream} cannot be forked from {event}"
    try:
        name = owner(lambda name: origin_of(rows, name), origin.parent, origin.at_version)
    except InvalidEvent as error:
        return LogDamaged(f"{refused}: {error}. Nothing was appended. Try: aether log verify")
    place = place_of(rows, name, origin.at_version)
    if place is None:
        return LogError(f"{refused}: there is no such event. Nothing was appended; cut at one that stands.")
    if place[1].hex() != origin.at_hash:
        return LogError(
            f"{refused}: its hash is {place[1].hex()[:12]}…, not {origin.at_hash[:12]}…. Nothing was appended; "
            "read that event again, or try: aether log verify"
        )
    return place[1]
