"""Fixtures that several suites share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from telemetry.log import EventLog, open_log
from tests.local import Local


@pytest.fixture
def log(tmp_path: Path) -> Iterator[EventLog]:
    """A log on disk that this process writes."""
    store = open_log(tmp_path / "log.db")
    yield store
    store.close()


@pytest.fixture
def local(log: EventLog) -> Iterator[Local]:
    """A place to run sessions in, on `log`."""
    place = Local(log)
    yield place
    place.close()
