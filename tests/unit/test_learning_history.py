"""Rounds follow from the log: what is open, what is over, and from where on moves count."""

from __future__ import annotations

import pytest

from runtime.entry import entered
from runtime.learning.history import history
from telemetry.events.learn import (
    ModelEntry,
    ModelEvaluated,
    ModelPromoted,
    ModelRejected,
    ModelRolledBack,
    ModelTrained,
)
from telemetry.log import EventLog

BASE = "greedy@4f6b00000000"


def trained(number: int, *, transitions: int = 6000, stopped: str | None = None) -> ModelTrained:
    return ModelTrained(
        model=f"maze@{number:012d}",
        from_position=1,
        to_position=2,
        data="0" * 64,
        config={"transitions": transitions, "stopped": stopped},
        code="1",
        metrics={"error_over_copy": 0.25},
    )


def evaluated(number: int, pairs: int) -> ModelEvaluated:
    return ModelEvaluated(model=f"maze@{number:012d}", incumbent=BASE, scenario="maze", pairs=pairs, figures={})


def promoted(number: int) -> ModelPromoted:
    return ModelPromoted(model=f"maze@{number:012d}", incumbent=BASE, figures={}, why="better")


def rejected(number: int) -> ModelRejected:
    return ModelRejected(model=f"maze@{number:012d}", incumbent=BASE, figures={}, why="no better")


def tell(log: EventLog, *entries: ModelEntry) -> None:
    for entry in entries:
        entered(log, entry, refs=(), run=str(log.position()))


def test_a_log_without_a_word_of_the_model_is_before_the_first_round(log: EventLog) -> None:
    told = history(log, "maze")
    assert (told.rounds, told.open, told.number, told.since) == ((), None, 1, 0)


def test_a_candidate_without_a_verdict_is_the_open_round(log: EventLog) -> None:
    tell(log, trained(1, transitions=5000), evaluated(1, 40))
    told = history(log, "maze")
    assert told.number == 1
    assert told.open is not None
    assert (told.open.model, told.open.transitions, told.open.pairs) == ("maze@000000000001", 5000, 40)
    assert told.open.incumbent == BASE


def test_each_verdict_ends_a_round_and_moves_count_from_there(log: EventLog) -> None:
    tell(log, trained(1), evaluated(1, 40), promoted(1), trained(2), evaluated(2, 40), evaluated(2, 80), rejected(2))
    told = history(log, "maze")
    assert [(one.number, one.verdict, one.pairs, one.why) for one in told.rounds] == [
        (1, "promoted", 40, "better"),
        (2, "rejected", 80, "no better"),
    ]
    assert told.open is None
    assert (told.number, told.since) == (3, 7)
    assert told.rounds[1].decided == "model/maze@7"


def test_a_candidate_that_a_later_training_replaced_is_no_round(log: EventLog) -> None:
    tell(log, trained(1), trained(2), promoted(2))
    assert [(one.number, one.model) for one in history(log, "maze").rounds] == [(1, "maze@000000000002")]


def test_a_promotion_by_hand_of_an_older_model_is_no_round(log: EventLog) -> None:
    tell(log, trained(1), rejected(1), trained(2), promoted(1))
    told = history(log, "maze")
    assert [one.number for one in told.rounds] == [1]
    assert told.open is not None
    assert told.open.model == "maze@000000000002"


def test_a_model_that_was_rolled_back_keeps_its_round_and_says_so(log: EventLog) -> None:
    tell(log, trained(1), promoted(1), ModelRolledBack(model="maze@000000000001", to=BASE, why="worse in the open"))
    (one,) = history(log, "maze").rounds
    assert (one.verdict, one.taken_back) == ("promoted", True)


def test_of_another_model_nothing_is_told(log: EventLog) -> None:
    tell(log, trained(1), promoted(1))
    assert history(log, "other").rounds == ()


@pytest.mark.parametrize("stopped", [None, "the beliefs collapsed"])
def test_a_round_says_what_ended_its_training(log: EventLog, stopped: str | None) -> None:
    tell(log, trained(1, stopped=stopped))
    told = history(log, "maze")
    assert told.open is not None
    assert told.open.stopped == stopped


def test_a_canary_is_promoted_to_a_share_until_a_later_word_says_all(log: EventLog) -> None:
    first = ModelPromoted(model="maze@000000000001", incumbent=BASE, figures={}, share=0.25)
    tell(log, trained(1), first)
    assert [(one.verdict, one.share) for one in history(log, "maze").rounds] == [("promoted", 0.25)]
    tell(log, promoted(1))
    assert [(one.verdict, one.share) for one in history(log, "maze").rounds] == [("promoted", 1.0)]
