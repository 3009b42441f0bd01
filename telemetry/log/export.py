"""Events as lines of JSON, from which the log can be rebuilt bit for bit.

Knows one line at a time; what the lines together must be, `imports` knows.
Invariant: a line holds every stored column; `payload` is the stored text itself, never re-encoded; and
`event_of(line)` is the event that the line was written from."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Iterator

import orjson

from telemetry.errors import InvalidEvent, LogDamaged
from telemetry.events.envelope import WITHHELD, Recorded
from telemetry.log.rows import COLUMNS, KINDS, MAX_INTEGER, STRUCTURE, blob_digest, check_stream, recorded
from telemetry.log.store import Each, EventLog
from telemetry.log.verify import SYSTEM, VerifyReport

MAX_LINE_BYTES = 64 * 1024 * 1024
"""Above what any event fills: 16 MiB of content in base64 beside its columns."""


_ENCODING = re.compile(rb"[a-z0-9-]{1,32}")


def export_lines(events: Iterable[Recorded]) -> Iterator[bytes]:
    """One canonical JSON line an event, newline included. `digest` and `hash` are in hex; a payload that is not
    UTF-8 stands in `payload_base64` instead, and the content of a blob in `content_base64`."""
    for event in events:
        line = {name: value for name, value in vars(event).items() if name not in ("content", "event")}
        line["digest"], line["hash"] = event.digest.hex(), event.hash.hex()
        try:
            line["payload"] = event.payload.decode()
        except UnicodeDecodeError:
            del line["payload"]
            line["payload_base64"] = base64.b64encode(event.payload).decode()
        if event.content is not None:
            line["content_base64"] = base64.b64encode(event.content).decode()
        yield orjson.dumps(line, option=orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)


def export_whole(log: EventLog, each: Each) -> VerifyReport:
    """Verifies the log and hands over every intact event: first the stream `system`, whose facts say where streams go
    on from whose beginning was removed, then the others by position."""
    try:
        removed = log.head(SYSTEM) is not None
    except LogDamaged:
        removed = False
    if removed:
        log.verify(streams=(SYSTEM,), each=each)
    return log.verify(each=lambda event: None if removed and event.stream == SYSTEM else each(event))


def event_of(line: bytes) -> Recorded:
    """The event of one exported line, whose payload and content are those of its digest.

    Raises `InvalidEvent` for what `export_lines` does not write."""
    try:
        columns = orjson.loads(line)
        payload = columns.pop("payload", None)
        encoded, content = columns.pop("payload_base64", None), columns.pop("content_base64", None)
        columns["payload"] = payload.encode() if encoded is None else base64.b64decode(encoded, validate=True)
        columns["digest"], columns["hash"] = bytes.fromhex(columns["digest"]), bytes.fromhex(columns["hash"])
        body = None if content is None else base64.b64decode(content, validate=True)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidEvent(f"it is no line of an export: {error}") from error
    event = recorded(tuple(columns.get(name) for name in COLUMNS), body)
    check_columns(event, columns.keys())
    return event


def check_columns(event: Recorded, names: Iterable[str] = COLUMNS) -> None:
    """Raises `InvalidEvent` unless `event` has the columns of a stored one, of their kinds, and nobody altered its
    payload or content."""
    if set(names) != set(COLUMNS):
        odd = ", ".join(sorted(set(names).symmetric_difference(COLUMNS)))
        raise InvalidEvent(f"it lacks or adds {odd}; a newer version may have written it")
    for name, kind in zip(COLUMNS, KINDS, strict=True):
        value = getattr(event, name)
        if type(value) is not kind or (isinstance(value, int) and not 0 <= value <= MAX_INTEGER):
            raise InvalidEvent(f"its {name} is {value!r:.80}, which no column holds")
    check_stream(event.stream)
    if event.withheld:
        _check_withheld(event)
        return
    digest = hashlib.sha256(event.payload).digest()
    if digest != event.digest:
        raise InvalidEvent(
            f"event {event.id} was altered: its payload has the digest {digest.hex()[:12]}…, "
            f"{event.digest.hex()[:12]}… was recorded"
        )
    if event.content is not None and hashlib.sha256(event.content).hexdigest() != blob_digest(event.payload):
        raise InvalidEvent(f"the content of event {event.id} was altered: it is not the one that its payload names")


def _check_withheld(event: Recorded) -> None:
    if event.type in STRUCTURE:
        raise InvalidEvent(f"event {event.id} is withheld, and a log cannot be put together without a {event.type}")
    if event.content is not None or not _ENCODING.fullmatch(event.payload) or event.payload == WITHHELD.encode():
        raise InvalidEvent(f"event {event.id} is withheld, and does not name the encoding that it had")
