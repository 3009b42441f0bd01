"""`aether trace export` as a user runs it: where to, what it says, how it ends."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from telemetry.log import EventLog, open_log
from tests.aether import Aether, wait_until
from tests.collector import Manner
from tests.collectors import CollectorProcess, collector_process
from tests.contract.stores import fill
from tests.exporting import events_received, spans_of_log, spans_received


@pytest.fixture
def collector() -> Iterator[CollectorProcess]:
    with collector_process() as found:
        yield found


@pytest.fixture
def log(aether: Aether) -> Iterator[EventLog]:
    """The log that commands find where they look for one."""
    aether.home.mkdir()
    store = open_log(aether.log)
    fill(store, "session/a", 20)
    yield store
    store.close()


def places(log: EventLog) -> list[int]:
    """Where the exporters of the log have got to."""
    return [
        json.loads(path.read_text(encoding="utf-8"))["position"] for path in Path(f"{log.url}.cursors").glob("*.json")
    ]


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_it_sends_what_is_there_and_next_time_what_came_since(
    aether: Aether, log: EventLog, collector: CollectorProcess, protocol: str
) -> None:
    url = collector.url if protocol == "http" else collector.grpc_url
    ran = aether("trace", "export", "--otlp", url)
    assert ran.code == 0, ran.err
    assert "20 records, up to position 20; nothing waits" in ran.out
    fill(log, "session/b", 5)
    again = aether("trace", "export", "--otlp", url, "--json")
    (row,) = again.rows
    assert (row["records"], row["position"], row["waiting"], again.json["as_of"]) == (5, 25, 0, 25)
    assert events_received(collector.records) == {event.id: 1 for event in log.read_all()}
    assert spans_received(collector.spans) == spans_of_log(log)


def test_it_follows_until_ctrl_c_and_ends_at_once_with_its_place(
    aether: Aether, log: EventLog, collector: CollectorProcess
) -> None:
    with aether.start("trace", "export", "--otlp", collector.url, "--follow", "--json") as started:
        wait_until(lambda: len(events_received(collector.records)) == 20, what="what was there")
        fill(log, "session/b", 5)
        wait_until(lambda: places(log) == [25], what="what came, and its place after it")
        started.signal_group(signal.SIGINT)
        ran = started.end()
    assert (ran.code, ran.err.strip()) == (130, "aether: interrupted")
    assert ran.rows[0]["position"] == 25


def test_ctrl_c_while_the_collector_is_away_or_slow_ends_it_too(
    aether: Aether, log: EventLog, collector: CollectorProcess
) -> None:
    collector.behave(Manner(status=429, retry_after="3600"))
    with aether.start("trace", "export", "--otlp", collector.url, "--follow") as started:
        wait_until(lambda: collector.asked > 0, what="a request")
        started.signal_group(signal.SIGINT)
        ran = started.end()
    assert ran.code == 130
    assert "up to position 0; 20 events wait" in ran.out
    assert "Traceback" not in ran.err


def test_without_follow_a_collector_that_is_away_ends_it_with_what_waits(
    aether: Aether, log: EventLog, collector: CollectorProcess
) -> None:
    collector.kill()
    ran = aether("trace", "export", "--otlp", collector.url, "--patience", "0.5")
    assert ran.code == 6
    assert "20 events wait" in ran.out
    assert "took nothing: it does not answer: Connection refused. What did not go out is safe in the log" in ran.err
    as_json = aether("trace", "export", "--otlp", collector.url, "--patience", "0", "--json")
    assert as_json.json["error"]["exit_code"] == 6
    assert log.position() == 20


def test_files_hold_the_record_with_its_stored_bytes(aether: Aether, log: EventLog, tmp_path: Path) -> None:
    for _ in range(2):
        ran = aether("trace", "export", "--file", str(tmp_path / "out"))
        assert ran.code == 0, ran.err
    lines = (tmp_path / "out" / "logs.jsonl").read_text(encoding="utf-8").splitlines()
    records = [
        record
        for line in lines
        for each in json.loads(line)["resourceLogs"]
        for scope in each["scopeLogs"]
        for record in scope["logRecords"]
    ]
    assert len(records) == 20
    assert all(json.loads(record["body"]["stringValue"])["why"].startswith("session/a") for record in records)
    assert (tmp_path / "out" / "traces.jsonl").exists()


def test_the_console_prints_spans_and_keeps_no_place(aether: Aether, log: EventLog) -> None:
    first, second = aether("trace", "export", "--console"), aether("trace", "export", "--console")
    assert first.out == second.out != "", "equal events give equal spans"
    assert "up to position 20" in first.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "say where to"),
        (("--otlp", "http://a", "--console"), "say where to"),
        (("--otlp", "localhost:4318"), "is no address of a collector"),
        (("--console", "--no-spans"), "neither spans nor records"),
        (("--otlp", "http://localhost:1", "--as", "../x"), "is no name of a cursor"),
    ],
)
def test_what_cannot_be_meant_is_refused(aether: Aether, log: EventLog, arguments: tuple[str, ...], said: str) -> None:
    ran = aether("trace", "export", *arguments)
    assert ran.code == 2
    assert said in ran.err


def test_one_place_is_kept_by_one_process_at_a_time(aether: Aether, log: EventLog, collector: CollectorProcess) -> None:
    with aether.start("trace", "export", "--otlp", collector.url, "--follow"):
        wait_until(lambda: len(collector.records) == 20, what="the first one")
        ran = aether("trace", "export", "--otlp", collector.url)
    assert ran.code == 6
    assert "another process follows as otlp-" in ran.err
