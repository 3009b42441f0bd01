"""What is lost of a burst that comes faster than it can be exported, and of one whose collector is killed meanwhile.

Ours beside the SDK's BatchSpanProcessor as it comes, by turns: the same exporter of OpenTelemetry, which takes so
many milliseconds a call, behind each. The peer is handed spans as fast as a loop ends them and shut down properly;
ours follows a log to which sessions append as fast as they run, and events wait there. Whether an event is lost is
decided by its record, one each, whether a span is, by its id. The collector that is killed keeps what it acknowledged
on disk, as ours does its place; how often what it keeps came twice is a figure of its own, as back ends may keep
repeats."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import orjson
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk._logs.export import LogRecordExporter, LogRecordExportResult
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from benchmarks.report import figure, progress, short
from benchmarks.telemetry.filled import filled, workplace
from runtime.settings import Settings, Telemetry
from runtime.telemetry.exporting import Target, exporting
from telemetry.log import EventLog, open_log
from telemetry.log.projection.cursor import Cursor
from telemetry.otel import names
from telemetry.otel.export.exporter import Exporter, What
from telemetry.otel.export.refused import RefusedFile
from telemetry.otel.export.sink import AnySink
from tests.collectors import CollectorProcess, collector_process
from tests.exporting import events_received, spans_of_log, spans_received

AREA = "bench-telemetry"
EVENTS, SHORT_EVENTS = 20_000, 5_000
LATE_MS = (20, 100, 250)
KILLS, SHORT_KILLS = 20, 5
DOWN_S = 0.05
"""How long a killed collector is away."""
SMALL_BYTES = 100_000
"""Of a request to it: there are many more requests than kills."""
LOST = 0
"""Ceiling of issue "Telemetry is a projection", section "Figures"."""
PATIENCE_S = 120.0


def report() -> None:
    """Prints the figures: `burst_lost` beside `burst_lost_sdk_…ms`, `kills_lost`, `kills_double`, what was repeated."""
    events = SHORT_EVENTS if short() else EVENTS
    lost, rounds = [], len(LATE_MS)
    with workplace() as folder:
        for number, late_ms in enumerate(LATE_MS, start=1):
            progress(AREA, f"a burst of {events:,} beside an exporter of {late_ms} ms, {number} of {rounds}")
            lost.append(float(_ours(folder / str(late_ms), events, late_ms / 1e3)))
            share = 100 * lost_by_the_sdk(events, late_ms / 1e3) / events
            figure(f"burst_lost_sdk_{late_ms}ms", value=share, unit="%", op="<=", samples=[share])
        figure("burst_lost", value=max(lost), unit="events and spans", op="<=", floor=LOST, samples=lost)
        _killed(filled(folder / "killed", events))


class Slow(SpanExporter):
    """Takes everything, in `late_s` a call."""

    def __init__(self, late_s: float) -> None:
        self._late_s = late_s
        self.taken: set[tuple[int, int]] = set()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        time.sleep(self._late_s)
        self.taken.update((span.context.trace_id, span.context.span_id) for span in spans)
        return SpanExportResult.SUCCESS


class SlowRecords(LogRecordExporter):
    """The same of records, by the ids of their events."""

    def __init__(self, late_s: float) -> None:
        self._late_s = late_s
        self.taken: set[tuple[str, int]] = set()

    def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
        time.sleep(self._late_s)
        for one in batch:
            attributes = one.log_record.attributes or {}
            version = orjson.loads(str(attributes[names.RECORD]))[1]
            self.taken.add((str(attributes[names.CONVERSATION]), version))
        return LogRecordExportResult.SUCCESS

    def force_flush(self, timeout_millis: int = 0) -> bool:
        return True

    def shutdown(self) -> None: ...


def _ours(folder: Path, events: int, late_s: float) -> int:
    """Events and spans lost of a burst that a host's writer takes while an exporter follows it."""
    folder.mkdir()
    path = folder / "log.db"
    open_log(path).close()
    spans, records = Slow(late_s), SlowRecords(late_s)
    with (
        closing(open_log(path, mode="read")) as log,
        Cursor(log, "bench", folder=folder) as place,
        Exporter(
            log,
            place,
            AnySink(spans, records, name="slow", resource={}),
            What(spans=True, record="digest"),
            refused=RefusedFile(folder / "refused.jsonl"),
        ) as exporter,
        _following(exporter),
    ):
        filled(folder, events)
        _wait(log, exporter)
        lost = len({(event.stream.partition("/")[2], event.version) for event in log.read_all()} - records.taken)
        expected = {(int(trace, 16), int(span, 16)) for trace, span in spans_of_log(log)}
        return lost + len(expected - spans.taken)


def lost_by_the_sdk(events: int, late_s: float) -> int:
    """Spans lost of the same burst by the SDK's processor with its defaults, which is shut down once all are ended."""
    exporter = Slow(late_s)
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    tracer = provider.get_tracer("bench")
    spans = [tracer.start_span("step", attributes={"number": number}) for number in range(events)]
    logger = logging.getLogger("opentelemetry.sdk")
    before = logger.level
    logger.setLevel(logging.CRITICAL)  # it says once a minute that it drops
    try:
        for span in spans:
            span.end()
        provider.shutdown()
    finally:
        logger.setLevel(before)
    return events - len(exporter.taken)


@contextmanager
def _following(exporter: Exporter) -> Iterator[None]:
    """Steps on a thread of its own, as beside sessions."""
    stop = threading.Event()

    def follow() -> None:
        while not stop.is_set():
            exporter.step(wait_s=0.1)

    thread = threading.Thread(target=follow)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        exporter.stop()
        thread.join()


def _wait(log: EventLog, exporter: Exporter) -> None:
    until = time.monotonic() + PATIENCE_S
    while exporter.position < log.position():
        if time.monotonic() > until:
            raise TimeoutError(f"{exporter.lag()} after {PATIENCE_S:.0f} s")
        time.sleep(0.01)


def _killed(path: Path) -> None:
    """Exports that log to a collector that is killed and started again all along."""
    kills = SHORT_KILLS if short() else KILLS
    progress(AREA, f"a collector that is killed and started again {kills} times")
    settings = Settings(home=path.parent, telemetry=Telemetry(record="digest", max_bytes=2 * SMALL_BYTES))
    with (
        closing(open_log(path, mode="read")) as log,
        collector_process() as collector,
        exporting(log, Target("otlp", collector.url), settings, interval_s=0.0) as exporter,
    ):
        with _following(exporter):
            done = sum(_kill(collector, exporter, log) for _ in range(kills))
            if done < kills:
                raise RuntimeError(f"all was out after {done} kills: the log is too short for {kills}")
            _wait(log, exporter)
        events = events_received(collector.records)
        spans = spans_received(collector.spans)
        expected = {event.id for event in log.read_all()}, {*spans_of_log(log)}
        lost = len(expected[0] - events.keys()) + len(expected[1] - spans.keys())
        double = len(events.keys() - expected[0]) + len(spans.keys() - expected[1]) + _contradictions(collector)
    figure("kills_lost", value=lost, unit="events and spans", op="<=", floor=LOST, samples=[lost])
    figure("kills_double", value=double, unit="after deduplication", op="<=", floor=LOST, samples=[double])
    repeated = 100 * (1 - (len(events) + len(spans)) / (events.total() + spans.total()))
    figure("kills_repeated_percent", value=repeated, unit="%", op="<=", samples=[repeated])


def _kill(collector: CollectorProcess, exporter: Exporter, log: EventLog) -> bool:
    """Once it has taken something since it was started; whether there was something left to take."""
    before, until = collector.taken_bytes, time.monotonic() + PATIENCE_S
    while collector.taken_bytes == before and time.monotonic() < until:
        if exporter.position == log.position():
            return False
        time.sleep(0.0002)
    time.sleep(random.choice((0.0, random.uniform(0, 0.02))))  # before it could say so, or anywhere
    collector.kill()
    time.sleep(DOWN_S)
    collector.start()
    return True


def _contradictions(collector: CollectorProcess) -> int:
    """Ids that came with different contents, which no deduplication by id could make one."""
    contents: dict[bytes, set[bytes]] = {}
    for one in collector.spans:
        contents.setdefault(one.trace_id + one.span_id, set()).add(one.SerializeToString(deterministic=True))
    for record in collector.records:
        key = next(a.value.string_value for a in record.attributes if a.key == names.RECORD)
        contents.setdefault(key.encode(), set()).add(record.SerializeToString(deterministic=True))
    return sum(len(different) - 1 for different in contents.values())
