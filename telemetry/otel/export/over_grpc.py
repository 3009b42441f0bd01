"""A collector over OTLP/gRPC. Knows its status codes; what becomes of a refused batch, the courier knows.

The SDK's exporters know addresses, headers and certificates, and send; they throw the collector's response away, and a
partial success with it. So the stub that they call is wrapped where they make it, and requests were encoded here. That
they try nothing again by themselves is an argument of theirs. Invariant: one request is one question."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Final, Protocol

from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped]  # it ships no types
from grpc import RpcError, StatusCode
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from telemetry.otel.export.address import shown
from telemetry.otel.export.answers import Again, Answer, Barred, Faltered, Refused, Taken, TooLarge
from telemetry.otel.export.over_http import TIMEOUT_S
from telemetry.otel.export.sdk import Wire
from telemetry.otel.export.wire import NO_PROTOBUF
from telemetry.otel.record import LogRecord
from telemetry.otel.span import Attributes, Span

PASSES: Final = frozenset({"CANCELLED", "DEADLINE_EXCEEDED", "ABORTED", "OUT_OF_RANGE", "UNAVAILABLE", "DATA_LOSS"})
"""What OTLP calls retryable; RESOURCE_EXHAUSTED is so only with a time to come again at."""
BARS: Final = frozenset({"UNAUTHENTICATED", "PERMISSION_DENIED", "UNIMPLEMENTED", "NOT_FOUND"})
FALTERS: Final = frozenset({"INTERNAL", "UNKNOWN"})
NEVER: Final = frozenset({StatusCode.OK})
"""Codes of errors that the SDK is to try again by itself; no code at all would mean its defaults."""
LARGER: Final = "message larger than max"
"""What gRPC says, in every language, of a message above a limit of either side; its code is that of a busy one."""


class GrpcSink:
    def __init__(self, url: str, *, resource: Attributes, max_bytes: int, timeout_s: float = TIMEOUT_S) -> None:
        """`url`: `grpc://machine:4317`, or `grpcs://…` under TLS. Headers and certificates are what the standard
        variables say. A request above `max_bytes` is not sent."""
        self.name = shown(url)
        plain = url.startswith(("grpc://", "http://"))
        address = ("http://" if plain else "https://") + url.partition("://")[2]
        more: dict[str, Any] = {
            "endpoint": address,
            "insecure": plain,
            "timeout": timeout_s,
            "retryable_error_codes": NEVER,
        }
        self._wire = Wire(resource)
        self._max_bytes = max_bytes
        self._spans, self._records = _Spans(**more), _Records(**more)
        self._closed = False

    def spans(self, spans: Sequence[Span]) -> Answer:
        return self._asked(self._spans, lambda: self._wire.spans(spans))

    def records(self, records: Sequence[LogRecord]) -> Answer:
        return self._asked(self._records, lambda: self._wire.records(records))

    def _asked(self, exporter: _Spans | _Records, made: Callable[[], bytes]) -> Answer:
        try:
            request = made()
        except NO_PROTOBUF as error:
            return Refused(f"it cannot be encoded: {error}")
        if len(request) > self._max_bytes:
            return TooLarge(f"{len(request)} bytes, and a request may have {self._max_bytes}")
        exporter.heard.answer = Again("the request was not sent")
        exporter.send(request)
        return exporter.heard.answer

    @property
    def sent_bytes(self) -> int:
        """Of all requests so far, before compression."""
        return sum(exporter.heard.sent_bytes for exporter in (self._spans, self._records))

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._spans.shutdown()
            self._records.shutdown()


class Stub(Protocol):
    def Export(self, *, request: Any, metadata: Any, timeout: float) -> Any: ...  # noqa: ANN401  as gRPC makes it


class _Heard:
    """A stub that keeps what was answered last."""

    def __init__(self, rejected: str) -> None:
        """`rejected`: the field of a partial success that counts what was not taken."""
        self._rejected = rejected
        self._stub: Stub | None = None
        self.answer: Answer = Taken()
        self.sent_bytes = 0

    def around(self, stub: Stub) -> Stub:
        self._stub = stub
        return self

    def Export(self, *, request: Any, metadata: Any, timeout: float) -> Any:  # noqa: ANN401  as gRPC makes it
        assert self._stub is not None
        self.sent_bytes += request.ByteSize()
        try:
            response = self._stub.Export(request=request, metadata=metadata, timeout=timeout)
        except RpcError as error:
            self.answer = answer_of(error.code().name, error.details() or "", _after_s(error))
            raise
        said = response.partial_success
        count, why = getattr(said, self._rejected), said.error_message
        self.answer = Refused(why or "rejected without a reason", count) if count else Taken(why)
        return response


class _Sending:
    """Before an exporter of the SDK's: it sends requests that were encoded here, and keeps what was answered."""

    request: ClassVar[Any]
    """The message that a request is."""
    rejected: ClassVar[str]
    """As `_Heard` has it."""
    _client: Any

    def __init__(self, **more: Any) -> None:  # noqa: ANN401  as the SDK's
        self.heard = _Heard(self.rejected)
        super().__init__(**more)

    def send(self, request: bytes) -> None:
        self._export(self.request.FromString(request))  # type: ignore[attr-defined]  # the SDK's

    def _translate_data(self, data: Any) -> Any:  # noqa: ANN401  encoded already
        return data

    def _count_data(self, data: object) -> int:
        return 1

    def _initialize_channel_and_stub(self) -> None:
        super()._initialize_channel_and_stub()  # type: ignore[misc]  # the SDK's
        self._client = self.heard.around(self._client)


class _Spans(_Sending, OTLPSpanExporter):
    request = ExportTraceServiceRequest
    rejected = "rejected_spans"


class _Records(_Sending, OTLPLogExporter):
    request = ExportLogsServiceRequest
    rejected = "rejected_log_records"


def answer_of(code: str, details: str, after_s: float | None) -> Answer:
    """What an error's code means."""
    said = f"{code} {details[:200]}".strip()
    if code == "RESOURCE_EXHAUSTED":
        return TooLarge(said) if after_s is None and LARGER in details.lower() else Again(said, after_s)
    if code in PASSES:
        return Again(said, after_s)
    if code in BARS:
        return Barred(said)
    return Faltered(said) if code in FALTERS else Refused(said)


def _after_s(error: Any) -> float | None:  # noqa: ANN401  gRPC has no types
    for key, value in error.trailing_metadata() or ():
        if key == "google.rpc.retryinfo-bin":
            delay = RetryInfo.FromString(value).retry_delay
            return float(delay.seconds + delay.nanos / 1e9)
    return None
