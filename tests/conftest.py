"""Fixtures that several suites share."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from telemetry.log import EventLog, open_log
from tests.aether import Aether
from tests.clusters import Head, Nodes
from tests.local import Local
from tests.postgres import Server, owned

# A law says nothing of how long an example takes, nor how long it takes to draw one on a busy machine.
settings.register_profile("laws", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("laws")


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


@pytest.fixture(scope="session")
def head() -> Iterator[Head]:
    """A running Ray cluster of the tests' own, for whoever attaches to one."""
    cluster = Head()
    yield cluster
    cluster.close()


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """A PostgreSQL server of the tests' own, shared by those who leave it running."""
    with owned() as running:
        yield running


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    """A cluster of the test's own that further nodes may join, and that may lose them."""
    cluster = Nodes()
    yield cluster
    cluster.close()


@pytest.fixture
def closed_port() -> Iterator[int]:
    """Of loopback, where nobody listens: taken, so that nobody else comes to listen there."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.fixture
def aether() -> Iterator[Aether]:
    """The command line with a home of its own, starting a Ray of its own where it needs one."""
    command = Aether()
    yield command
    command.remove()


@pytest.fixture
def attached(aether: Aether, head: Head) -> Aether:
    """The same, attached to `head`."""
    aether.attach(head)
    return aether
