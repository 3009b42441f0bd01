"""The record: a log of 100,000 events goes out as OTLP log records and is rebuilt from them, with what is stored and
with digests alone; and how many bytes a record takes, beside a line of `aether log export`.

Knows what is compared; invariant: it goes out as by `aether trace export` and is rebuilt as by `aether log rebuild`,
with nothing of the first log at hand."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path

from benchmarks.report import figure, short
from benchmarks.telemetry.filled import filled, workplace
from telemetry.log import EventLog, open_log
from telemetry.log.export import export_lines
from telemetry.otel import names
from telemetry.otel.export.exporter import Exporter, Passing, What
from telemetry.otel.export.refused import RefusedFile
from telemetry.otel.export.to_files import LOGS, FileSink
from telemetry.otel.rebuild import rebuild
from telemetry.otel.record import Detail

EVENTS, SHORT_EVENTS = 100_000, 20_000
DETAILS: tuple[Detail, ...] = ("stored", "digest")


def main() -> None:
    with workplace() as folder:
        path = filled(folder, SHORT_EVENTS if short() else EVENTS)
        with closing(open_log(path, mode="read")) as log:
            files = {detail: _out(log, folder / detail, detail) for detail in DETAILS}
            lines = sum(map(len, export_lines(log.read_all())))
            rates: list[float] = []
            equal = [_rebuilt(log, files[detail], folder / f"{detail}.db", rates) for detail in DETAILS]
    stored, digest = (size / lines for size in (files["stored"].size, files["digest"].size))
    figure("rebuild_equal", value=min(equal), unit="of 1", op=">=", floor=1.0, samples=equal)
    figure("rebuild_events_per_s", value=min(rates), unit="events/s", op=">=", samples=rates)
    figure("record_size_ratio", value=stored, unit="×", op="<=", floor=1.1, samples=[stored])
    figure("record_size_ratio_digest", value=digest, unit="×", op="<=", samples=[digest])


class _File:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = path.stat().st_size


def _out(log: EventLog, folder: Path, detail: Detail) -> _File:
    sink = FileSink(folder, resource={names.LOG_ID: log.id})
    refused = RefusedFile(folder / "refused.jsonl")
    with Exporter(log, Passing(), sink, What(spans=False, record=detail), refused=refused) as exporter:
        exporter.drain(log.position())
    return _File(folder / LOGS)


def _rebuilt(log: EventLog, file: _File, path: Path, rates: list[float]) -> float:
    """1 when every stream ends as it does in `log`, every chain holds, and what travelled is there."""
    with closing(open_log(path)) as copy:
        start = time.perf_counter()
        done = rebuild(copy, [file.path])
        rates.append(log.position() / (time.perf_counter() - start))
        report = copy.verify(seal=log.seal())
        withheld = sum(stretch.events for stretch in report.withheld)
    return float(done.whole and report.ok and report.events == log.position() and withheld == done.withheld.events)
