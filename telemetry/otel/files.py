"""OTLP in files: a request a line as JSON, as the OTLP file exporter's specification says, or one behind the other as
protobuf, as the collector's file exporter writes them. One signal a file.

Knows lines and bytes; knows no log. JSON is made here of plain data, so that writing loads neither SDK nor protobuf.
Invariant: what `append` returned from is on disk, and a file holds whole requests only once it is opened again."""

from __future__ import annotations

import base64
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO, Final, Self, TypeAlias

import orjson
import portalocker

from telemetry.errors import CursorHeld, LogUnwritable
from telemetry.files import sync
from telemetry.otel import names
from telemetry.otel.record import LogRecord
from telemetry.otel.span import Attributes, Link, Span, SpanEvent

if TYPE_CHECKING:
    from google.protobuf.message import Message  # type: ignore[import-untyped]  # it ships no types

Json: TypeAlias = "str | bool | int | float | Sequence[Json] | Mapping[str, Json] | None"

LENGTH_BYTES: Final = 4
"""Of a protobuf message's length before it, big-endian, as the collector's file exporter writes it."""

MAX_REQUEST_BYTES: Final = 256 * 1024 * 1024
"""More than a line or a message may have: a collector's whole batch of the largest payloads fits."""

BLOCK_BYTES: Final = 64 * 1024

KINDS: Final = {"internal": 1, "client": 3}
ERROR: Final = 2
"""Numbers of OTLP's enums, which JSON has as numbers too."""

NOT_FINITE: Final = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
"""What protobuf's JSON writes for numbers that JSON has not."""

_SCOPE: Final[dict[str, Json]] = {
    "scope": {"name": names.SCOPE, "version": names.SCOPE_VERSION},
    "schemaUrl": names.SCHEMA_URL,
}
_IDS: Final = frozenset({"traceId", "spanId", "parentSpanId"})
"""Fields of bytes that OTLP's JSON has in hex, and not in base64 as all others."""


def logs_line(records: Iterable[LogRecord], *, resource: Attributes) -> bytes:
    """One line with all of `records`, newline included."""
    scope: Json = {**_SCOPE, "logRecords": [_log_record(record) for record in records]}
    return _line({"resourceLogs": [{"resource": {"attributes": _attributes(resource)}, "scopeLogs": [scope]}]})


def spans_line(spans: Iterable[Span], *, resource: Attributes) -> bytes:
    """The same of spans."""
    scope: Json = {**_SCOPE, "spans": [_span(span) for span in spans]}
    return _line({"resourceSpans": [{"resource": {"attributes": _attributes(resource)}, "scopeSpans": [scope]}]})


def request_line(request: Message) -> bytes:
    """The same of a whole request of any signal."""
    from google.protobuf.json_format import MessageToDict  # type: ignore[import-untyped]  # it ships no types

    return _line(_ids_in_hex(MessageToDict(request, use_integers_for_enums=True)))


class OtlpFile:
    """A file that requests are appended to, by one process at a time. Those of another signal go to another file."""

    def __init__(self, path: Path, *, binary: bool = False) -> None:
        """Made where there is none. Of a request that a kill cut off in the middle nothing is left. With `binary`
        each is written behind its length instead of on a line. Raises `LogUnwritable`, and `CursorHeld` when
        another process has it open."""
        self._path = path
        self._binary = binary
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file: BinaryIO = path.open("a+b", buffering=0)
        except OSError as error:
            raise self._unwritable(error) from error
        try:
            portalocker.lock(self._file, portalocker.LockFlags.EXCLUSIVE | portalocker.LockFlags.NON_BLOCKING)
            self._file.truncate(_whole_messages(self._file) if binary else _whole_lines(self._file))
            sync(path.parent)
        except portalocker.LockException as error:
            self._file.close()
            raise CursorHeld(f"another process writes {path}; end it first, or name another file") from error
        except OSError as error:
            self._file.close()
            raise self._unwritable(error) from error

    def append(self, request: bytes) -> None:
        """`request` is a line of this module's, or a message where the file is binary. Returns when it is on disk.
        Raises `LogUnwritable`, and nothing of it is left then."""
        whole = len(request).to_bytes(LENGTH_BYTES, "big") + request if self._binary else request
        assert self._binary or (whole.endswith(b"\n") and whole.count(b"\n") == 1), "one line"
        end = self._file.seek(0, os.SEEK_END)
        try:
            rest = memoryview(whole)
            while rest:
                rest = rest[self._file.write(rest) :]
            os.fsync(self._file.fileno())
        except OSError as error:
            self._file.truncate(end)
            raise self._unwritable(error) from error

    def close(self) -> None:
        """May be called twice."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _unwritable(self, error: OSError) -> LogUnwritable:
        return LogUnwritable(
            f"{self._path} cannot be written: {error.strerror}. The log is intact, and what was written before is "
            "there. Make room or give leave; the export goes on where it stopped."
        )


def _whole_lines(file: BinaryIO) -> int:
    """Where the last whole line ends."""
    end = file.seek(0, os.SEEK_END)
    while end:
        begin = max(0, end - BLOCK_BYTES)
        file.seek(begin)
        found = file.read(end - begin).rfind(b"\n")
        if found >= 0:
            return begin + found + 1
        end = begin
    return 0


def _whole_messages(file: BinaryIO) -> int:
    """Where the last whole message ends."""
    size, end = file.seek(0, os.SEEK_END), 0
    while end + LENGTH_BYTES <= size:
        file.seek(end)
        beyond = end + LENGTH_BYTES + int.from_bytes(file.read(LENGTH_BYTES), "big")
        if beyond > size:
            break
        end = beyond
    return end


def _line(document: Json) -> bytes:
    return orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE)


def _log_record(record: LogRecord) -> Json:
    return {
        "timeUnixNano": str(record.time),
        "eventName": record.name,
        **_context(record.trace_id, record.span_id),
        **({} if record.body is None else {"body": _value(record.body)}),
        "attributes": _attributes(record.attributes),
    }


def _span(span: Span) -> Json:
    return {
        **_context(span.trace_id, span.span_id),
        **({} if span.parent_id is None else {"parentSpanId": f"{span.parent_id:016x}"}),
        "name": span.name,
        "kind": KINDS[span.kind],
        "startTimeUnixNano": str(span.start),
        "endTimeUnixNano": str(span.end),
        "attributes": _attributes(span.attributes),
        **({"events": [_span_event(event) for event in span.events]} if span.events else {}),
        **({"links": [_link(link) for link in span.links]} if span.links else {}),
        **({} if span.error is None else {"status": {"message": span.error, "code": ERROR}}),
    }


def _span_event(event: SpanEvent) -> Json:
    return {"timeUnixNano": str(event.at), "name": event.name, "attributes": _attributes(event.attributes)}


def _link(link: Link) -> Json:
    return {**_context(link.trace_id, link.span_id), "attributes": _attributes(link.attributes)}


def _context(trace_id: int, span_id: int) -> dict[str, Json]:
    return {"traceId": f"{trace_id:032x}", "spanId": f"{span_id:016x}"} if trace_id else {}


def _attributes(attributes: Attributes) -> Json:
    return [{"key": name, "value": _value(value)} for name, value in attributes.items()]


def _value(value: object) -> Json:
    match value:
        case str():
            return {"stringValue": value}
        case bool():
            return {"boolValue": value}
        case int():
            return {"intValue": str(value)}
        case float():
            return {"doubleValue": value if math.isfinite(value) else NOT_FINITE[str(value)]}
        case bytes():
            return {"bytesValue": base64.b64encode(value).decode()}
        case Sequence():
            return {"arrayValue": {"values": [_value(one) for one in value]}}
        case _:
            raise AssertionError(f"OTLP has no value like {value!r:.80}")


def _ids_in_hex(value: Json) -> Json:
    if isinstance(value, Mapping):
        return {
            name: base64.b64decode(inner).hex() if name in _IDS and isinstance(inner, str) else _ids_in_hex(inner)
            for name, inner in value.items()
        }
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_ids_in_hex(inner) for inner in value]
    return value
