"""What a follower was handed and what it handed on: a loss is found where there is one, and only there."""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from telemetry.events import Recorded
from telemetry.log import EventLog
from telemetry.otel.export.account import LOOKED_AGAIN, Account
from tests.contract.stores import fill


def test_what_was_acknowledged_or_set_aside_is_not_lost_whatever_its_order(log: EventLog) -> None:
    fill(log, "a", 10)
    account = Account(log, begins_at=0)
    account.handed([3, 1, 2])
    account.handed([3, 4, 5, 7])
    account.set_aside([6])
    assert account.moved(7) == 0
    assert (account.handed_on, account.aside, account.lost) == (6, 1, 0)


def test_what_the_cursor_passed_and_nobody_was_handed_is_lost(log: EventLog) -> None:
    fill(log, "a", 10)
    account = Account(log, begins_at=2)
    account.handed([3, 6])
    assert account.moved(8) == 4  # 4, 5, 7 and 8
    account.handed([9, 10])
    assert account.moved(10) == 0
    assert (account.handed_on, account.lost) == (4, 4)


def test_what_lies_before_the_cursor_is_another_accounts(log: EventLog) -> None:
    fill(log, "a", 10)
    account = Account(log, begins_at=6)
    account.handed([5, 6, 7, 8, 9, 10])
    assert account.moved(10) == 0
    assert account.handed_on == 4


def test_what_was_acknowledged_ahead_of_the_cursor_waits_for_it(log: EventLog) -> None:
    fill(log, "a", 10)
    account = Account(log, begins_at=0)
    account.handed(range(1, 11))
    assert account.moved(4) == 0
    assert account.moved(10) == 0
    assert account.handed_on == 10


def test_positions_whose_events_were_archived_and_removed_are_not_lost(log: EventLog) -> None:
    fill(log, "a", 10)
    fill(log, "b", 5)
    (tenth,) = log.read("a", after=9)
    log.prune("a", to=10, hash_=tenth.hash.hex(), archive="a.parquet", digest="0" * 64)
    account = Account(log, begins_at=0)
    account.handed(range(11, 17))  # and the fact that says so
    assert account.moved(log.position()) == 0
    assert account.handed_on == 6


class Late:
    """A log whose events become visible after later ones, which no log of ours does."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self.hidden: set[int] = set()
        self.looks = 0

    def read_all(self, *, after: int, to: int) -> Iterator[Recorded]:
        self.looks += 1
        return (event for event in self._log.read_all(after=after, to=to) if event.position not in self.hidden)


def test_an_event_that_becomes_visible_after_a_later_one_is_found_and_counted_once(log: EventLog) -> None:
    fill(log, "a", 20)
    late = Late(log)
    late.hidden = {3}
    account = Account(late, begins_at=0)
    account.handed([1, 2, 4])
    assert account.moved(4) == 0
    late.hidden = set()
    account.handed([5])
    assert account.moved(5) == 1
    account.handed([6])
    assert (account.moved(6), account.lost) == (0, 1)


def test_a_stretch_without_events_is_looked_up_so_often_and_no_more(log: EventLog) -> None:
    fill(log, "a", 30)
    late = Late(log)
    late.hidden = {1}
    account = Account(late, begins_at=0)
    for position in range(2, 30):
        account.handed([position])
        account.moved(position)
    assert late.looks == LOOKED_AGAIN + 1


@given(st.sets(st.integers(1, 40)), st.lists(st.integers(1, 40), min_size=1, max_size=5))
def test_lost_and_handed_on_add_up_to_what_was_passed(handed: set[int], moves: list[int]) -> None:
    account = Account(_Whole(40), begins_at=0)
    account.handed(handed)
    for to in sorted(moves):
        account.moved(to)
    assert account.lost == len({*range(1, max(moves) + 1)} - handed)


class _Whole:
    """Positions 1 to `head`, each with an event."""

    def __init__(self, head: int) -> None:
        self._head = head

    def read_all(self, *, after: int, to: int) -> Iterator[object]:
        return iter(range(after + 1, min(self._head, to) + 1))
