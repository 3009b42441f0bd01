"""An OpenTelemetry collector on loopback: takes traces, logs and metrics over OTLP/HTTP and OTLP/gRPC, decodes them,
and keeps what it said that it took. It answers as it is told to: late, with errors, with partial success.

Knows the wire; imports nothing of ours. Invariant: a request is kept before it is answered, so whatever ends this
process, what it acknowledged is in its folder."""

from __future__ import annotations

import gzip
import json
import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import grpc
from google.protobuf.message import Message  # type: ignore[import-untyped]  # it ships no types
from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped]  # it ships no types
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span

PROTOBUF: Final = "application/x-protobuf"
SERVICES: Final[dict[str, tuple[str, Any]]] = {
    "traces": ("opentelemetry.proto.collector.trace.v1.TraceService", ExportTraceServiceRequest),
    "logs": ("opentelemetry.proto.collector.logs.v1.LogsService", ExportLogsServiceRequest),
    "metrics": ("opentelemetry.proto.collector.metrics.v1.MetricsService", ExportMetricsServiceRequest),
}
Request = ExportTraceServiceRequest | ExportLogsServiceRequest | ExportMetricsServiceRequest


@dataclass(frozen=True)
class Manner:
    """How it answers. The first that applies: too large, an error, a word that it will not have, a rejected item."""

    delay_s: float = 0.0
    limit_bytes: int | None = None
    status: int | None = None
    """The status of every answer; over gRPC the code with that number."""
    retry_after: str | None = None
    times: int | None = None
    """So many answers are of that status, and then none; None for all."""
    refuses: str | None = None
    """A request that holds this text is answered 400."""
    rejects: str | None = None
    """Spans and records that hold this text are rejected, and the others taken."""


@dataclass
class Verdict:
    status: int
    rejected: int = 0
    said: str = ""
    retry_after: str | None = None


@dataclass
class Collector:
    """What was taken, in order. `folder`: where it is kept too."""

    folder: Path | None = None
    manner: Manner = field(default_factory=Manner)
    requests: list[Request] = field(default_factory=list)
    """Those of which something was taken, without what was rejected."""
    asked: int = 0
    url: str = ""
    grpc_url: str = ""
    headers: list[dict[str, str]] = field(default_factory=list)
    """Of each request over HTTP."""
    open: threading.Event = field(default_factory=threading.Event)
    """While it is not set, what comes is neither taken nor answered."""
    _failed: tuple[Manner, int] = field(default_factory=lambda: (Manner(), 0))
    """How many answers were of the status of a manner: whoever sets another sets it once and for all."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.open.set()

    def take(self, signal: str, content: bytes) -> Verdict:
        self.open.wait()
        manner = self.manner
        time.sleep(manner.delay_s)
        with self._lock:
            self.asked += 1
            if manner.limit_bytes is not None and len(content) > manner.limit_bytes:
                return Verdict(413, said=f"larger than {manner.limit_bytes} bytes")
            if manner.status is not None and self._fails(manner):
                return Verdict(manner.status, said="as it was told to", retry_after=manner.retry_after)
            if manner.refuses is not None and manner.refuses.encode() in content:
                return Verdict(400, said=f"it holds {manner.refuses!r}")
            request = SERVICES[signal][1].FromString(content)
            rejected = 0 if manner.rejects is None else _reject(request, manner.rejects.encode())
            self._keep(signal, request)
            return Verdict(200, rejected, f"{rejected} hold {manner.rejects!r}" if rejected else "")

    def _fails(self, manner: Manner) -> bool:
        of, failed = self._failed
        failed = failed if of is manner else 0
        self._failed = manner, failed + 1
        return manner.times is None or failed < manner.times

    def _keep(self, signal: str, request: Request) -> None:
        self.requests.append(request)
        if self.folder is not None:
            content = request.SerializeToString()
            with (self.folder / signal).open("ab", buffering=0) as file:
                file.write(len(content).to_bytes(4, "big") + content)

    @property
    def services(self) -> set[str]:
        return {
            attribute.value.string_value
            for request in self.requests
            if isinstance(request, ExportMetricsServiceRequest)
            for each in request.resource_metrics
            for attribute in each.resource.attributes
            if attribute.key == "service.name"
        }

    @property
    def metrics(self) -> dict[str, Metric]:
        """The last of each name."""
        return metrics_of(self.requests)


def cut(path: Path) -> None:
    """Removes what a kill cut off in the middle: it was not acknowledged, and nothing could be read behind it."""
    content, end = path.read_bytes(), 0
    while len(content) >= end + 4:
        beyond = end + 4 + int.from_bytes(content[end : end + 4], "big")
        if beyond > len(content):
            break
        end = beyond
    os.truncate(path, end)


def kept(folder: Path, signal: str) -> Iterator[Request]:
    """What a collector with that folder said that it took of a signal. What was cut off was not acknowledged."""
    path = folder / signal
    content = path.read_bytes() if path.exists() else b""
    while content and len(content) >= 4 + int.from_bytes(content[:4], "big"):
        end = 4 + int.from_bytes(content[:4], "big")
        yield SERVICES[signal][1].FromString(content[4:end])
        content = content[end:]


def metrics_of(requests: Iterable[Request]) -> dict[str, Metric]:
    """The last of each name."""
    return {
        metric.name: metric
        for request in requests
        if isinstance(request, ExportMetricsServiceRequest)
        for each in request.resource_metrics
        for scope in each.scope_metrics
        for metric in scope.metrics
    }


def spans_of(requests: Iterable[Request]) -> list[Span]:
    return [
        span
        for request in requests
        if isinstance(request, ExportTraceServiceRequest)
        for each in request.resource_spans
        for scope in each.scope_spans
        for span in scope.spans
    ]


def records_of(requests: Iterable[Request]) -> list[LogRecord]:
    return [
        record
        for request in requests
        if isinstance(request, ExportLogsServiceRequest)
        for each in request.resource_logs
        for scope in each.scope_logs
        for record in scope.log_records
    ]


def _reject(request: Request, text: bytes) -> int:
    """Takes spans and records that hold `text` out of the request; how many there were."""
    lists: list[Any] = []
    if isinstance(request, ExportTraceServiceRequest):
        lists = [scope.spans for each in request.resource_spans for scope in each.scope_spans]
    elif isinstance(request, ExportLogsServiceRequest):
        lists = [scope.log_records for each in request.resource_logs for scope in each.scope_logs]
    rejected = 0
    for items in lists:
        for index in reversed(range(len(items))):
            if text in items[index].SerializeToString():
                del items[index]
                rejected += 1
    return rejected


def _response(signal: str, verdict: Verdict) -> Message:
    if signal == "traces":
        spans = ExportTraceServiceResponse()
        spans.partial_success.rejected_spans, spans.partial_success.error_message = verdict.rejected, verdict.said
        return spans
    if signal == "logs":
        logs = ExportLogsServiceResponse()
        logs.partial_success.rejected_log_records, logs.partial_success.error_message = verdict.rejected, verdict.said
        return logs
    return ExportMetricsServiceResponse()


def _handler(collector: Collector) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                content = gzip.decompress(content)
            if self.path == "/manner":
                collector.manner = Manner(**json.loads(content))
                self._answer(200, b"")
                return
            signal = self.path.removeprefix("/v1/")
            assert signal in SERVICES, self.path
            assert self.headers["Content-Type"] == PROTOBUF
            collector.headers.append({name.lower(): value for name, value in self.headers.items()})
            verdict = collector.take(signal, content)
            if verdict.status == 200:
                self._answer(200, _response(signal, verdict).SerializeToString())
            else:
                more = {} if verdict.retry_after is None else {"Retry-After": verdict.retry_after}
                self._answer(verdict.status, verdict.said.encode(), kind="text/plain", **more)

        def do_GET(self) -> None:
            self._answer(200, str(collector.asked).encode())

        def _answer(self, status: int, content: bytes, *, kind: str = PROTOBUF, **headers: str) -> None:
            self.send_response(status)
            for name, value in {"Content-Type": kind, "Content-Length": str(len(content)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  its name in the base class
            """Says nothing on stderr."""

    return Handler


CODES: Final = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    500: grpc.StatusCode.INTERNAL,
    503: grpc.StatusCode.UNAVAILABLE,
}
"""What a manner's status is over gRPC."""


def _serve_grpc(collector: Collector, port: int) -> tuple[grpc.Server, int]:
    server = grpc.server(ThreadPoolExecutor(4))
    for signal, (service, _) in SERVICES.items():

        def export(content: bytes, context: grpc.ServicerContext, signal: str = signal) -> bytes:
            verdict = collector.take(signal, content)
            if verdict.status == 200:
                return bytes(_response(signal, verdict).SerializeToString())
            if verdict.retry_after is not None:
                info = RetryInfo()
                info.retry_delay.FromMilliseconds(int(float(verdict.retry_after) * 1000))
                context.set_trailing_metadata((("google.rpc.retryinfo-bin", info.SerializeToString()),))
            said = f"Received message larger than max: {verdict.said}" if verdict.status == 413 else verdict.said
            context.abort(CODES[verdict.status], said)
            raise AssertionError("unreachable")

        handler = grpc.unary_unary_rpc_method_handler(export)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {"Export": handler}),))
    port = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    return server, port


@contextmanager
def collecting(folder: Path | None = None, *, port: int = 0, grpc_port: int = 0) -> Iterator[Collector]:
    """In this process; the ports are free ones unless they are given."""
    if folder is not None:
        for path in folder.iterdir():
            cut(path)
    collector = Collector(folder)
    server = ThreadingHTTPServer(("127.0.0.1", port), _handler(collector))
    over_grpc, grpc_port = _serve_grpc(collector, grpc_port)
    collector.url = f"http://127.0.0.1:{server.server_address[1]}"
    collector.grpc_url = f"grpc://127.0.0.1:{grpc_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield collector
    finally:
        collector.open.set()
        server.shutdown()
        thread.join()
        server.server_close()
        over_grpc.stop(None).wait()


def main() -> None:
    """`python -m tests.collector FOLDER PORT GRPC_PORT`: until it is killed."""
    folder, port, grpc_port = sys.argv[1:]
    with collecting(Path(folder), port=int(port), grpc_port=int(grpc_port)) as collector:
        sys.stdout.write(json.dumps({"url": collector.url, "grpc_url": collector.grpc_url}) + "\n")
        sys.stdout.flush()
        threading.Event().wait()


if __name__ == "__main__":
    main()
