"""[telemetry]: what a run sends out beside its sessions, with a Ray of its own and a collector in its own process."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from telemetry.log import EventLog, open_log
from tests.aether import Aether, wait_until
from tests.clusters import Head
from tests.collector import Manner
from tests.collectors import CollectorProcess, collector_process
from tests.exporting import events_received, spans_of_log, spans_received

ENDLESS = """\
name = "endless"
seed = 5
sessions = 2
cycles = 100000

[environment]
id = "gymnasium:PointMaze_UMaze-v3"
frames = 5
max_frames = 150
episodes = 100000

[reasoner]
kind = "greedy"
"""


@pytest.fixture
def collector() -> Iterator[CollectorProcess]:
    with collector_process() as found:
        yield found


@pytest.fixture
def endless(tmp_path: Path) -> Path:
    """A scenario whose sessions end when they are told to."""
    file = tmp_path / "endless.toml"
    file.write_text(ENDLESS, encoding="utf-8")
    return file


def check(log: EventLog, collector: CollectorProcess) -> None:
    assert events_received(collector.records).keys() == {event.id for event in log.read_all()}
    assert spans_received(collector.spans) == spans_of_log(log)


def test_a_run_sends_everything_out_before_it_ends(aether: Aether, collector: CollectorProcess) -> None:
    env = {"AETHER_TELEMETRY_OTLP": collector.url}
    ran = aether("run", "examples/maze.toml", "--sessions", "2", "--cycles", "10", "--json", env=env)
    assert ran.code == 0, ran.err
    assert ran.json["telemetry"] == []
    with closing(open_log(aether.log, mode="read")) as log:
        check(log, collector)


def test_a_run_whose_collector_is_away_ends_as_ever_and_says_what_waits(
    aether: Aether, collector: CollectorProcess
) -> None:
    env = {"AETHER_TELEMETRY_OTLP": collector.url, "OTEL_EXPORTER_OTLP_HEADERS": "x-key=hush"}
    collector.kill()
    ran = aether("run", "examples/maze.toml", "--sessions", "1", "--cycles", "5", env=env)
    assert ran.code == 0, ran.err
    assert "events wait" in ran.err
    assert "it does not answer: Connection refused" in ran.err
    assert "hush" not in ran.err + ran.out
    collector.start()
    sent = aether("trace", "export", env=env)
    assert sent.code == 0, sent.err
    with closing(open_log(aether.log, mode="read")) as log:
        check(log, collector)


def test_what_a_slow_collector_has_not_taken_yet_does_not_hold_the_sessions_up(
    aether: Aether, collector: CollectorProcess
) -> None:
    collector.behave(Manner(status=503, retry_after="3600"))
    env = {"AETHER_TELEMETRY_OTLP": collector.url}
    ran = aether("run", "examples/maze.toml", "--sessions", "1", "--cycles", "5", "--json", env=env)
    assert ran.code == 0, ran.err
    (waits,) = ran.json["telemetry"]
    assert "503 as it was told to" in waits


def test_a_run_that_is_interrupted_sends_out_what_its_sessions_left(
    aether: Aether, collector: CollectorProcess, endless: Path
) -> None:
    env = {"AETHER_TELEMETRY_OTLP": collector.url}
    with aether.start("run", str(endless), "--json", env=env) as started:
        wait_until(lambda: len(collector.records) > 100, what="records of a session that runs")
        started.signal_group(signal.SIGINT)
        ran = started.end()
    assert ran.code == 130, (ran.code, ran.out, ran.err)
    assert ran.json["telemetry"] == []
    with closing(open_log(aether.log, mode="read")) as log:
        check(log, collector)


def test_a_killed_exporter_comes_back_beside_the_sessions(
    attached: Aether, head: Head, collector: CollectorProcess, endless: Path
) -> None:
    env = {"AETHER_TELEMETRY_OTLP": collector.url}
    with attached.start("run", str(endless), "--json", env=env) as started:
        for _ in range(2):
            before = len(collector.records)
            wait_until(lambda before=before: len(collector.records) > before, what="more")  # type: ignore[misc]
            (pid,) = head.actors("TelemetryActor")
            os.kill(pid, signal.SIGKILL)
            wait_until(
                lambda pid=pid: pid not in (now := head.actors("TelemetryActor")) and len(now) == 1,  # type: ignore[misc]
                what="another one",
            )
        started.signal_group(signal.SIGINT)
        ran = started.end()
    assert ran.code == 130, (ran.code, ran.out, ran.err)
    assert ran.json["telemetry"] == []
    with closing(open_log(attached.log, mode="read")) as log:
        events, spans = {event.id for event in log.read_all()}, spans_of_log(log).keys()
    assert events_received(collector.records).keys() == events
    assert spans_received(collector.spans).keys() == spans


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("AETHER_TELEMETRY_OTLP", "localhost:4318", "no address of a collector"),
        ("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "perhaps", "NO_CONTENT"),
        ("AETHER_TELEMETRY_OTPL", "http://localhost:4318", "did you mean 'telemetry_otlp'"),
    ],
)
def test_a_setting_that_cannot_be_meant_ends_a_run_before_it_begins(
    aether: Aether, name: str, value: str, said: str
) -> None:
    env = {"AETHER_TELEMETRY_OTLP": "http://localhost:4318", name: value}
    ran = aether("run", "examples/maze.toml", "--cycles", "1", env=env)
    assert ran.code == 2, ran.err
    assert said in ran.err


def test_metrics_of_a_run_go_out_beside_it_with_what_its_host_and_its_exporter_say(
    aether: Aether, collector: CollectorProcess
) -> None:
    env = {
        "AETHER_TELEMETRY_OTLP": collector.url,
        "OTEL_METRICS_EXPORTER": "otlp",
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
    }
    ran = aether("run", "examples/maze.toml", "--sessions", "2", "--cycles", "10", "--json", env=env)
    assert ran.code == 0, ran.err
    assert ran.json["telemetry"] == []
    found = collector.metrics
    with closing(open_log(aether.log, mode="read")) as log:
        cycles = sum(1 for _ in log.read_all(types=["session.cycle_closed"]))
        (closed,) = found["aetherloop.cycles.closed"].sum.data_points
        assert closed.as_int == cycles
        (handed_on,) = found["aetherloop.export.handed_on"].sum.data_points
        assert handed_on.as_int == log.position()
    (lost,) = found["aetherloop.export.lost"].sum.data_points
    assert lost.as_int == 0
    (appends,) = found["aetherloop.log.append.duration"].histogram.data_points
    assert appends.count > 0
    lags = {
        point.attributes[0].value.string_value: point.as_int
        for point in found["aetherloop.export.lag"].gauge.data_points
    }
    assert lags.keys() == {"metrics", lost.attributes[0].value.string_value}
    assert {*lags.values()} == {0}
