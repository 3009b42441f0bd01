"""Rows of a projection on a server that cuts connections, restarts, or lets nobody write."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing

import pytest

from telemetry.events import Recorded
from telemetry.log import EventLog, open_log
from telemetry.log.projection.place import Rows
from telemetry.log.projection.project import Projected, place_of
from tests.contract.stores import fill
from tests.postgres import PASSWORD, Server, drop
from tests.projections import Chains, chains, undisturbed


@pytest.fixture
def url(server: Server) -> Iterator[str]:
    place = server.schema()
    yield place
    drop(place)


@pytest.fixture
def log(url: str) -> Iterator[EventLog]:
    with closing(open_log(url)) as store:
        yield store


class CutOff(Chains):
    """Loses its connection in the middle of its first batches."""

    cuts = 3

    def apply(self, rows: Rows, events: Sequence[Recorded]) -> None:
        super().apply(rows, events)
        if self.cuts:
            self.cuts -= 1
            rows.execute("SELECT pg_terminate_backend(pg_backend_pid())")


def test_a_batch_that_loses_its_connection_is_applied_again(log: EventLog) -> None:
    fill(log, "a", 30, each=20)
    projection = CutOff()
    with Projected(log, projection) as projected:
        assert projected.catch_up() == 600
        assert projection.batches[:4] == [512] * 4, "three were lost"
        assert chains(projected) == undisturbed(log)


def test_rows_wait_for_a_server_that_restarts(log: EventLog, server: Server) -> None:
    fill(log, "a", 3)
    with Projected(log, Chains()) as projected:
        projected.catch_up()
        server.restart()
        fill(log, "b", 3)
        assert projected.catch_up() == 6
        assert chains(projected) == undisturbed(log)


def test_who_may_only_read_the_log_has_the_rows_in_memory(log: EventLog, url: str, server: Server) -> None:
    fill(log, "a", 30)
    schema = url.rpartition("%3D")[2]
    with server.admin() as admin:
        admin.execute(
            f"CREATE ROLE reads LOGIN PASSWORD '{PASSWORD}'; GRANT USAGE ON SCHEMA {schema} TO reads; "
            f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO reads"
        )
    try:
        with (
            closing(open_log(url.replace("aether:", "reads:"), mode="read")) as reader,
            Projected(reader, Chains()) as projected,
        ):
            assert projected.catch_up() == 30
            assert chains(projected) == undisturbed(log)
            place = place_of(log, Chains.name)
            with place.read() as rows:
                assert place.tables(rows) == []
            place.close()
    finally:
        with server.admin() as admin:
            admin.execute("DROP OWNED BY reads; DROP ROLE reads")


def test_projections_of_two_logs_in_one_database_lie_apart(log: EventLog, server: Server) -> None:
    other_url = server.schema()
    with closing(open_log(other_url)) as other:
        fill(log, "a", 5)
        fill(other, "b", 7)
        for store in (log, other):
            with Projected(store, Chains()) as projected:
                projected.catch_up()
        for store in (log, other):
            with Projected(store, Chains()) as projected:
                assert chains(projected) == undisturbed(store), "the other's rows did not take its place"
    drop(other_url)


def test_a_projection_lies_in_a_schema_of_its_own(log: EventLog, server: Server) -> None:
    fill(log, "a", 3)
    with Projected(log, Chains()) as projected:
        projected.catch_up()
    with server.admin() as admin:
        found = admin.execute("SELECT schemaname FROM pg_tables WHERE tablename = 'cursor'").fetchall()
    assert (f"aether_{log.id.replace('-', '')}_chains",) in found
