"""One batch until every item is taken or named: halves, references, and who is believed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.errors import ExportFailed
from telemetry.otel.export.answers import Again, Answer, Barred, Faltered, Refused, Taken, TooLarge
from telemetry.otel.export.courier import PERSISTENCE, REFUSES_ALL, ROUNDS, Courier
from telemetry.otel.export.patience import Patience, Stopped

Ask = Callable[[Sequence[int]], Answer]


class World:
    """A collector's side, and a clock that passes when somebody waits for it."""

    def __init__(self, answer: Ask, *, batch: int = 1000, total_s: float | None = None, largest: int = 10**9) -> None:
        self.answer = answer
        self.asked: list[tuple[int, ...]] = []
        self.waited: list[float] = []
        self.troubles: list[str] = []
        self.courier = Courier[int](
            self._ask,
            name="there",
            weight=lambda _: 1,
            by_reference=lambda item: -item if item > 0 else None,
            patience=Patience(self._wait, total_s=total_s),
            batch_bytes=batch,
            troubled=self.troubles.append,
        )

    def _ask(self, items: Sequence[int]) -> Answer:
        self.asked.append(tuple(items))
        return self.answer(items)

    def _wait(self, seconds: float) -> bool:
        self.waited.append(seconds)
        return len(self.waited) > 100

    def deliver(self, items: Sequence[int]) -> list[int]:
        return [item for item, _ in self.courier.deliver(items)]


def whole(poison: frozenset[int], taken: list[int]) -> Ask:
    """One poisoned item and all of the request is refused."""

    def answer(items: Sequence[int]) -> Answer:
        if poison & set(items):
            return Refused("400 poison")
        taken.extend(items)
        return Taken()

    return answer


def partly(poison: frozenset[int], taken: list[int]) -> Ask:
    """The poisoned items are rejected and the others taken."""

    def answer(items: Sequence[int]) -> Answer:
        taken.extend(set(items) - poison)
        rejected = len(set(items) & poison)
        return Refused("rejected", rejected) if rejected else Taken()

    return answer


@pytest.mark.parametrize("kind", [whole, partly])
@given(poison=st.frozensets(st.integers(1, 60), max_size=30))
def test_exactly_what_is_poisoned_is_named_and_all_else_is_taken(
    kind: Callable[[frozenset[int], list[int]], Ask], poison: frozenset[int]
) -> None:
    taken: list[int] = []
    world = World(kind(poison, taken), batch=25)
    assert world.deliver(range(100, 110)) == []  # it has taken others before
    assert sorted(world.deliver(range(1, 61))) == sorted(poison)
    assert set(taken) == {*range(100, 110), *range(1, 61)} - poison
    assert world.courier.counts.taken == len(set(taken))
    assert world.courier.counts.refused == len(poison)


def test_of_a_partial_success_no_more_is_repeated_than_there_was() -> None:
    taken: list[int] = []
    world = World(partly(frozenset({300}), taken))
    assert world.deliver(range(512)) == [300]
    assert len(taken) - 511 <= 512
    assert world.courier.counts.repeats == len([item for asked in world.asked[1:] for item in asked])


def test_batches_are_bounded_and_every_item_is_in_one() -> None:
    taken: list[int] = []
    world = World(whole(frozenset(), taken), batch=7)
    world.deliver(range(100))
    assert taken == list(range(100))
    assert {len(asked) for asked in world.asked} == {7, 100 % 7}


def test_what_passes_is_tried_again_later_each_time_and_not_before_it_is_asked_for() -> None:
    answers: list[Answer] = [Again("503"), Again("503"), Again("429", after_s=17.0), Taken()]
    world = World(lambda _: answers.pop(0))
    assert world.deliver([1, 2]) == []
    assert len(world.asked) == 4
    first, second, third = world.waited
    assert 0 < first <= 0.25
    assert 0.25 <= second <= 0.5
    assert third == 17.0
    assert world.troubles == ["503", "503", "429", ""]


def test_an_error_of_the_collectors_own_is_borne_for_a_while_and_then_may_lie_in_what_was_sent() -> None:
    world = World(lambda items: Faltered("500") if 3 in items else Taken())
    assert world.deliver([9]) == []
    assert world.deliver([1, 2, 3, 4]) == [3]
    assert world.asked.count((1, 2, 3, 4)) == PERSISTENCE


def test_what_is_too_large_goes_in_halves_and_alone_by_reference() -> None:
    taken: list[int] = []

    def answer(items: Sequence[int]) -> Answer:
        if len(items) > 2 or 5 in items:
            return TooLarge("413")
        taken.extend(items)
        return Taken()

    world = World(answer)
    assert world.deliver(range(1, 9)) == []
    assert sorted(taken) == [-5, 1, 2, 3, 4, 6, 7, 8]
    assert world.courier.counts.by_reference == 1


def test_what_is_too_large_even_by_reference_is_named() -> None:
    world = World(lambda items: TooLarge("413") if 5 in items or -5 in items else Taken())
    assert world.deliver([9]) == []
    assert world.deliver([4, 5, 6]) == [-5]


def test_a_collector_that_never_took_anything_is_not_believed_that_it_is_about_the_items() -> None:
    world = World(lambda _: Refused("400 what is this"))
    with pytest.raises(Stopped):
        world.deliver(range(1000))
    assert set(world.troubles) == {"400 what is this"}
    rounds = world.asked.count(tuple(range(1000)))
    assert len(world.asked) / rounds < 4 * REFUSES_ALL  # it does not go through all of them each time


def test_a_batch_that_is_poisoned_throughout_is_set_aside_once_it_has_been_begun_anew_often_enough() -> None:
    world = World(lambda items: Refused("400") if min(items) < 50 else Taken())
    assert world.deliver([99]) == []
    assert world.deliver(range(50)) == list(range(50))
    assert world.asked.count(tuple(range(50))) == ROUNDS + 1


def test_a_barred_door_is_knocked_at_seldom_and_reported_at_once_where_patience_ends() -> None:
    world = World(lambda _: Barred("401 who are you"))
    with pytest.raises(Stopped):
        world.deliver([1])
    assert min(world.waited) >= 15
    once = World(lambda _: Barred("401 who are you"), total_s=60)
    with pytest.raises(ExportFailed, match="401 who are you"):
        once.deliver([1])
    assert once.waited == []


def test_patience_that_is_at_an_end_says_why() -> None:
    world = World(lambda _: Again("connection refused"), total_s=0)
    with pytest.raises(ExportFailed, match="connection refused"):
        world.deliver([1])
