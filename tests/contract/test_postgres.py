"""What only a store with several writers can get wrong."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import psycopg
import pytest

from telemetry.errors import FencedWriter, IdempotencyConflict, LogError, WrongExpectedVersion
from telemetry.events import Draft, Recorded, session
from telemetry.log import EventLog
from telemetry.log.postgres import connect as postgres_connect
from telemetry.log.postgres import writer as postgres_writer
from telemetry.log.postgres.writer import LOCK, PostgresCommitter
from telemetry.log.stored import StoredLog
from tests.contract.stores import PostgresStore, fill, note, notes, why

WRITERS, APPENDS, EACH = 10, 25, 3


@pytest.fixture
def store(request: pytest.FixtureRequest) -> Iterator[PostgresStore]:
    place = PostgresStore(request)
    yield place
    place.close()


@pytest.fixture
def hosts(store: PostgresStore) -> tuple[EventLog, EventLog]:
    """Two writers of one log."""
    return store.open(), store.open()


def connection_of(log: EventLog) -> psycopg.Connection[tuple[int | str | bytes, ...]]:
    """The one that the log's writer commits on."""
    assert isinstance(log, StoredLog)
    writer = log._database.writer
    assert writer is not None
    assert isinstance(writer._committer, PostgresCommitter)
    return writer._committer._connection


def test_several_hosts_write_one_log_with_positions_in_the_order_of_their_commits(
    hosts: tuple[EventLog, EventLog],
) -> None:
    kept: list[Recorded] = []
    for version in range(4):
        for name, host in zip("ab", hosts, strict=True):
            kept += host.append(name, notes(2, command=f"{version}"), expected_version=2 * version, epoch=1)
    assert [event.position for event in kept] == list(range(1, 17))
    assert list(hosts[0].read_all()) == kept
    assert hosts[0].verify().ok
    assert hosts[0].id == hosts[1].id


def test_a_subscriber_misses_nothing_where_the_order_of_transactions_is_not_that_of_positions(
    hosts: tuple[EventLog, EventLog],
) -> None:
    early, late = hosts
    fill(early, "early", 1)
    fill(late, "late", 1)
    subscription = late.subscribe(after=2)
    connection = connection_of(early)
    connection.execute("SET idle_in_transaction_session_timeout = 0")  # however late this test comes to its append
    connection.execute("BEGIN")  # the host's own BEGIN then changes nothing
    (early_id,) = connection.execute("SELECT pg_current_xact_id()::text::bigint").fetchone() or (0,)
    (second,) = late.append("late", [note(command="x")], expected_version=1, epoch=1)
    assert [event.id for event in subscription.next(30).events] == ["late@2"]
    (third,) = early.append("early", [note(command="x")], expected_version=1, epoch=1)
    assert [event.id for event in subscription.next(30).events] == ["early@2"]
    rows = connection_of(late).execute("SELECT position, xmin::text::bigint FROM events ORDER BY position").fetchall()
    ids = {int(position): int(transaction) for position, transaction in rows}
    assert (second.position, third.position) == (3, 4)
    assert ids[4] == early_id
    assert ids[4] < ids[3], "the transaction that began first was given the later position"


def test_nothing_is_missed_beside_many_writers_some_of_which_hold_their_transaction_open(store: PostgresStore) -> None:
    with closing(store.open()) as first:
        fill(first, "early", 2)
    with psycopg.connect(store.url, autocommit=True) as admin:
        admin.execute(
            "CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS "
            "'BEGIN IF random() < 0.2 THEN PERFORM pg_sleep(0.01); END IF; RETURN NULL; END'"
        )
        admin.execute(
            "CREATE CONSTRAINT TRIGGER dawdles AFTER INSERT ON events DEFERRABLE INITIALLY DEFERRED "
            "FOR EACH ROW WHEN (NEW.ordinal = 0) EXECUTE FUNCTION dawdle()"
        )
    last = 2 + WRITERS * APPENDS * EACH
    seen: dict[int, list[int]] = {}
    done = threading.Event()

    def follow(after: int) -> None:
        subscription = store.open(mode="read").subscribe(after=after)
        found: list[int] = []
        while subscription.position < last:
            batch = subscription.next(timeout_s=60)
            assert batch.position > 0, "no news for 60 s"
            found += [event.position for event in batch.events]
        seen[after] = found

    def linger() -> None:
        """Holds an older transaction id than any that commits meanwhile, over and over."""
        with psycopg.connect(store.url) as connection:
            while not done.is_set():
                connection.execute("SELECT pg_current_xact_id()")
                done.wait(0.1)
                connection.rollback()

    def write(number: int) -> None:
        log, version = store.open(), 0
        while version < APPENDS * EACH:
            drafts = notes(EACH, command=f"{version}")
            version = log.append(f"s{number}", drafts, expected_version=version, epoch=1)[-1].version

    lingering = [threading.Thread(target=linger) for _ in range(2)]
    threads = [threading.Thread(target=follow, args=(after,)) for after in (0, 2, 300)]
    threads += [threading.Thread(target=write, args=(number,)) for number in range(WRITERS)]
    for thread in (*lingering, *threads):
        thread.start()
    for thread in threads:
        thread.join()
    done.set()
    for thread in lingering:
        thread.join()
    assert seen == {after: list(range(after + 1, last + 1)) for after in (0, 2, 300)}
    assert store.open(mode="read").verify().ok


def test_of_two_hosts_that_open_one_session_one_wins_and_the_other_is_told(hosts: tuple[EventLog, EventLog]) -> None:
    outcomes: dict[int, object] = {}
    ready = threading.Barrier(2)

    def begin(number: int) -> None:
        ready.wait()
        outcomes[number] = (
            hosts[number]
            .submit("session/a", [note(f"{number}", command=f"open by {number}")], expected_version=0, epoch=1)
            .exception()
        )

    threads = [threading.Thread(target=begin, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (loser,) = (number for number, outcome in outcomes.items() if outcome is not None)
    error = outcomes[loser]
    assert isinstance(error, WrongExpectedVersion)
    assert (error.expected, error.found) == (0, 1)
    assert [why(event) for event in hosts[loser].read("session/a")] == [f"{1 - loser}"]


def test_what_a_host_remembers_of_a_stream_gives_way_to_what_another_wrote(hosts: tuple[EventLog, EventLog]) -> None:
    here, there = hosts
    fill(here, "a", 2)
    there.append("a", [note(command="there")], expected_version=2, epoch=1)
    with pytest.raises(WrongExpectedVersion) as caught:
        here.append("a", [note(command="here")], expected_version=2, epoch=1)
    assert (caught.value.expected, caught.value.found) == (2, 3)
    assert here.append("a", [note(command="here")], expected_version=3, epoch=1)[0].version == 4


def test_a_host_that_was_taken_over_is_fenced_though_it_heard_nothing(hosts: tuple[EventLog, EventLog]) -> None:
    old, new = hosts
    fill(old, "a", 2)
    fill(old, "b", 1)
    new.append("a", [note(command="take over")], expected_version=2, epoch=2)
    stale = old.submit("a", [note(command="late")], expected_version=2, epoch=1)
    other = old.submit("b", [note(command="go on")], expected_version=1, epoch=1)
    error = stale.exception()
    assert isinstance(error, FencedWriter)
    assert (error.epoch, error.current) == (1, 2)
    assert other.result()[0].id == "b@2"


def test_a_command_is_kept_once_whichever_host_it_comes_to(hosts: tuple[EventLog, EventLog]) -> None:
    here, there = hosts
    fill(here, "a", 1)
    first = there.append("a", notes(2), expected_version=1, epoch=1)
    assert here.append("a", notes(2), expected_version=1, epoch=1) == first
    with pytest.raises(IdempotencyConflict):
        here.append("a", notes(2, text="other"), expected_version=1, epoch=1)
    assert here.position() == 3


def test_a_stream_that_another_host_began_as_a_fork_cannot_begin_at_one(hosts: tuple[EventLog, EventLog]) -> None:
    here, there = hosts
    parent = fill(here, "a", 3)[1]
    assert here.head("b") is None
    forked = session.Forked(parent="a", at_version=2, at_hash=parent.hash.hex())
    there.append("b", [Draft(event=forked, command="fork")], expected_version=2, epoch=1)
    with pytest.raises(WrongExpectedVersion) as caught:
        here.append("b", [note()], expected_version=0, epoch=1)
    assert caught.value.found == 3
    with pytest.raises(LogError, match="has events already"):
        here.append("b", [Draft(event=forked, command="again")], expected_version=2, epoch=1)


def test_a_notice_wakes_who_follows_from_another_process(
    hosts: tuple[EventLog, EventLog], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("telemetry.log.postgres.database.POLL_S", 600.0)  # so that only a notice can wake in time
    subscription = hosts[1].subscribe()
    seen: list[str] = []
    following = threading.Thread(target=lambda: seen.extend(event.id for event in subscription.next().events))
    following.start()
    listening = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN aether_%' AND pid <> pg_backend_pid()"
    with psycopg.connect(hosts[0].url, autocommit=True) as admin:
        while admin.execute(listening).fetchone() == (0,):
            threading.Event().wait(0.01)
    fill(hosts[0], "a", 1)
    following.join(60)
    assert seen == ["a@1"]


def test_many_who_begin_to_follow_at_once_share_one_connection_that_ends_with_the_log(store: PostgresStore) -> None:
    log, begin = store.open(), threading.Barrier(8)
    assert isinstance(log, StoredLog)
    database, before = log._database, set(threading.enumerate())

    def follow(_: int) -> None:
        begin.wait()
        database.followed()

    with ThreadPoolExecutor(begin.parties) as followers:
        list(followers.map(follow, range(begin.parties)))
    listeners = [one for one in set(threading.enumerate()) - before if one.name == "log-listener"]
    assert len(listeners) == 1
    log.close()
    assert not listeners[0].is_alive()


def test_a_lost_notice_costs_no_event(hosts: tuple[EventLog, EventLog]) -> None:
    subscription = hosts[1].subscribe()
    assert subscription.next(0.1).events == ()  # it listens by now
    with psycopg.connect(hosts[0].url, autocommit=True) as admin:
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN aether_%'")
    fill(hosts[0], "a", 1)
    assert [event.id for event in subscription.next(60).events] == ["a@1"]


def test_a_host_that_hangs_under_the_lock_is_ended_by_the_server_and_the_others_go_on(
    store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = store.open()
    fill(log, "a", 1)
    quick = postgres_connect.SESSION.replace(f"'{postgres_connect.IDLE_TIMEOUT_MS}'", "'200'")
    monkeypatch.setattr(postgres_connect, "SESSION", quick)
    hung = postgres_connect.Server(store.url).connect()
    hung.execute(f"BEGIN; {LOCK}")  # at once: between the two it would be idle already
    assert log.append("a", [note(command="x")], expected_version=1, epoch=1)[0].version == 2
    with pytest.raises(psycopg.errors.IdleInTransactionSessionTimeout):
        hung.execute("COMMIT")
    hung.close()


def test_a_host_that_hangs_while_it_sends_under_the_lock_is_ended_by_those_who_wait(
    store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient = f"{postgres_connect.LOCK_TIMEOUT_MS}"
    monkeypatch.setattr(postgres_connect, "SESSION", postgres_connect.SESSION.replace(f"'{patient}'", "'200'"))
    monkeypatch.setattr(postgres_writer, "FREE", postgres_writer.FREE.replace(f"'{patient} ms'", "'200 ms'"))
    log = store.open()
    fill(log, "a", 1)
    hung = postgres_connect.Server(store.url).connect()

    def hang() -> None:
        with hung.pipeline():
            hung.execute("BEGIN")
            hung.execute(LOCK).fetchone()
            assert log.append("a", [note(command="x")], expected_version=1, epoch=1)[0].version == 2

    with pytest.raises(psycopg.OperationalError):
        hang()
    hung.close()
