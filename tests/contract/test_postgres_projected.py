"""Rows that follow from a PostgreSQL log, shared by its hosts."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import closing

import psycopg
import pytest

from telemetry.events import Recorded
from telemetry.log import open_log
from telemetry.log.place import Rows
from telemetry.log.project import Projected
from tests.contract.stores import PostgresStore, fill
from tests.postgres import PASSWORD, Server
from tests.projections import Chains, chains, undisturbed


@pytest.fixture
def store(request: pytest.FixtureRequest) -> Iterator[PostgresStore]:
    place = PostgresStore(request)
    yield place
    place.close()


class Failing(Chains):
    """Fails in the middle of a batch, once its first rows are changed."""

    def apply(self, rows: Rows, events: Sequence[Recorded]) -> None:
        super().apply(rows, events[: len(events) // 2])
        raise RuntimeError("the projection is wrong")


def test_rows_follow_the_log_and_go_on_where_another_host_left_them(store: PostgresStore) -> None:
    log = store.open()
    fill(log, "a", 600)
    with Projected(log, Chains()) as projected:
        assert projected.catch_up() == 600
        assert chains(projected) == undisturbed(log)
    fill(log, "b", 30)
    again = Chains()
    with Projected(store.open(mode="read"), again) as projected:
        assert projected.catch_up() == 630
        assert again.batches == [30], "what was applied is not applied again"
        assert chains(projected) == undisturbed(log)


def test_a_batch_that_fails_leaves_rows_and_cursor_as_they_were(store: PostgresStore) -> None:
    log = store.open()
    fill(log, "a", 100)
    with Projected(log, Chains()) as projected:
        projected.catch_up()
        before = chains(projected)
    fill(log, "b", 20)
    with Projected(log, Failing()) as projected:
        with pytest.raises(RuntimeError):
            projected.catch_up()
        with projected.rows() as (position, _):
            assert position == 100
        assert chains(projected) == before


def test_hosts_that_move_the_rows_on_at_once_apply_each_event_once(store: PostgresStore) -> None:
    log = store.open()
    fill(log, "a", 13, each=100)
    found: list[tuple[int, list[int]]] = []

    def follow() -> None:
        projection = Chains()
        with Projected(store.open(mode="read"), projection) as projected:
            found.append((projected.catch_up(), projection.batches))

    threads = [threading.Thread(target=follow) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [position for position, _ in found] == [1_300] * 4
    assert sum(sum(batches) for _, batches in found) == 1_300
    with Projected(log, Chains()) as projected:
        assert chains(projected) == undisturbed(log)


def test_rows_of_a_history_that_was_cut_are_made_again(store: PostgresStore) -> None:
    log = store.open()
    fill(log, "a", 50)
    with Projected(log, Chains()) as projected:
        projected.catch_up()
    store.delete("version > 40")
    with Projected(log, Chains()) as projected:
        assert projected.catch_up() == 40
        assert chains(projected) == undisturbed(log)


def test_who_may_only_read_has_the_rows_in_memory(server: Server) -> None:
    place = server.database()
    with closing(open_log(place)) as log:
        fill(log, "a", 20)
    with server.admin(place) as admin:
        admin.execute(f"CREATE ROLE visitor LOGIN PASSWORD '{PASSWORD}'")
        admin.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO visitor")
    with (
        closing(open_log(place.replace("aether:", "visitor:"), mode="read")) as reading,
        Projected(reading, Chains()) as projected,
    ):
        assert projected.catch_up() == 20
        assert chains(projected) == undisturbed(reading)
    with server.admin(place) as admin:
        found = admin.execute("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'aether\\_%'").fetchone()
        assert found == (0,)


def test_a_projection_lies_in_a_schema_of_its_own(store: PostgresStore) -> None:
    log = store.open()
    fill(log, "a", 3)
    with Projected(log, Chains()) as projected:
        projected.catch_up()
    with psycopg.connect(store.url) as admin:
        found = admin.execute("SELECT schemaname FROM pg_tables WHERE tablename = 'cursor'").fetchall()
    assert (f"aether_{log.id.replace('-', '')}_chains",) in found
