"""What an append promises."""

from __future__ import annotations

import threading
from concurrent.futures import Future

import pytest

from telemetry.errors import (
    FencedWriter,
    IdempotencyConflict,
    InvalidEvent,
    LogClosed,
    LogUnwritable,
    PayloadTooLarge,
    WrongExpectedVersion,
)
from telemetry.events import Draft, Recorded, learn
from telemetry.events.envelope import GENESIS, chain_hash
from telemetry.log import EventLog
from tests.contract.stores import Store, fill, held, note, notes, why


def test_versions_and_positions_count_from_one_without_a_gap(log: EventLog) -> None:
    first = log.append("session/a", notes(2), expected_version=0, epoch=1)
    other = log.append("session/b", notes(1), expected_version=0, epoch=1)
    second = log.append("session/a", notes(2, command="d"), expected_version=2, epoch=1)
    assert [(e.id, e.position) for e in (*first, *other, *second)] == [
        ("session/a@1", 1),
        ("session/a@2", 2),
        ("session/b@1", 3),
        ("session/a@3", 4),
        ("session/a@4", 5),
    ]
    assert log.position() == 5


def test_what_is_returned_is_what_is_read_back(log: EventLog) -> None:
    draft = Draft(
        event=learn.Rewarded(reward=0.1, episode_return=-3.0),
        command="c",
        ordinal=7,
        cycle=3,
        cause="session/a@1",
        refs=("session/b@2", "session/ü@1"),
        mode="simulation",
        elapsed_ns=12_345,
        keys=("k1",),
    )
    (kept,) = log.append("session/a", [draft], expected_version=0, epoch=4)
    assert [kept] == list(log.read("session/a"))
    assert kept.event == draft.event
    assert (kept.ordinal, kept.cycle, kept.phase, kept.mode, kept.elapsed_ns) == (7, 3, "learn", "simulation", 12_345)
    assert (kept.refs, kept.keys) == ('["session/b@2","session/ü@1"]', '["k1"]')


def test_each_event_is_chained_to_the_one_before(log: EventLog) -> None:
    previous = GENESIS
    for event in fill(log, "session/a", 5, each=3):
        previous = chain_hash(previous, event.header(), event.digest)
        assert event.hash == previous


def test_positions_follow_the_order_in_which_streams_submitted(log: EventLog) -> None:
    with held(log):
        futures = [log.submit(f"s{n}", [note()], expected_version=0, epoch=1) for n in range(20)]
    positions = [future.result()[0].position for future in futures]
    assert positions == list(range(positions[0], positions[0] + 20))


def test_a_stream_may_submit_on_before_the_last_append_has_resolved(log: EventLog) -> None:
    with held(log):
        futures = [log.submit("a", [note(command=f"{n}")], expected_version=n, epoch=1) for n in range(50)]
    assert [future.result()[0].version for future in futures] == list(range(1, 51))


def test_one_streams_conflict_leaves_the_rest_of_its_group_alone(log: EventLog) -> None:
    fill(log, "b", 1)
    log.append("c", notes(1), expected_version=0, epoch=5)
    with held(log):
        good = log.submit("a", notes(3), expected_version=0, epoch=1)
        stale = log.submit("b", notes(3, command="x"), expected_version=7, epoch=1)
        twice = log.submit("a", notes(3, text="other"), expected_version=3, epoch=1)
        fenced = log.submit("c", notes(1, command="x"), expected_version=1, epoch=4)
        after = log.submit("b", notes(2, command="y"), expected_version=1, epoch=1)
        end = log.submit("a", notes(1, command="z"), expected_version=3, epoch=1)
    assert isinstance(stale.exception(), WrongExpectedVersion)
    assert isinstance(twice.exception(), IdempotencyConflict)
    assert isinstance(fenced.exception(), FencedWriter)
    kept = [*good.result(), *after.result(), *end.result()]
    assert [event.id for event in kept] == ["a@1", "a@2", "a@3", "b@2", "b@3", "a@4"]
    assert [event.position for event in kept] == list(range(kept[0].position, kept[0].position + 6))
    assert log.verify().ok


def test_an_append_that_fails_halfway_keeps_none_of_its_events(log: EventLog) -> None:
    fill(log, "a", 1)
    drafts = [note("new", command="x"), note("other content", command="c0")]
    with pytest.raises(IdempotencyConflict):
        log.append("a", drafts, expected_version=1, epoch=1)
    assert [event.version for event in log.read("a")] == [1]
    assert log.position() == 1


def test_the_wrong_expected_version_says_which_is_right(log: EventLog) -> None:
    fill(log, "a", 3)
    with pytest.raises(WrongExpectedVersion) as caught:
        log.append("a", [note(command="x")], expected_version=1, epoch=1)
    assert (caught.value.expected, caught.value.found) == (1, 3)


@pytest.mark.parametrize("expected_version", [0, 2, 4, 99])
def test_the_same_command_again_returns_its_first_result(log: EventLog, expected_version: int) -> None:
    log.append("a", notes(2, command="before"), expected_version=0, epoch=1)
    first = log.append("a", notes(2), expected_version=2, epoch=1)
    again = log.append("a", notes(2), expected_version=expected_version, epoch=1)
    assert again == first
    assert log.position() == 4


def test_the_same_command_twice_in_one_group_is_kept_once(log: EventLog) -> None:
    with held(log):
        first = log.submit("a", notes(2), expected_version=0, epoch=1)
        again = log.submit("a", notes(2), expected_version=0, epoch=1)
    assert again.result() == first.result()


@pytest.mark.parametrize("expected_version", [0, 2])
def test_the_same_command_with_another_content_is_refused(log: EventLog, expected_version: int) -> None:
    log.append("a", notes(2), expected_version=0, epoch=1)
    with pytest.raises(IdempotencyConflict):
        log.append("a", notes(2, text="other"), expected_version=expected_version, epoch=1)
    with pytest.raises(IdempotencyConflict):
        log.append("a", notes(3), expected_version=expected_version, epoch=1)
    assert log.position() == 2


def test_a_command_belongs_to_its_stream(log: EventLog) -> None:
    log.append("a", [note("one")], expected_version=0, epoch=1)
    log.append("b", [note("two")], expected_version=0, epoch=1)
    assert [why(event) for event in log.read_all()] == ["one", "two"]


def test_a_higher_epoch_takes_the_stream_over_and_fences_the_lower(log: EventLog) -> None:
    fill(log, "a", 2)
    log.append("a", [note(command="new owner")], expected_version=2, epoch=3)
    with pytest.raises(FencedWriter) as caught:
        log.append("a", [note(command="late")], expected_version=3, epoch=2)
    assert (caught.value.epoch, caught.value.current) == (2, 3)
    head = log.head("a")
    assert head is not None
    assert (head.version, head.epoch) == (3, 3)


def test_the_fence_stands_after_reopening(store: Store) -> None:
    log = store.open()
    log.append("a", [note()], expected_version=0, epoch=3)
    log.close()
    with pytest.raises(FencedWriter):
        store.open().append("a", [note(command="late")], expected_version=1, epoch=2)


def test_a_payload_above_the_limit_is_refused_before_anything_is_written(log: EventLog) -> None:
    big = note("x" * (16 * 1024 * 1024), ordinal=1)
    with pytest.raises(PayloadTooLarge):
        log.submit("a", [note("y" * 100_000), big], expected_version=0, epoch=1)
    assert log.position() == 0
    assert log.append("a", [note()], expected_version=0, epoch=1)[0].version == 1


@pytest.mark.parametrize(
    "drafts",
    [
        [],
        [note(), note("again")],
        [note(command="\ud800")],
        [note(command="nul\0")],
        [Draft(event=note().event, command="c", cause="\0")],
        [Draft(event=note().event, command="c", refs=("\ud800",))],
        [Draft(event=note().event, command="c", elapsed_ns=2**63)],
        [Draft(event=note().event, command="c", cycle=-1)],
        [Draft(event=note().event, command="c", cycle=True)],
        [Draft(event=note().event, command="c", cause=None)],  # type: ignore[arg-type]  # a caller without a type checker
    ],
)
def test_what_a_column_cannot_hold_is_refused_at_once(log: EventLog, drafts: list[Draft]) -> None:
    with pytest.raises(InvalidEvent):
        log.submit("a", drafts, expected_version=0, epoch=1)


@pytest.mark.parametrize("stream", ["", "a b", "a@1", "x" * 201, "\ud800", "a\0"])
def test_a_stream_name_that_could_not_stand_in_an_event_id_is_refused(log: EventLog, stream: str) -> None:
    with pytest.raises(InvalidEvent):
        log.submit(stream, [note()], expected_version=0, epoch=1)


def test_a_submitted_append_cannot_be_cancelled_and_so_never_lost(log: EventLog) -> None:
    with held(log):
        future = log.submit("a", [note()], expected_version=0, epoch=1)
        assert not future.cancel()
    assert future.result()[0].version == 1


def test_appends_from_many_threads_all_get_their_answer(log: EventLog) -> None:
    futures: dict[int, list[Future[tuple[Recorded, ...]]]] = {}

    def produce(number: int) -> None:
        futures[number] = [
            log.submit(f"s{number}", notes(3, command=f"{n}"), expected_version=3 * n, epoch=1) for n in range(40)
        ]

    threads = [threading.Thread(target=produce, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    kept = [event for each in futures.values() for future in each for event in future.result()]
    assert sorted(event.position for event in kept) == list(range(1, 8 * 40 * 3 + 1))
    assert log.verify().ok


def test_closing_commits_what_was_submitted(store: Store) -> None:
    log = store.open()
    with held(log):
        futures = [log.submit("a", [note(command=f"{n}")], expected_version=n, epoch=1) for n in range(10)]
        closing = threading.Thread(target=log.close)
        closing.start()
    closing.join()
    assert [future.result()[0].version for future in futures] == list(range(1, 11))
    reread = store.open(mode="read")
    assert len(list(reread.read("a"))) == 10


def test_a_closed_log_says_so(log: EventLog) -> None:
    fill(log, "a", 1)
    rest = log.read("a")
    log.close()
    log.close()
    for call in (
        lambda: log.append("a", [note()], expected_version=1, epoch=1),
        lambda: next(rest),
        lambda: log.head("a"),
        log.position,
        log.verify,
        lambda: log.subscribe().next(0),
    ):
        with pytest.raises(LogClosed):
            call()


def test_a_log_opened_for_reading_takes_no_event(store: Store) -> None:
    store.open().close()
    log = store.open(mode="read")
    with pytest.raises(LogUnwritable):
        log.append("a", [note()], expected_version=0, epoch=1)
    with pytest.raises(LogUnwritable):
        log.put_blob(b"content")


def test_how_long_appends_took_that_were_kept_is_counted_and_no_other(store: Store) -> None:
    log = store.open()
    fill(log, "session/a", 4, each=2)
    with pytest.raises(WrongExpectedVersion):
        log.append("session/a", notes(1, command="d"), expected_version=0, epoch=1)
    took = log.latencies()
    assert sum(took.counts) == 4
    assert 0 < took.least_s <= took.total_s / 4 <= took.most_s
    log.close()
    reader = store.open(mode="read")
    assert sum(reader.latencies().counts) == 0
