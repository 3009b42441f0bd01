"""One suite for every store."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from telemetry.log import EventLog
from tests.contract.stores import STORES, Store


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    """An empty place for a log of each kind."""
    place = STORES[request.param](request)
    yield place
    place.close()


@pytest.fixture
def log(store: Store) -> EventLog:
    """A new log in that place, opened for writing."""
    return store.open()
