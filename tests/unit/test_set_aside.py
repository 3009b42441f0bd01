"""Which sessions judge a model: a choice that later sessions, seeds and the order of reading leave as it is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.jepa_worlds import spring
from world_model.errors import ShapeError
from world_model.experience import Experience

ROWS = 3
LIVES = st.lists(st.integers(0, 2**62), min_size=8, max_size=80, unique=True)


def lived(lives: list[int]) -> Experience:
    """One short session of each life, in this order on the log."""
    one = spring(rows=ROWS * len(lives), episodes=len(lives))
    session_N = np.repeat(np.array(lives, np.int64), ROWS)
    return replace(one, session_N=session_N, position_N=np.arange(1, len(session_N) + 1))


def held(experience: Experience) -> set[int]:
    _, aside = experience.set_aside(0.1)
    return set(aside.session_N.tolist())


@given(LIVES, st.integers(8, 80))
@settings(max_examples=80, deadline=None)
def test_a_session_that_judges_is_never_learnt_from_when_the_log_has_grown_nor_the_other_way_round(
    lives: list[int], before: int
) -> None:
    earlier, later = lives[:before], lives
    assert held(lived(earlier)) == held(lived(later)) & set(earlier)


@given(LIVES)
@settings(max_examples=40, deadline=None)
def test_about_a_tenth_of_the_sessions_judge_and_each_does_one_thing(lives: list[int]) -> None:
    learnt, aside = lived(lives).set_aside(0.1)
    found = set(aside.session_N.tolist())
    assert found.isdisjoint(learnt.session_N.tolist())
    assert len(learnt) + len(aside) == ROWS * len(lives)
    assert max(1, len(lives) // 20) <= len(found) <= len(lives) // 5


def test_the_order_in_which_sessions_are_read_changes_nothing() -> None:
    lives = [int(number) for number in np.random.default_rng(4).integers(2**62, size=50)]
    experience = lived(lives)
    order = np.random.default_rng(5).permutation(len(lives))
    rows: NDArray[np.int64] = (order[:, np.newaxis] * ROWS + np.arange(ROWS)).ravel()
    columns = ("seen_ND", "done_NA", "reward_N", "episode_N", "session_N", "position_N")
    shuffled = replace(experience, **{name: getattr(experience, name)[rows] for name in columns})
    assert held(shuffled) == held(experience)


def test_over_many_sessions_the_share_is_what_was_asked_for() -> None:
    lives = [int(number) for number in np.random.default_rng(6).integers(2**62, size=3000)]
    assert len(held(lived(lives))) == pytest.approx(300, abs=50)  # three deviations of a binomial


def test_one_session_alone_cannot_be_parted() -> None:
    with pytest.raises(ShapeError, match="at least two"):
        lived([7]).set_aside(0.1)
