"""What is left after a crash, and who may write."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from telemetry.errors import LogHeld, LogNotFound
from tests.contract.stores import Store, fill, note

ROOT = Path(__file__).parents[2]
ONE_WRITER = pytest.mark.parametrize("store", ["sqlite"], indirect=True)
"""Several hosts write to the others at once: `tests/contract/test_postgres.py`."""


@pytest.fixture
def appender(store: Store) -> Iterator[subprocess.Popen[str]]:
    """A process that appends to the store's log from several threads and prints what was acknowledged."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.contract.appender", store.url], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    yield process
    process.kill()
    process.communicate()


@pytest.mark.parametrize("acknowledged", [1, 30, 301, 900])
def test_what_was_acknowledged_outlives_sigkill(
    store: Store, appender: subprocess.Popen[str], acknowledged: int
) -> None:
    assert appender.stdout is not None
    lines = [appender.stdout.readline() for _ in range(acknowledged)]
    appender.send_signal(signal.SIGKILL)
    lines += [line for line in appender.stdout if line.endswith("\n")]
    appender.wait()
    store.let_end(appender.pid)
    log = store.open()
    kept = {f"{event.id} {event.hash.hex()}\n" for event in log.read_all()}
    assert set(lines) <= kept
    assert len(lines) >= acknowledged
    assert log.verify().ok
    head = log.head("s0")
    version = head.version if head else 0
    (event,) = log.append("s0", [note(command="after")], expected_version=version, epoch=2)
    assert event.position == len(kept) + 1


@ONE_WRITER
def test_a_log_held_by_a_live_process_says_by_which(store: Store, appender: subprocess.Popen[str]) -> None:
    assert appender.stdout is not None
    appender.stdout.readline()
    with pytest.raises(LogHeld) as caught:
        store.open()
    assert f"pid {appender.pid} " in caught.value.owner
    assert caught.value.owner in str(caught.value)


def test_a_log_is_read_beside_its_live_writer(store: Store, appender: subprocess.Popen[str]) -> None:
    assert appender.stdout is not None
    line = appender.stdout.readline()
    log = store.open(mode="read")
    assert line in {f"{event.id} {event.hash.hex()}\n" for event in log.read_all()}
    assert log.verify().ok


@ONE_WRITER
def test_a_second_writer_in_the_same_process_is_refused_until_the_first_closes(store: Store) -> None:
    first = store.open()
    with pytest.raises(LogHeld):
        store.open()
    first.close()
    assert store.open().id == first.id


def test_a_log_keeps_its_id_and_its_events(store: Store) -> None:
    log = store.open()
    kept = fill(log, "a", 3)
    log.close()
    again = store.open()
    assert again.id == log.id
    assert tuple(again.read("a")) == kept
    (event,) = again.append("a", [note(command="more")], expected_version=3, epoch=1)
    assert (event.version, event.position) == (4, 4)


def test_a_log_that_is_not_there_is_not_made_for_reading(store: Store) -> None:
    for mode, create in (("read", True), ("read", False), ("write", False)):
        with pytest.raises(LogNotFound):
            store.open(mode=mode, create=create)  # type: ignore[arg-type]  # one of the two literals
    assert store.open().position() == 0
