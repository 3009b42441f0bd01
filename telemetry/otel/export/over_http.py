"""A collector over OTLP/HTTP. Knows its status codes; what becomes of a refused batch, the courier knows.

The SDK's exporters know addresses, headers, certificates and compression, and send; they say of an answer only whether
it was an error: not which, not when to come again, and a partial success is a success to them. So they are given a
session of ours, which is a documented argument of theirs and sees every answer, and requests that were encoded here.
Invariant: one request is one question; none is sent again here."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any, Final

import requests
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # it ships no types
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from telemetry.otel.export.address import shown
from telemetry.otel.export.answers import Again, Answer, Barred, Faltered, Refused, Taken, TooLarge
from telemetry.otel.export.sdk import Wire
from telemetry.otel.export.wire import NO_PROTOBUF
from telemetry.otel.record import LogRecord
from telemetry.otel.span import Attributes, Span

PASSES: Final = frozenset({408, 429, 502, 503, 504})
"""What OTLP calls retryable, and a request's time-out."""
BARS: Final = frozenset({401, 403, 404, 405, 407, 415, 421, 426})
"""What has nothing to do with the content."""
TIMEOUT_S: Final = 10.0
"""OpenTelemetry's default for one request."""

Partial = Callable[[bytes], tuple[int, str]]
"""How many items an answer says were rejected, and why."""


class HttpSink:
    def __init__(self, url: str, *, resource: Attributes, max_bytes: int, timeout_s: float = TIMEOUT_S) -> None:
        """`url` without a signal's path, which is added. Headers, certificates and compression are what the standard
        variables say. A request above `max_bytes` before compression is not sent."""
        self.name = shown(url)
        base = url.rstrip("/")
        self._wire = Wire(resource)
        self._max_bytes = max_bytes
        self._of_spans, self._of_records = (_Session(part) for part in (_rejected_spans, _rejected_records))
        self._spans = _Spans(f"{base}/v1/traces", session=self._of_spans, timeout=timeout_s)
        self._records = _Records(f"{base}/v1/logs", session=self._of_records, timeout=timeout_s)

    def spans(self, spans: Sequence[Span]) -> Answer:
        return self._asked(self._of_spans, self._spans, lambda: self._wire.spans(spans))

    def records(self, records: Sequence[LogRecord]) -> Answer:
        return self._asked(self._of_records, self._records, lambda: self._wire.records(records))

    def _asked(self, session: _Session, exporter: _Spans | _Records, made: Callable[[], bytes]) -> Answer:
        try:
            request = made()
        except NO_PROTOBUF as error:
            return Refused(f"it cannot be encoded: {error}")
        if len(request) > self._max_bytes:
            return TooLarge(f"{len(request)} bytes, and a request may have {self._max_bytes}")
        return session.asked(partial(exporter.send, request))

    @property
    def sent_bytes(self) -> int:
        """Of all requests so far, as they went over the wire without their headers."""
        return self._of_spans.sent_bytes + self._of_records.sent_bytes

    def close(self) -> None:
        self._of_spans.close()
        self._of_records.close()


class _Spans(OTLPSpanExporter):
    def send(self, request: bytes) -> None:
        """As `export` does once it has encoded."""
        self._client.export(request)


class _Records(OTLPLogExporter):
    def send(self, request: bytes) -> None:
        self._client.export(request)


class _Unheard(Exception):
    """In place of an answer or an error that the SDK would sleep on and try again by itself."""


class _Session(requests.Session):
    """Keeps what was answered last."""

    def __init__(self, rejected: Partial) -> None:
        super().__init__()
        self._rejected = rejected
        self._answer: Answer = Again("nothing was sent")
        self.sent_bytes = 0

    def asked(self, export: Callable[[], object]) -> Answer:
        """What came of it; the exporter's own word for it is less than the answer. What it keeps to itself, as that its
        time was over before it sent anything, is no answer."""
        self._answer = Again("the request was not sent")
        export()
        return self._answer

    def request(self, *args: Any, **kwargs: Any) -> requests.Response:  # noqa: ANN401  as its base class
        try:
            response = super().request(*args, **kwargs)
        except requests.RequestException as error:
            self._answer = Again(f"it does not answer: {_reason(error)}")
            raise _Unheard from error
        self.sent_bytes += len(kwargs.get("data") or b"")
        self._answer = answer_of(response.status_code, response.headers, response.content, self._rejected)
        if not isinstance(self._answer, Taken):
            raise _Unheard
        return response


def answer_of(status: int, headers: Mapping[str, str], content: bytes, rejected: Partial) -> Answer:
    """What a collector's answer means. A redirection is none: the SDK does not follow it, and calls it a success."""
    said = f"{status} {_words(headers, content)}".strip()
    if 200 <= status < 300:
        if not headers.get("content-type", "").startswith("application/x-protobuf"):
            return Taken()
        try:
            count, why = rejected(content)
        except DecodeError:
            return Taken()
        return Refused(why or "rejected without a reason", count) if count else Taken(why)
    if status in PASSES:
        return Again(said, _after_s(headers.get("retry-after")))
    if status == 413:
        return TooLarge(said)
    if status in BARS or status < 400:
        return Barred(said)
    return Faltered(said) if status >= 500 else Refused(said)


def _rejected_spans(content: bytes) -> tuple[int, str]:
    said = ExportTraceServiceResponse.FromString(content).partial_success
    return said.rejected_spans, said.error_message


def _rejected_records(content: bytes) -> tuple[int, str]:
    said = ExportLogsServiceResponse.FromString(content).partial_success
    return said.rejected_log_records, said.error_message


def _words(headers: Mapping[str, str], content: bytes) -> str:
    """The beginning of what it says in words, if these are words."""
    if headers.get("content-type", "").startswith("application/x-protobuf"):
        from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]  # it ships no types

        try:
            return str(Status.FromString(content).message)[:200]
        except DecodeError:
            return ""
    return " ".join(content[:200].decode(errors="replace").split())


def _after_s(value: str | None) -> float | None:
    """Of a Retry-After: seconds, or a date."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            at = parsedate_to_datetime(value)
        except ValueError:
            return None
        seconds = (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() - time.time()
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _reason(error: requests.RequestException) -> str:
    """Short, and without the request's own address and headers."""
    if isinstance(error, requests.Timeout):
        return "timed out"
    inner = error.args[0] if error.args else error
    said = str(getattr(inner, "reason", inner)).rpartition(": ")[2].rpartition("] ")[2]
    return said[:200] or type(error).__name__
