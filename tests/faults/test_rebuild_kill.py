"""SIGKILL to a rebuild: the same command goes on, and the log is the one that was recorded."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from telemetry.log import EventLog, open_log
from telemetry.log.export import export_lines
from telemetry.otel import names
from telemetry.otel.files import OtlpFile, logs_line
from telemetry.otel.record import record_of
from tests.aether import AETHER, ROOT, end_with_parent, wait_until
from tests.contract.stores import STORES, Store, notes
from tests.contract.test_fork import fork

KILLS = 3
APPENDS = 1_500
EACH = 20
"""Events of a command. A window of the import is 8,192 of them, so that kills fall between two."""
WRITES = "the rebuild writes"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EventLog]:
    """A log of 30,000 events of ten streams by turns, and of a fork of each."""
    log = open_log(tmp_path_factory.mktemp("source") / "log.db")
    kept = [
        log.submit(
            f"session/{number % 10}", notes(EACH, command=f"{number}"), expected_version=number // 10 * EACH, epoch=1
        )
        for number in range(APPENDS)
    ]
    kept[-1].result()
    for number in range(10):
        fork(log, f"session/{number}", 1_000, f"session/fork-{number}", then=3)
    yield log
    log.close()


@pytest.fixture(scope="module")
def records(source: EventLog) -> Path:
    """Its records in any order, some of them twice."""
    chance = random.Random(7)
    folder = Path(source.url).parent / "records"
    events = list(source.read_all())
    events += chance.sample(events, 1_000)
    chance.shuffle(events)
    for place in range(3):
        with OtlpFile(folder / f"{place}.jsonl") as file:
            some = [record_of(event, detail="stored") for event in events[place::3]]
            for begin in range(0, len(some), 500):
                file.append(logs_line(some[begin : begin + 500], resource={names.LOG_ID: source.id}))
    return folder


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    place = STORES[request.param](request)
    yield place
    place.close()


def rebuilding(store: Store, records: Path) -> subprocess.Popen[bytes]:
    command = (*AETHER, "log", "rebuild", "--from-otlp", str(records), "--log", store.url, "--json")
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, env=env, cwd=ROOT, stdout=subprocess.PIPE, preexec_fn=end_with_parent)


def position(store: Store) -> int:
    """Where the log stands while somebody else writes it."""
    with closing(open_log(store.url, mode="read")) as log:
        return log.position()


def test_a_rebuild_killed_again_and_again_goes_on_and_gives_the_same_log(
    store: Store, source: EventLog, records: Path
) -> None:
    store.open().close()
    fell: list[int] = []
    for _ in range(KILLS):
        before = position(store)
        with rebuilding(store, records) as process:
            wait_until(lambda: process.poll() is not None or position(store) > before, timeout_s=120, what=WRITES)  # noqa: B023  asked at once
            process.kill()
        store.let_end(process.pid)
        fell.append(position(store))
    process = rebuilding(store, records)
    said, _ = process.communicate(timeout=240)
    assert process.returncode == 0, said
    log = store.open()
    assert list(export_lines(log.read_all())) == list(export_lines(source.read_all()))
    assert log.seal() == source.seal()
    assert log.verify().ok
    assert any(0 < place < source.position() for place in fell), "a kill fell inside"
