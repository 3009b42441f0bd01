"""What a projection promises, wherever its rows lie."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest

from runtime.ledger import ledger
from runtime.sessions import PREFIX, SessionRow, row_of
from telemetry.events import Recorded
from telemetry.log import EventLog
from telemetry.log.projection.place import Rows
from telemetry.log.projection.project import Projected, place_of
from tests.contract.stores import Store, fill
from tests.local import Local
from tests.projections import Chains, chains, undisturbed

NULL = """
name = "null"
environment = { id = "null:" }
memory = { recall = 0 }
"""


class Failing(Chains):
    """Fails in the middle of a batch, once its first rows are changed."""

    def apply(self, rows: Rows, events: Sequence[Recorded]) -> None:
        super().apply(rows, events[: len(events) // 2])
        raise RuntimeError("the projection is wrong")


def test_rows_follow_the_log_and_go_on_where_another_handle_left_them(log: EventLog) -> None:
    fill(log, "a", 700)
    with Projected(log, Chains()) as projected:
        assert projected.catch_up() == 700
        assert chains(projected) == undisturbed(log)
    fill(log, "b", 30)
    again = Chains()
    with Projected(log, again) as projected:
        assert projected.catch_up() == 730
        assert again.batches == [30], "what was applied is not applied again"
        assert chains(projected) == undisturbed(log)
        assert projected.catch_up() == 730


def test_batches_are_bounded_and_their_borders_do_not_matter(log: EventLog) -> None:
    fill(log, "a", 1_300)
    projection = Chains()
    with Projected(log, projection) as projected:
        projected.catch_up()
        assert max(projection.batches) <= 512
        assert chains(projected) == undisturbed(log)


def test_the_cursor_moves_over_what_a_projection_does_not_follow(log: EventLog) -> None:
    fill(log, "a", 40)
    projection = Chains(types=("session.closed",))
    with Projected(log, projection) as projected:
        assert projected.catch_up() == 40
        assert chains(projected) == []


def test_a_batch_that_fails_leaves_rows_and_cursor_as_they_were(log: EventLog) -> None:
    fill(log, "a", 600)
    with Projected(log, Chains()) as projected:
        projected.catch_up()
        before = chains(projected)
    fill(log, "b", 20)
    with Projected(log, Failing()) as projected, pytest.raises(RuntimeError):
        projected.catch_up()
    with Projected(log, Chains()) as projected:
        with projected.rows() as (position, _):
            assert position == 600
        assert chains(projected) == before
        projected.catch_up()
        assert chains(projected) == undisturbed(log)


def test_another_version_of_the_projection_makes_its_rows_again(log: EventLog) -> None:
    fill(log, "a", 50)
    with Projected(log, Chains(version=1)) as projected:
        projected.catch_up()
    newer = Chains(version=2)
    with Projected(log, newer) as projected:
        projected.catch_up()
        assert newer.batches == [50]


def test_rebuilding_from_the_first_event_gives_the_same_rows(log: EventLog) -> None:
    with Projected(log, Chains()) as projected:
        for number in range(5):
            fill(log, f"s{number}", 60 + number)
            projected.catch_up()
        before = chains(projected)
    place_of(log, Chains.name).discard()
    with Projected(log, Chains()) as projected:
        projected.catch_up()
        assert chains(projected) == before == undisturbed(log)


def test_several_handles_move_the_same_rows_beside_a_live_writer(store: Store) -> None:
    log = store.open()
    done = threading.Event()

    def keep() -> None:
        with Projected(store.open(mode="read"), Chains()) as projected:
            while not done.is_set():
                projected.catch_up()

    keepers = [threading.Thread(target=keep) for _ in range(3)]
    for keeper in keepers:
        keeper.start()
    for number in range(30):
        fill(log, f"s{number}", 10, each=4)
    done.set()
    for keeper in keepers:
        keeper.join()
    with Projected(log, Chains()) as projected:
        projected.catch_up()
        assert chains(projected) == undisturbed(log)


def test_handles_that_move_the_rows_on_at_once_apply_each_event_once(store: Store) -> None:
    log = store.open()
    fill(log, "a", 13, each=100)
    found: list[tuple[int, list[int]]] = []
    ready = threading.Barrier(4)

    def keep() -> None:
        projection = Chains()
        with Projected(store.open(mode="read"), projection) as projected:
            ready.wait()  # so that all come to a place where nothing is yet
            found.append((projected.catch_up(), projection.batches))

    keepers = [threading.Thread(target=keep) for _ in range(4)]
    for keeper in keepers:
        keeper.start()
    for keeper in keepers:
        keeper.join()
    assert [position for position, _ in found] == [1_300] * 4
    assert sum(sum(batches) for _, batches in found) == 1_300
    with Projected(log, Chains()) as projected:
        assert chains(projected) == undisturbed(log)


def test_rows_of_events_that_were_cut_off_are_made_again(store: Store) -> None:
    log = store.open()
    fill(log, "a", 50)
    with Projected(log, Chains()) as projected:
        projected.catch_up()
    log.close()
    store.delete("version > 40")
    log = store.open()
    with Projected(log, Chains()) as projected:
        assert projected.catch_up() == 40
        assert chains(projected) == undisturbed(log)


def test_the_ledger_has_the_row_of_every_session(log: EventLog) -> None:
    local = Local(log)
    local.run("closed", NULL, cycles=2)
    local.run("at-rest", NULL, cycles=9, stop=iter([False, False, True]).__next__)
    local.close()
    with ledger(log) as found:
        page, _ = found.page()
        newest, following = found.page(newest=True, limit=1)
        assert found.to_resume() == ["at-rest"]
    told = [row_of(log, head) for head in log.heads(prefix=PREFIX)]
    assert [SessionRow.model_validate(row.model_dump(include=set(SessionRow.model_fields))) for row in page] == told
    assert (newest[0].session, following) == ("at-rest", "at-rest")
