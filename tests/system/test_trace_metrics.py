"""`aether trace metrics` as a user runs it: once, served to Prometheus, and killed while it counts."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial

import pytest

from runtime.telemetry.metrics import counted
from telemetry.events.session import Opened
from telemetry.log import EventLog, open_log
from telemetry.otel import names
from tests.aether import AETHER, ROOT, RUN_TIMEOUT_S, Aether, end_with_parent, wait_until
from tests.collector import collecting
from tests.contract.stores import fill
from tests.golden.test_golden import read

KILLS = 4
FREE_PORT = {"AETHER_PROMETHEUS_PORT": "0"}


def news(url: str, beyond: float) -> bool:
    return events(url) > beyond


@pytest.fixture
def log(aether: Aether) -> Iterator[EventLog]:
    """The log that the command finds, with sessions that were recorded once."""
    with closing(open_log(aether.log)) as store:
        for name in ("lava.jsonl", "refund.jsonl"):
            store.restore([*read(name)]).result()
        yield store


@contextmanager
def following(aether: Aether, **variables: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        (*AETHER, "trace", "metrics", "--follow"),
        env={**aether.env, "PYTHONPATH": str(ROOT), **variables},
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=end_with_parent,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def served_at(process: subprocess.Popen[str]) -> str:
    """What it says first."""
    assert process.stderr is not None
    line = process.stderr.readline()
    found = re.fullmatch(r"metrics of .* are at (http://localhost:[0-9]+/metrics)\n", line)
    assert found, line
    return found[1]


def events(url: str) -> float:
    with urllib.request.urlopen(url, timeout=RUN_TIMEOUT_S) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith("aetherloop_events_total"))


def test_what_the_log_comes_to_is_printed_in_words_in_json_and_as_prometheus_reads_it(
    aether: Aether, log: EventLog
) -> None:
    ran = aether("trace", "metrics")
    assert (ran.code, ran.err) == (0, "")
    assert re.search(r"aetherloop.cycles.closed by gen_ai.agent.name\n  .*\n  lava    5\n  refund  10\n", ran.out)
    assert re.search(
        r"\n  chat  openai  scripted  scripted  input +10: mean 152, p50 ≤ 231, p99 ≤ 231 token\n", ran.out
    )
    answered = aether("trace", "metrics", "--json").json
    assert answered["as_of"] == log.position()
    tools = [row for row in answered["rows"] if row["metric"] == "gen_ai.execute_tool.duration"]
    assert [row["attributes"]["gen_ai.tool.name"] for row in tools] == ["email", "find_order", "refund"]
    text = aether("trace", "metrics", "--text").out
    assert 'aetherloop_cycles_closed_total{gen_ai_agent_name="refund"} 10.0\n' in text
    assert 'service_name="aetherloop"' in text


def test_no_session_and_no_person_is_among_the_attributes(aether: Aether, log: EventLog) -> None:
    text = aether("trace", "metrics", "--text").out
    people = {event.event.person for event in log.read_all(types=["session.opened"]) if isinstance(event.event, Opened)}
    assert people - {None}
    for person in people - {None}:
        assert f'"{person}"' not in text
    assert {*re.findall(r'[{,]([a-z_]+)="', text)} <= {
        *(name.replace(".", "_") for measure in (*names.MEASURES, *names.WATCHED) for name in measure.attributes),
        *("le", "service_name", "service_instance_id"),
        *("telemetry_sdk_language", "telemetry_sdk_name", "telemetry_sdk_version"),
    }


def test_a_follower_killed_again_and_again_counts_every_event_once(aether: Aether, log: EventLog) -> None:
    expected = log.position()
    for number in range(KILLS):
        with following(aether, **FREE_PORT) as process:
            url = served_at(process)
            fill(log, f"session/{number}", 40, each=50)
            expected += 2_000
            wait_until(partial(news, url, expected - 2_000), what="news in what is served")
            process.send_signal(signal.SIGKILL)
    with following(aether, **FREE_PORT) as process:
        url = served_at(process)
        wait_until(lambda: events(url) >= expected, what="all events in what is served")
        assert events(url) == expected
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=RUN_TIMEOUT_S)
    assert (process.returncode, err) == (130, "aether: interrupted\n")
    totals, _ = counted(log)
    assert sum(totals.numbers[names.EVENT_COUNT.name].values()) == expected


def test_metrics_go_to_a_collector_while_it_follows_and_once_more_when_it_ends(aether: Aether, log: EventLog) -> None:
    with collecting() as collector:
        otlp = {"OTEL_METRICS_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}
        with following(aether, **otlp, OTEL_METRIC_EXPORT_INTERVAL="100") as process:
            wait_until(lambda: "aetherloop.cycles.closed" in collector.metrics, what="metrics")
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=RUN_TIMEOUT_S)
    assert err.splitlines() == [f"metrics of {log.name} go out by otlp", "aether: interrupted"]
    points = collector.metrics["aetherloop.cycles.closed"].sum.data_points
    assert sorted(point.as_int for point in points) == [5, 10]
    assert {point.start_time_unix_nano for point in points} == {next(log.read_all()).at}


def test_to_follow_and_to_print_is_a_mistake(aether: Aether, log: EventLog) -> None:
    ran = aether("trace", "metrics", "--follow", "--json")
    assert ran.code == 2
    assert "--follow prints nothing" in ran.json["error"]["message"]


def test_where_its_port_is_taken_it_ends_and_says_which_to_choose(aether: Aether, log: EventLog) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ran = aether(
            "trace",
            "metrics",
            "--follow",
            env={"OTEL_EXPORTER_PROMETHEUS_PORT": port, "AETHER_PROMETHEUS_HOST": "127.0.0.1"},
        )
    assert ran.code == 6
    assert f"127.0.0.1:{port} cannot be had" in ran.err
    assert "go nowhere, for the reason above" in ran.err
