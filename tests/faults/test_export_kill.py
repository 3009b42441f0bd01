"""SIGKILL to the collector and to the exporter: every event arrives, and what arrives twice has the ids that it had."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from telemetry.log import EventLog
from tests.aether import ROOT, end_with_parent, wait_until
from tests.collector import Manner
from tests.collectors import CollectorProcess, collector_process
from tests.contract.stores import STORES, fill
from tests.exporting import events_received, spans_of_log, spans_received

EXPORTER_KILLS = 8
EVENTS_A_KILL = 200
PATIENCE_S = 120.0
SMALL_BYTES = 20_000
"""Of the largest request: what comes between two kills goes out in a dozen of them, of each signal."""
SLOW = Manner(delay_s=0.02)
"""So that most kills fall into a request."""


@pytest.fixture(params=STORES)
def log(request: pytest.FixtureRequest) -> Iterator[EventLog]:
    store = STORES[request.param](request)
    yield store.open()
    store.close()


@contextmanager
def exporter(log: EventLog, url: str, home: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`aether trace export --follow` in a process of its own."""
    env = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "AETHER_HOME": str(home),
        "AETHER_LOG": log.url,
        "AETHER_TELEMETRY_INTERVAL_S": "0",
        "AETHER_TELEMETRY_MAX_BYTES": str(SMALL_BYTES),
    }
    command = (
        sys.executable,
        "-m",
        "runtime",
        "trace",
        "export",
        "--otlp",
        url,
        "--follow",
        "--log",
        log.url,
        "--json",
    )
    process = subprocess.Popen(command, env=env, cwd=ROOT, stdout=subprocess.DEVNULL, preexec_fn=end_with_parent)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def reached(collector: CollectorProcess, goal: int) -> None:
    """Returns when so many bytes have arrived."""
    wait_until(lambda: collector.taken_bytes >= goal, timeout_s=PATIENCE_S, what=f"{goal} bytes")


def check(log: EventLog, collector: CollectorProcess) -> None:
    """0 lost, and 0 double once repeats are dropped by their ids."""
    events, spans = {event.id for event in log.read_all()}, spans_of_log(log).keys()
    wait_until(
        lambda: (
            len(events_received(collector.records)) >= len(events)
            and len(spans_received(collector.spans)) >= len(spans)
        ),
        timeout_s=PATIENCE_S,
        what="every event and span",
    )
    assert events_received(collector.records).keys() == events
    assert spans_received(collector.spans).keys() == spans


@pytest.mark.parametrize(("protocol", "kills"), [("http", 20), ("grpc", 5)])
def test_a_collector_killed_and_started_again_has_every_event(
    log: EventLog, tmp_path: Path, protocol: str, kills: int
) -> None:
    chance = random.Random(11)
    cut_off = 0
    with collector_process() as collector:
        collector.behave(SLOW)
        url = collector.url if protocol == "http" else collector.grpc_url
        with exporter(log, url, tmp_path) as process:
            for number in range(kills):
                goal = collector.taken_bytes + chance.randrange(1, 3 * SMALL_BYTES)
                fill(log, f"session/s{number}", EVENTS_A_KILL // 20, each=20)
                reached(collector, goal)
                collector.kill()
                cut_off += len(events_received(collector.records)) < log.position()
                collector.start()
                collector.behave(SLOW)
            check(log, collector)
            assert process.poll() is None, "the exporter outlived all of it"
    assert cut_off, "no kill fell before the end"


def test_an_exporter_killed_again_and_again_leaves_nothing_out(log: EventLog, tmp_path: Path) -> None:
    chance = random.Random(12)
    cut_off = 0
    with collector_process() as collector:
        collector.behave(SLOW)
        for number in range(EXPORTER_KILLS):
            goal = collector.taken_bytes + chance.randrange(1, 3 * SMALL_BYTES)
            with exporter(log, collector.url, tmp_path) as process:
                fill(log, f"session/s{number}", EVENTS_A_KILL // 20, each=20)
                reached(collector, goal)
                process.send_signal(signal.SIGKILL)
                process.wait()
            cut_off += len(events_received(collector.records)) < log.position()
        with exporter(log, collector.url, tmp_path):
            check(log, collector)
    assert cut_off, "no kill fell before the end"
