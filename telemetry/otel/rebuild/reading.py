"""Log records out of OTLP files, whoever wrote them: lines of JSON, one JSON document, protobuf by itself or behind its
length, each of them compressed with gzip or not.

Knows the wire; whether a record is one of an event, `record` knows. Invariant: one request is in memory at a time, and
what cannot be read is named with its place and does not hide the rest."""

from __future__ import annotations

import base64
import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, NamedTuple

import orjson

from telemetry.errors import ImportRefused
from telemetry.otel import names
from telemetry.otel.files import LENGTH_BYTES, MAX_REQUEST_BYTES
from telemetry.otel.record import LogRecord

if TYPE_CHECKING:
    from opentelemetry.proto.common.v1.common_pb2 import AnyValue
    from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord as Message

GZIP: Final = b"\x1f\x8b"
TAG: Final = b"\x0a"
"""What protobuf begins with: the first field, of bytes. As the first byte of a length it would be one of 160 MiB."""
BLANK: Final = b"\xef\xbb\xbf \t\r\n"
OTHER_SIGNALS: Final = ("resourceSpans", "resourceMetrics")
SUFFIXES: Final = frozenset({".jsonl", ".json", ".ndjson", ".pb", ".binpb", ".bin"})
"""What a folder's files are read by, with `.gz` behind it or not; a file that is named is read by any name."""

Broken = Callable[[str], None]
"""Hears of what could not be read, with its place."""


class Found(NamedTuple):
    """A log record, the id of the log that its resource names, and where it stands."""

    log: str
    record: LogRecord
    where: str


def files_in(path: Path) -> list[Path]:
    """`path` itself, or a folder's files that may be OTLP, by name. Raises `ImportRefused` where there are none."""
    if path.is_file():
        return [path]
    found = [one for one in sorted(path.rglob("*")) if one.is_file() and _suffix(one) in SUFFIXES]
    if not found:
        raise ImportRefused(
            f"{path} holds no file of OTLP: none ends in {', '.join(sorted(SUFFIXES))}, or one of these and .gz. "
            "Nothing was imported."
        )
    return found


def read_logs(path: Path, *, broken: Broken, seen: Callable[[int], None] = lambda _: None) -> Iterator[Found]:
    """Every log record of one file. `seen` hears how many bytes of it were read; other signals are passed over.

    Raises `ImportRefused` for what is no OTLP at all."""
    with path.open("rb") as raw:
        packed = raw.peek(len(GZIP))[: len(GZIP)] == GZIP
        file: io.BufferedReader[Any] = io.BufferedReader(gzip.GzipFile(fileobj=raw)) if packed else raw
        told = 0
        for where, records in _requests(file, path, broken):
            for log, record in records:
                yield Found(log, record, f"{path.name}, {where}")
            told, before = raw.tell(), told
            seen(told - before)


_Records = Iterator[tuple[str, LogRecord]]


def _requests(file: io.BufferedReader[Any], path: Path, broken: Broken) -> Iterator[tuple[str, _Records]]:
    """The records of each request, and where it stands."""
    try:
        head = file.peek(LENGTH_BYTES)[:LENGTH_BYTES]
        if head.lstrip(BLANK)[:1] == b"{":
            yield from _json(file, path, broken)
        elif head:
            yield from _protobuf(file, path, broken)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        broken(f"{path.name}: it is cut off or damaged, and was read up to there: {error}")


def _json(file: BinaryIO, path: Path, broken: Broken) -> Iterator[tuple[str, _Records]]:
    """One document over several lines, which begins with a brace on a line of its own; else a request a line."""
    begin = file.readline(MAX_REQUEST_BYTES).lstrip(BLANK)
    if begin.rstrip() != b"{":
        pending = [begin or b"\n"]
        yield from _lines(lambda: pending.pop() if pending else file.readline(MAX_REQUEST_BYTES), path, broken)
        return
    try:
        document = orjson.loads(begin + file.read(MAX_REQUEST_BYTES))
    except ValueError as error:
        broken(f"{path.name}: it is no JSON document: {error}")
    else:
        yield from _line("the document", document, path, broken)


def _lines(next_line: Callable[[], bytes], path: Path, broken: Broken) -> Iterator[tuple[str, _Records]]:
    number = 0
    while line := next_line():
        number += 1
        if not line.strip():
            continue
        try:
            document = orjson.loads(line)
        except ValueError as error:
            cut = "" if line.endswith(b"\n") else ", which is cut off"
            broken(f"{path.name}, line {number}{cut}: {error}")
            continue
        yield from _line(f"line {number}", document, path, broken)


def _line(where: str, document: Any, path: Path, broken: Broken) -> Iterator[tuple[str, _Records]]:  # noqa: ANN401  JSON
    if isinstance(document, dict):
        if "resourceLogs" in document:
            try:
                yield where, iter([*_of_json(document)])
            except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
                broken(f"{path.name}, {where}: it is no request of OTLP: {error!r}")
            return
        if not document or any(signal in document for signal in OTHER_SIGNALS):
            return
        if document.keys() >= {"stream", "version", "hash"}:
            raise ImportRefused(
                f"{path} is an export of a log, not OTLP. Nothing was imported. Try: aether log import {path}"
            )
    broken(f"{path.name}, {where}: it holds no resourceLogs")


def _of_json(document: dict[str, Any]) -> _Records:
    for resource_logs in document["resourceLogs"] or ():
        resource = _named((resource_logs.get("resource") or {}).get("attributes"))
        log = resource.get(names.LOG_ID, "")
        for scope_logs in resource_logs.get("scopeLogs") or ():
            for record in scope_logs.get("logRecords") or ():
                yield (
                    log,
                    LogRecord(
                        time=int(record.get("timeUnixNano") or 0),
                        name=str(record.get("eventName") or ""),
                        trace_id=int(record.get("traceId") or "0", 16),
                        span_id=int(record.get("spanId") or "0", 16),
                        body=_content(record.get("body") or {}),
                        attributes=_named(record.get("attributes")),
                    ),
                )


def _named(attributes: list[dict[str, Any]] | None) -> dict[str, str]:
    """Those that are text, which is all that an event has."""
    values = {one["key"]: (one.get("value") or {}).get("stringValue") for one in attributes or ()}
    return {name: text for name, text in values.items() if isinstance(text, str)}


def _content(value: dict[str, Any]) -> str | bytes | None:
    """Text or bytes; None where it is neither."""
    text, raw = value.get("stringValue"), value.get("bytesValue")
    if isinstance(text, str):
        return text
    return None if raw is None else base64.b64decode(raw.replace("-", "+").replace("_", "/") + "=" * (-len(raw) % 4))


def _protobuf(file: io.BufferedReader[Any], path: Path, broken: Broken) -> Iterator[tuple[str, _Records]]:
    """One message, which begins with the tag of its first field; else several, each behind its length."""
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # it ships no types
    from opentelemetry.proto.logs.v1.logs_pb2 import LogsData

    alone = file.peek(1)[:1] == TAG
    for number, message in enumerate(_messages(file, alone=alone), start=1):
        where = "the message" if alone else f"message {number}"
        try:
            if message is None:
                raise DecodeError("it is cut off")
            request = LogsData.FromString(message)
        except DecodeError as error:
            if number == 1:
                raise ImportRefused(
                    f"{path} is no file of OTLP: it is neither JSON nor protobuf, compressed with gzip or not. Nothing "
                    "of it was imported."
                ) from error
            broken(f"{path.name}, {where}: {error}")
        else:
            yield where, _of_protobuf(request)


def _messages(file: BinaryIO, *, alone: bool) -> Iterator[bytes | None]:
    """None in the place of one that is cut off, or whose length is that of none; nothing can be told behind it."""
    if alone:
        yield file.read(MAX_REQUEST_BYTES)
        return
    while prefix := file.read(LENGTH_BYTES):
        size = int.from_bytes(prefix, "big")
        message = file.read(size) if len(prefix) == LENGTH_BYTES and size <= MAX_REQUEST_BYTES else b""
        if len(message) < size or len(prefix) < LENGTH_BYTES:
            yield None
            return
        yield message


def _of_protobuf(request: Any) -> _Records:  # noqa: ANN401  a message without types
    for resource_logs in request.resource_logs:
        log = {one.key: one.value.string_value for one in resource_logs.resource.attributes}.get(names.LOG_ID, "")
        for scope_logs in resource_logs.scope_logs:
            for record in scope_logs.log_records:
                yield log, _of_message(record)


def _of_message(record: Message) -> LogRecord:
    return LogRecord(
        time=record.time_unix_nano,
        name=record.event_name,
        trace_id=int.from_bytes(record.trace_id, "big"),
        span_id=int.from_bytes(record.span_id, "big"),
        body=_body(record.body),
        attributes={one.key: one.value.string_value for one in record.attributes if one.value.HasField("string_value")},
    )


def _body(value: AnyValue) -> str | bytes | None:
    if value.HasField("string_value"):
        return value.string_value
    return value.bytes_value if value.HasField("bytes_value") else None


def _suffix(path: Path) -> str:
    return (path.with_suffix("") if path.suffix == ".gz" else path).suffix
