"""Between drafts, rows and recorded events.

Knows the order of the columns; knows no store.
Invariant: the header of a row is the JSON list of its columns 1 to 16, exactly as stored."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import orjson

from telemetry.errors import InvalidEvent
from telemetry.events.envelope import Draft, Recorded, header_bytes
from telemetry.events.event import Event, Unknown, phase_of
from telemetry.events.registry import encode
from telemetry.events.session import Forked
from telemetry.log.lineage import FORKED, Origin

COLUMNS = (
    "position",
    "stream",
    "version",
    "type",
    "schema",
    "command",
    "ordinal",
    "at",
    "elapsed_ns",
    "epoch",
    "cycle",
    "phase",
    "cause",
    "refs",
    "mode",
    "encoding",
    "keys",
    "payload",
    "digest",
    "hash",
)
INTEGERS = frozenset({"position", "version", "schema", "ordinal", "at", "elapsed_ns", "epoch", "cycle"})
BYTES = frozenset({"payload", "digest", "hash"})
KINDS = tuple(int if name in INTEGERS else bytes if name in BYTES else str for name in COLUMNS)
"""What each column holds."""

POSITION, STREAM, VERSION, TYPE = 0, 1, 2, 3
COMMAND, ORDINAL = 5, 6
ENCODING = COLUMNS.index("encoding")
PAYLOAD = COLUMNS.index("payload")
HASH = COLUMNS.index("hash")

SELECT = "SELECT " + ", ".join(f'"{name}"' for name in COLUMNS) + " FROM events"

HEAD = "SELECT stream, version, hash, epoch, position FROM events WHERE stream = ? ORDER BY version DESC LIMIT 1"
"""The columns of `Head`."""

LAST_POSITION = "SELECT coalesce(max(position), 0) FROM events"

Row: TypeAlias = tuple[int | str | bytes, ...]
"""The columns of one event, in the order of COLUMNS; or what another query asked for."""

Rows: TypeAlias = Callable[[str, Sequence[str | int]], list[Row]]
"""Answers a query in which `?` stands for a value."""

MAX_INLINE_BYTES = 32 * 1024
"""A larger payload goes to the content store (architecture, "The event")."""

STRUCTURE = frozenset({FORKED, "system.pruned", "system.restored"})
"""What the log itself reads to know where streams go on from: names, versions and hashes, which are never withheld."""

MAX_INTEGER = 2**63 - 1
"""What an integer column holds, on every store."""

_STREAM = re.compile(r"[^@\s\0]{1,200}")


class Prepared(NamedTuple):
    """A draft with all its bytes, lacking only what the writer gives: position and hash."""

    columns: tuple[str | int, ...]
    header: bytes
    payload: bytes
    digest: bytes
    content: bytes | None


def prepare(
    stream: str,
    drafts: Sequence[Draft],
    *,
    version: int,
    epoch: int,
    at: int,
    put_blob: Callable[[bytes], str],
) -> list[Prepared]:
    """Encodes `drafts` as versions `version + 1`…; every payload is encoded before the first blob is stored.

    Raises `InvalidEvent` for what cannot be an append, and what `encode` and `put_blob` raise."""
    check_stream(stream)
    if not drafts:
        raise InvalidEvent(f"an append to {stream} needs at least one event")
    if len({(draft.command, draft.ordinal) for draft in drafts}) < len(drafts):
        raise InvalidEvent(f"two drafts of one append to {stream} carry the same command and ordinal")
    payloads = [encode(draft.event) for draft in drafts]
    prepared = []
    for draft, body in zip(drafts, payloads, strict=True):
        _check(draft, epoch)
        version += 1
        payload, encoding, content = body, "plain", None
        if len(body) > MAX_INLINE_BYTES:
            payload, encoding, content = blob_reference(put_blob(body), len(body)), "blob", body
        event = draft.event
        try:
            columns = (
                stream,
                version,
                event.type,
                event.SCHEMA,
                draft.command,
                draft.ordinal,
                at,
                draft.elapsed_ns,
                epoch,
                draft.cycle,
                phase_of(event.type),
                draft.cause,
                orjson.dumps(draft.refs).decode() if draft.refs else "[]",
                draft.mode,
                encoding,
                orjson.dumps(draft.keys).decode() if draft.keys else "[]",
            )
            header = header_bytes(columns)
        except TypeError as error:  # a lone surrogate
            raise InvalidEvent(f"the envelope of {stream}@{version} cannot be stored: {error}") from error
        prepared.append(Prepared(columns, header, payload, hashlib.sha256(payload).digest(), content))
    return prepared


def check_stream(name: str) -> None:
    """Raises `InvalidEvent` for what cannot stand in an event's id."""
    if not _STREAM.fullmatch(name):
        raise InvalidEvent(f"{name!r} is no stream name: 1 to 200 characters, no '@', space or NUL")


def prepare_recorded(events: Sequence[Recorded]) -> list[Prepared]:
    """Events that were recorded before, as their columns stood. Raises `InvalidEvent` unless they are successive
    events of one stream and one epoch."""
    if not events:
        raise InvalidEvent("there is nothing to restore")
    first = events[0]
    for version, event in enumerate(events, start=first.version):
        if (event.stream, event.version, event.epoch) != (first.stream, version, first.epoch):
            raise InvalidEvent(f"{event.id} of epoch {event.epoch} does not follow {first.id} of epoch {first.epoch}")
        if any("\0" in column for column in event.columns() if isinstance(column, str)):
            raise InvalidEvent(f"the envelope of {event.id} carries a NUL, which no log keeps")
    return [Prepared(event.columns(), event.header(), event.payload, event.digest, event.content) for event in events]


def pointer(event: Event | Unknown) -> Origin | None:
    """Where a stream that begins with `event` was cut from its parent; None when it begins itself."""
    return Origin(event.parent, event.at_version, event.at_hash) if isinstance(event, Forked) else None


def pointer_of(drafts: Sequence[Draft]) -> Origin | None:
    """The same of an append. Raises `InvalidEvent` when any but its first event would begin a fork."""
    if any(isinstance(draft.event, Forked) for draft in drafts[1:]):
        raise InvalidEvent(f"{FORKED} begins a stream, so it must be the first event of its append")
    return pointer(drafts[0].event)


def _check(draft: Draft, epoch: int) -> None:
    """Refuses what a column would not give back as it was hashed, before it can fail the group it is in."""
    for number in (draft.ordinal, draft.elapsed_ns, draft.cycle, epoch):
        if type(number) is not int or not 0 <= number <= MAX_INTEGER:
            raise InvalidEvent(f"{draft.event.type} carries {number!r} where the log keeps an integer from 0 to 2^63-1")
    for text in (draft.command, draft.cause, draft.mode):
        if type(text) is not str or "\0" in text:
            raise InvalidEvent(f"{draft.event.type} carries {text!r} where the log keeps text without NUL")


def blob_reference(digest: str, size_bytes: int) -> bytes:
    """The stored payload of an event whose content is a blob."""
    return orjson.dumps({"blob": digest, "bytes": size_bytes})


def blob_digest(payload: object) -> str:
    """The digest that the stored payload of such an event names. Raises `InvalidEvent` when it names none."""
    try:
        if not isinstance(payload, bytes):
            raise TypeError(f"it is stored as {type(payload).__name__}")
        return str(orjson.loads(payload)["blob"])
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidEvent(f"a blob reference cannot be read: {error}") from error


def recorded(row: Row, content: bytes | None = None) -> Recorded:
    """The event of one row. Fills the frozen object's dictionary at once: its own constructor sets 21 fields
    one by one and takes five times as long, which would be most of the time to read an event."""
    event = object.__new__(Recorded)
    event.__dict__.update(zip(COLUMNS, row, strict=True))
    event.__dict__["content"] = content
    return event
