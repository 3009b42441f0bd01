"""A log goes out as its record while who sends it and who takes it are killed, and comes back on the other store."""

from __future__ import annotations

import json
import os
import random
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from runtime.settings import Settings
from runtime.telemetry.cursors import cursors_of
from telemetry.log import EventLog
from telemetry.log.export import export_lines
from telemetry.otel.rebuild import rebuild
from tests.aether import AETHER, ROOT, end_with_parent, wait_until
from tests.collector import Manner
from tests.collectors import collector_process
from tests.contract.stores import STORES, Store, note, notes
from tests.contract.test_fork import fork

BURST = 20_000
EACH = 20
STREAMS = 10
KILLS = 4
PATIENCE_S = 240.0


@pytest.fixture(params=[("sqlite", "postgresql"), ("postgresql", "sqlite")], ids=lambda kinds: f"{kinds[0]}-{kinds[1]}")
def stores(request: pytest.FixtureRequest) -> Iterator[tuple[Store, Store]]:
    """Where the log is, and where it is rebuilt."""
    there, here = (STORES[kind](request) for kind in request.param)
    yield there, here
    there.close()
    here.close()


@contextmanager
def exporting(log: EventLog, home: Path, *to: str, **settings: str) -> Iterator[None]:
    """`aether trace export --follow` in a process of its own, of records alone."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "AETHER_HOME": str(home), "AETHER_TELEMETRY_INTERVAL_S": "0"}
    env |= settings
    command = (*AETHER, "trace", "export", *to, "--follow", "--no-spans", "--log", log.url)
    process = subprocess.Popen(command, env=env, cwd=ROOT, stdout=subprocess.DEVNULL, preexec_fn=end_with_parent)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def burst(log: EventLog, events: int) -> None:
    """All at once: streams by turns, a fork of each at the end, and a content beside the rows."""
    kept = [
        log.submit(
            f"session/{number % STREAMS}",
            notes(EACH, command=f"{number}"),
            expected_version=number // STREAMS * EACH,
            epoch=1,
        )
        for number in range(events // EACH)
    ]
    kept[-1].result()
    for number in range(STREAMS):
        fork(log, f"session/{number}", EACH, f"session/fork-{number}", then=2)
    log.append("session/big", [note("x" * 50_000)], expected_version=0, epoch=1)


def test_what_was_written_to_files_by_exporters_that_were_killed_comes_back_whole(
    stores: tuple[Store, Store], tmp_path: Path
) -> None:
    there, here = stores
    log, folder, chance = there.open(), tmp_path / "records", random.Random(5)
    file, to = folder / "logs.jsonl", ("--file", str(tmp_path / "records"))
    burst(log, BURST // 10)
    for number in range(KILLS):
        goal = _size(file) + chance.randrange(1, 200_000)
        with exporting(log, tmp_path / "home", *to, AETHER_TELEMETRY_MAX_BYTES="50000"):
            for append in range(50):
                log.append(f"more/{number}", notes(EACH, command=f"{append}"), expected_version=append * EACH, epoch=1)
            wait_until(lambda: _size(file) > goal, timeout_s=PATIENCE_S, what="it writes")  # noqa: B023  asked at once
        torn = file.read_bytes()[: chance.randrange(1, 2_000)].rstrip(b"\n")
        with file.open("ab") as opened:
            opened.write(torn)  # as if the kill had fallen inside a line
    log.append("more/last", [note("last")], expected_version=0, epoch=2)
    with exporting(log, tmp_path / "home", *to):
        wait_until(
            lambda: place(log, tmp_path / "home") == log.position(), timeout_s=PATIENCE_S, what="all of it is out"
        )
    rebuilt = here.open()
    done = rebuild(rebuilt, [folder])
    assert (done.whole, done.faulty) == (True, 0)
    assert list(export_lines(rebuilt.read_all())) == list(export_lines(log.read_all()))
    assert rebuilt.verify(seal=log.seal()).ok


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def place(log: EventLog, home: Path) -> int:
    """Where the exporter's cursor stands."""
    kept = [json.loads(file.read_bytes()) for file in cursors_of(log, Settings(home=home)).glob("*.json")]
    return max((int(one["position"]) for one in kept), default=0)


@pytest.mark.parametrize("delay_s", [0.02, 0.25])
def test_a_burst_that_a_slow_collector_took_comes_back_though_it_was_killed(
    stores: tuple[Store, Store], tmp_path: Path, delay_s: float
) -> None:
    there, here = stores
    log = there.open()
    with collector_process() as collector:
        collector.behave(Manner(delay_s=delay_s))
        with exporting(log, tmp_path / "home", "--otlp", collector.url):
            burst(log, BURST)
            for _ in range(2):
                taken = collector.taken_bytes
                wait_until(lambda: collector.taken_bytes > taken, timeout_s=PATIENCE_S, what="it takes something")  # noqa: B023  asked at once
                collector.kill()
                collector.start()
                collector.behave(Manner(delay_s=delay_s))
            wait_until(
                lambda: place(log, tmp_path / "home") == log.position(), timeout_s=PATIENCE_S, what="all of it is out"
            )
        rebuilt = here.open()
        done = rebuild(rebuilt, [collector.folder / "logs"])
    assert done.whole
    assert done.records == log.position() == BURST + 3 * STREAMS + 1
    assert rebuilt.verify(seal=log.seal()).ok
    assert done.withheld.events == log.position() - STREAMS, "by default no payload goes to a collector"
