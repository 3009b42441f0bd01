"""The exporter over a log and a collector: everything goes out, the cursor follows it, and what cannot go out waits."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import pytest

from runtime.settings import Settings, Telemetry
from runtime.telemetry.exporting import Record, Target, exporting
from telemetry.errors import ExportFailed
from telemetry.log import EventLog
from telemetry.otel.export.exporter import LAST_REQUEST_S, Exporter, Passing, What
from telemetry.otel.export.over_http import HttpSink
from telemetry.otel.export.refused import Named, RefusedFile
from tests.aether import ROOT, wait_until
from tests.collector import Collector, Manner, collecting, records_of, spans_of
from tests.contract.stores import fill, note
from tests.exporting import body_of, events_received, spans_of_log, spans_received
from tests.local import Local

MAZE = (ROOT / "examples" / "maze.toml").read_text(encoding="utf-8")
Export = Callable[..., AbstractContextManager[Exporter]]
PATIENCE_S = 60.0


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as found:
        yield found


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, telemetry=Telemetry(record="digest", max_bytes=100_000))


@pytest.fixture
def export(log: EventLog, collector: Collector, settings: Settings) -> Export:
    """An exporter to the collector, whose patience has an end."""
    target = Target("otlp", collector.url)
    return partial(exporting, log, target, settings, patience_s=PATIENCE_S, interval_s=0.0)


def events_of(log: EventLog) -> set[str]:
    return {event.id for event in log.read_all()}


def test_every_event_of_a_session_goes_out_as_record_and_in_its_spans(
    local: Local, log: EventLog, collector: Collector, export: Export
) -> None:
    local.run("maze", MAZE, cycles=6)
    with export() as exporter:
        exporter.drain(log.position())
        assert exporter.position == log.position()
        assert exporter.lag().events == exporter.account.lost == 0
        assert exporter.account.handed_on == log.position()
    assert spans_received(spans_of(collector.requests)) == spans_of_log(log)
    assert events_received(records_of(collector.requests)) == dict.fromkeys(events_of(log), 1)
    ids = {
        attribute.value.string_value
        for request in collector.requests
        for each in getattr(request, "resource_spans", ())
        for attribute in each.resource.attributes
        if attribute.key == "aetherloop.log.id"
    }
    assert ids == {log.id}


def test_the_next_exporter_begins_where_the_last_one_ended(log: EventLog, collector: Collector, export: Export) -> None:
    fill(log, "a", 20)
    with export() as exporter:
        exporter.drain(log.position())
    fill(log, "b", 5)
    with export() as exporter:
        exporter.drain(log.position())
        assert exporter.records.taken == 5
    assert events_received(records_of(collector.requests)) == dict.fromkeys(events_of(log), 1)


def test_requests_are_bounded_in_bytes_and_many_events_are_in_one(
    log: EventLog, collector: Collector, export: Export
) -> None:
    fill(log, "a", 60, each=50)
    with export() as exporter:
        exporter.drain(log.position())
    sizes = [len(request.SerializeToString()) for request in collector.requests]
    assert max(sizes) <= 100_000
    assert len(events_received(records_of(collector.requests))) == 3000
    assert sum(sizes) / len(sizes) > 20_000


def test_a_collector_that_is_away_is_waited_for_and_the_lag_is_said(
    log: EventLog, settings: Settings, tmp_path: Path
) -> None:
    fill(log, "a", 10)
    with collecting() as gone:
        pass
    port, grpc_port = (int(url.rpartition(":")[2]) for url in (gone.url, gone.grpc_url))
    said: list[str] = []
    with exporting(log, Target("otlp", gone.url), settings, interval_s=0.0, troubled=said.append) as exporter:
        exporter.step(wait_s=0.0)
        while not said:
            assert exporter.lag().events == 10
        assert "refused" in said[0]
        assert exporter.lag().why == said[0]
        with collecting(port=port, grpc_port=grpc_port) as collector:
            exporter.drain(log.position())
            assert said[-1] == exporter.lag().why == ""
            assert len(events_received(records_of(collector.requests))) == 10


def test_patience_at_an_end_leaves_the_cursor_before_what_did_not_go_out(
    log: EventLog, collector: Collector, settings: Settings
) -> None:
    fill(log, "a", 10)
    collector.manner = Manner(status=503)
    with (
        exporting(log, Target("otlp", collector.url), settings, patience_s=0.1) as exporter,
        pytest.raises(ExportFailed, match="503"),
    ):
        exporter.drain(log.position())
    assert exporter.position == 0
    collector.manner = Manner()
    with exporting(log, Target("otlp", collector.url), settings, patience_s=PATIENCE_S) as exporter:
        exporter.drain(log.position())
    assert events_received(records_of(collector.requests)) == dict.fromkeys(events_of(log), 1)


@pytest.mark.parametrize("manner", [Manner(refuses="poison"), Manner(rejects="poison")], ids=["refuses", "rejects"])
def test_a_poisoned_record_is_named_and_all_others_go_out(
    log: EventLog, collector: Collector, export: Export, manner: Manner
) -> None:
    fill(log, "a", 30)
    (poison,) = fill(log, "poison", 1)
    fill(log, "z", 30)
    collector.manner = manner
    with export(record="stored", spans=False) as exporter:
        exporter.drain(log.position())
        assert exporter.records.refused == 1
        assert (exporter.account.aside, exporter.account.lost) == (1, 0)
        kept = [json.loads(line) for line in exporter.refused_file.read_text().splitlines()]
    assert [one["item"] for one in kept] == [poison.id]
    assert "poison" in kept[0]["why"]
    assert set(events_received(records_of(collector.requests))) == events_of(log) - {poison.id}


def test_an_event_above_the_collectors_limit_goes_by_reference(
    log: EventLog, collector: Collector, export: Export
) -> None:
    fill(log, "a", 3)
    log.append("b", [note("x" * 500_000)], expected_version=0, epoch=1)
    with export(record="stored", spans=False) as exporter:
        exporter.drain(log.position())
        assert exporter.records.by_reference == 1
        assert exporter.records.refused == 0
    records = records_of(collector.requests)
    assert set(events_received(records)) == events_of(log)
    assert [body_of(record) is not None for record in records] == [True, True, True, False]


def test_what_an_interrupted_step_had_under_way_goes_out_again(
    log: EventLog, collector: Collector, settings: Settings
) -> None:
    fill(log, "a", 10)
    collector.manner = Manner(status=503)
    with exporting(log, Target("otlp", collector.url), settings) as exporter:
        exporter.step(wait_s=0.0)
        exporter.stop()
        assert not exporter.step(wait_s=0.0)
    assert exporter.position == 0


def test_an_answer_that_comes_after_the_end_moves_no_place(
    log: EventLog, collector: Collector, settings: Settings
) -> None:
    fill(log, "a", 10)
    collector.open.clear()
    with exporting(log, Target("otlp", collector.url), settings, spans=False) as exporter:
        exporter.step(wait_s=0.0)
    collector.open.set()
    wait_until(lambda: len(collector.requests) == 1, timeout_s=30, what="the late answer")
    with exporting(log, Target("otlp", collector.url), settings, spans=False) as exporter:
        assert exporter.position == 0
        exporter.drain(log.position())
    assert events_received(records_of(collector.requests)) == {event.id: 2 for event in log.read_all()}


class SlowPlace(Passing):
    """A place on a disk that takes its time."""

    def __init__(self) -> None:
        super().__init__()
        self.moving, self.may = threading.Event(), threading.Event()

    def move(self, position: int) -> None:
        self.moving.set()
        assert self.may.wait(60)
        super().move(position)


def test_a_place_that_is_being_moved_is_waited_for(log: EventLog, collector: Collector, tmp_path: Path) -> None:
    """It may be another's as soon as the exporter is closed."""
    place, places = SlowPlace(), list[int | None]()
    sink = HttpSink(collector.url, resource={}, max_bytes=100_000)
    exporter = Exporter(log, place, sink, What(), refused=RefusedFile(tmp_path / "none"))
    fill(log, "session/a", 10)
    exporter.step(wait_s=0.0)
    assert place.moving.wait(60)

    def close() -> None:
        exporter.close()
        places.append(place.position)

    closing = threading.Thread(target=close)
    closing.start()
    closing.join(2 * LAST_REQUEST_S)  # longer than an end waits for the collector
    place.may.set()
    closing.join(60)
    assert places == [10]
    assert exporter.position == exporter.account.handed_on == 10


def test_a_name_that_was_cut_off_spoils_none_that_comes_after_it(tmp_path: Path) -> None:
    file = RefusedFile(tmp_path / "refused.jsonl")
    named = Named("records", "a@1", "0", "0", "too large")
    file.keep([named], position=1)
    whole = file.path.read_bytes()
    file.path.write_bytes(whole + whole[:-9])  # as a kill or a full disk leaves it
    file.keep([named], position=1)
    assert file.path.read_bytes() == whole + whole[:-9] + b"\n" + whole


def test_at_the_logs_end_what_comes_waits_for_more_that_can_go_along(
    log: EventLog, collector: Collector, settings: Settings
) -> None:
    fill(log, "a", 10)
    with exporting(log, Target("otlp", collector.url), settings, interval_s=3600) as exporter:
        exporter.drain(log.position())
        fill(log, "b", 10)
        with ThreadPoolExecutor(1) as other:
            step = other.submit(exporter.step, wait_s=10.0)
            exporter.stop()
            assert not step.result(60)
        assert exporter.position == 10


@pytest.mark.parametrize("record", ["stored", "digest", "none"])
def test_each_event_is_recorded_as_it_is_wanted(
    log: EventLog, collector: Collector, export: Export, record: Record
) -> None:
    fill(log, "a", 3)
    with export(record=record) as exporter:
        exporter.drain(log.position())
    bodies = [body_of(found) is not None for found in records_of(collector.requests)]
    assert bodies == {"stored": [True] * 3, "digest": [False] * 3, "none": []}[record]


def test_the_same_target_has_the_same_cursor_and_another_has_another() -> None:
    one = Target("otlp", "http://me:hush@machine:4318")
    assert one.cursor == Target("otlp", "http://machine:4318").cursor
    assert one.cursor.startswith("otlp-machine-4318-")
    assert one.cursor != Target("otlp", "http://machine:4319").cursor
    assert "hush" not in one.cursor + one.name


def test_what_runs_beside_sessions_loads_no_sdk_until_something_goes_out() -> None:
    code = "import sys, runtime.telemetry.following; print([name for name in sys.modules if name in sys.argv])"
    heavy = ("opentelemetry.sdk", "requests", "grpc", "duckdb", "pyarrow")
    ran = subprocess.run(
        (sys.executable, "-c", code, *heavy), cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert ran.stdout.strip() == "[]"
