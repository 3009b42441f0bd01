"""What a subscription promises."""

from __future__ import annotations

import threading
from itertools import takewhile

import pytest

from telemetry.errors import LogClosed
from telemetry.log import EventLog, Subscription
from tests.contract.stores import Store, fill, note, notes

WRITERS, APPENDS, EACH = 6, 60, 4


def drain(subscription: Subscription, to: int) -> list[int]:
    """Positions of the events up to and including position `to`."""
    seen: list[int] = []
    while subscription.position < to:
        batch = subscription.next(timeout_s=30)
        assert batch.position > 0, "no news for 30 s"
        seen += [event.position for event in batch.events]
    return seen


def test_nothing_is_missed_and_nothing_comes_twice_beside_many_writers(log: EventLog) -> None:
    fill(log, "early", 5)
    last = 5 + WRITERS * APPENDS * EACH
    seen: dict[int, list[int]] = {}

    def follow(after: int) -> None:
        seen[after] = drain(log.subscribe(after=after), last)

    def write(number: int) -> None:
        version = 0
        while version < APPENDS * EACH:
            drafts = notes(EACH, command=f"{version}")
            version = log.append(f"s{number}", drafts, expected_version=version, epoch=1)[-1].version

    threads = [threading.Thread(target=follow, args=(after,)) for after in (0, 3, 500)]
    threads += [threading.Thread(target=write, args=(number,)) for number in range(WRITERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == {after: list(range(after + 1, last + 1)) for after in (0, 3, 500)}


def test_a_subscriber_of_another_handle_sees_what_the_writer_commits(store: Store) -> None:
    log = store.open()
    reader = store.open(mode="read").subscribe()
    fill(log, "a", 3)
    assert drain(reader, 3) == [1, 2, 3]


def test_nothing_is_seen_before_it_is_committed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("telemetry.log.sqlite.connect.BUSY_S", 100.0)  # the writer waits for a test that comes late
    log = store.open()
    fill(log, "a", 1)
    subscription = log.subscribe(after=1)
    with store.locked():
        future = log.submit("a", [note(command="x")], expected_version=1, epoch=1)
        assert subscription.next(timeout_s=0.2).events == ()
        assert not future.done()
        head = log.head("a")
        assert head is not None
        assert head.version == 1
    assert [event.id for event in subscription.next(timeout_s=30).events] == ["a@2"]
    assert future.result()[0].version == 2


def test_the_position_moves_on_where_no_type_matches(log: EventLog) -> None:
    fill(log, "a", 3)
    subscription = log.subscribe(types=["learn.rewarded"])
    batch = subscription.next(0)
    assert (batch.events, batch.position, subscription.position) == ((), 3, 3)


def test_without_news_a_batch_is_empty_and_the_position_stays(log: EventLog) -> None:
    fill(log, "a", 2)
    subscription = log.subscribe(after=2)
    batch = subscription.next(0)
    assert (batch.events, batch.position, subscription.position) == ((), 2, 2)


def test_iterating_hands_over_every_event_until_it_is_closed(log: EventLog) -> None:
    fill(log, "a", 1_200)
    subscription = log.subscribe()
    batches = list(takewhile(lambda batch: batch.position < 1_200, subscription))
    assert all(batch.events for batch in batches)
    subscription.close()
    subscription.close()
    assert list(subscription) == []
    with pytest.raises(LogClosed):
        subscription.next()


@pytest.mark.parametrize("whole_log", [True, False])
def test_closing_wakes_who_waits(log: EventLog, whole_log: bool) -> None:
    subscription = log.subscribe()
    waiting = threading.Thread(target=lambda: list(subscription))
    waiting.start()
    (log if whole_log else subscription).close()
    waiting.join(timeout=30)
    assert not waiting.is_alive()


def test_a_subscription_goes_on_where_another_ended(log: EventLog) -> None:
    fill(log, "a", 700)
    first = log.subscribe().next(0)
    rest = drain(log.subscribe(after=first.position), 700)
    assert [event.position for event in first.events] + rest == list(range(1, 701))


def test_a_batch_ends_before_its_blobs_fill_the_memory(log: EventLog) -> None:
    for number in range(5):
        drafts = [note("x" * 6 * 1024 * 1024, command=f"{number}")]
        log.append("a", drafts, expected_version=number, epoch=1)
    subscription = log.subscribe()
    sizes = []
    while subscription.position < 5:
        sizes.append(len(subscription.next(0).events))
    assert sizes == [3, 2]
