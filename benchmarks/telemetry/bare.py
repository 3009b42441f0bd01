"""What following a log adds to sending ready-made spans: spans a second of ours over those of the SDK alone.

The peer has its spans as the SDK's values in a list and does nothing but what any exporter must: it encodes them and
posts them, in requests of the same size, by the SDK's own exporter. Ours reads the log, folds its events into spans,
makes them the SDK's, sends them by the same exporter and moves its cursor on disk. By turns, to one collector that
throws everything away, in a process of its own."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path
from statistics import median

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult

from benchmarks.report import figure, progress, short
from benchmarks.telemetry.filled import filled, workplace
from benchmarks.telemetry.sink import discarding
from telemetry.log import open_log
from telemetry.log.projection.cursor import Cursor
from telemetry.otel.content import Content
from telemetry.otel.export.exporter import BATCH_BYTES, Exporter, What
from telemetry.otel.export.over_http import HttpSink
from telemetry.otel.export.parts import span_bytes
from telemetry.otel.export.refused import RefusedFile
from telemetry.otel.export.sdk import Converter
from telemetry.otel.spans import SpanFold

AREA = "bench-telemetry"
EVENTS, SHORT_EVENTS = 40_000, 10_000
ROUNDS, SHORT_ROUNDS = 7, 3
EXPORT_OVER_BARE = 0.8
"""Floor of issue "Telemetry is a projection", section "Figures"."""
MAX_BYTES = 16 << 20


def report() -> None:
    """Prints the figures: `export_over_bare`, `export_spans_per_s`, `export_bare_spans_per_s`."""
    rounds = SHORT_ROUNDS if short() else ROUNDS
    ours, bare = [], []
    with workplace() as folder, discarding() as url:
        path = filled(folder, SHORT_EVENTS if short() else EVENTS)
        batches = _ready_made(path)
        spans = sum(map(len, batches))
        for number in range(rounds + 1):  # the first one connects and imports
            progress(AREA, f"{spans:,} spans, round {number} of {rounds}")
            bare.append(spans / _bare(batches, url))
            ours.append(spans / _ours(path, folder / f"{number}", url, spans))
    ratios = [one / another for one, another in zip(ours[1:], bare[1:], strict=True)]
    figure("export_over_bare", value=median(ratios), unit="×", op=">=", floor=EXPORT_OVER_BARE, samples=ratios)
    figure("export_spans_per_s", value=median(ours[1:]), unit="spans/s", op=">=", samples=ours[1:])
    figure("export_bare_spans_per_s", value=median(bare[1:]), unit="spans/s", op=">=", samples=bare[1:])


def _ready_made(path: Path) -> list[list[ReadableSpan]]:
    """The spans of that log, a list a request."""
    with closing(open_log(path, mode="read")) as log:
        spans = SpanFold(log, content=Content()).fold(log.read_all())
    as_sdk, batches, size = Converter({}), list[list[ReadableSpan]](), BATCH_BYTES
    for span in spans:
        weight = span_bytes(span)
        if size + weight > BATCH_BYTES:
            batches.append([])
            size = 0
        batches[-1] += as_sdk.spans([span])
        size += weight
    return batches


def _bare(batches: list[list[ReadableSpan]], url: str) -> float:
    """Seconds."""
    exporter = OTLPSpanExporter(f"{url}/v1/traces", max_request_size=MAX_BYTES)
    began = time.perf_counter()
    for batch in batches:
        if exporter.export(batch) is not SpanExportResult.SUCCESS:
            raise RuntimeError("the collector did not take it")
    took_s = time.perf_counter() - began
    exporter.shutdown()  # type: ignore[no-untyped-call]  # the SDK's
    return took_s


def _ours(path: Path, folder: Path, url: str, spans: int) -> float:
    """Seconds."""
    with (
        closing(open_log(path, mode="read")) as log,
        Cursor(log, "bench", folder=folder) as place,
        Exporter(
            log,
            place,
            HttpSink(url, resource={}, max_bytes=MAX_BYTES),
            What(spans=True),
            refused=RefusedFile(folder / "refused.jsonl"),
        ) as exporter,
    ):
        began = time.perf_counter()
        exporter.drain(log.position())
        took_s = time.perf_counter() - began
        if exporter.spans.taken != spans:
            raise RuntimeError(f"{exporter.spans.taken:,} of {spans:,} spans were taken")
        return took_s
