"""Figures on held-out episodes are what their formulas say, and tell a good model from a bad one."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import rankdata, spearmanr

from tests.jepa_worlds import CONFIG, spring
from tests.lived import line, lived
from world_model.errors import ShapeError
from world_model.experience import spaced
from world_model.frozen import FrozenLinear, learn_linear
from world_model.held_out import compared, figures, foresee, longest, one_step, rank_correlation
from world_model.jepa.fit import fit
from world_model.jepa.model import Jepa
from world_model.surprise import surprise

LEARNT, HELD_OUT = spring(rows=1500), spring(rows=300, seed=5)


@pytest.fixture(scope="module")
def linear() -> FrozenLinear:
    return learn_linear(LEARNT)


@pytest.fixture(scope="module")
def jepa() -> Jepa:
    return fit(LEARNT, CONFIG, steps=60, seed=0).model


def rms(values: NDArray[np.floating]) -> float:
    return float(np.sqrt(np.square(values).mean()))


def test_the_error_and_its_shares_are_those_of_the_goal_after_the_last_decision(
    jepa: Jepa, linear: FrozenLinear
) -> None:
    found = figures(jepa, linear, HELD_OUT)
    starts = HELD_OUT.starts(10)
    real = HELD_OUT.seen_ND[starts + 10, -1]
    copied = rms(HELD_OUT.seen_ND[starts, -1] - real)
    ends = []
    for start in starts:
        seen = HELD_OUT.seen_ND[start].astype(np.float64)
        for row in range(start, start + 10):
            seen = linear.linear.predict(seen, HELD_OUT.done_NA[row]).mean
        ends.append(seen[-1])
    by_linear = rms(np.array(ends) - real)
    assert found["horizon"] == 10
    assert found["error_over_copy"] == pytest.approx(found["error"] / copied, rel=1e-4)
    assert found["error_over_linear"] == pytest.approx(found["error"] / by_linear, rel=1e-3)


def test_a_model_against_itself_is_even_and_surprise_is_that_of_a_session(linear: FrozenLinear) -> None:
    found = figures(linear, linear, HELD_OUT)
    assert found["error_over_linear"] == 1
    nats = []
    for row in np.flatnonzero(HELD_OUT.steps_N):
        expected = linear.linear.predict(HELD_OUT.seen_ND[row], HELD_OUT.done_NA[row])
        nats.append(surprise(expected.mean, expected.variance, HELD_OUT.seen_ND[row + 1]).nats)
    assert found["nats"] == found["nats_linear"] == pytest.approx(np.mean(nats), rel=1e-6)


def test_disagreement_is_ranked_against_the_error_of_the_same_sequences(jepa: Jepa, linear: FrozenLinear) -> None:
    found = figures(jepa, linear, HELD_OUT)
    paths = foresee(jepa, HELD_OUT, HELD_OUT.starts(10), steps=10)
    off = np.abs(paths.foreseen_PTD[:, -1, -1] - paths.real_PTD[:, -1, -1])
    expected = spearmanr(paths.disagreement_PT[:, -1], off).statistic
    assert found["disagreement_spearman"] == pytest.approx(expected, abs=1e-6)


def test_a_path_begins_where_it_was_and_follows_what_was_done(jepa: Jepa) -> None:
    starts = spaced(HELD_OUT.starts(4), 5)
    paths = foresee(jepa, HELD_OUT, starts, steps=4)
    assert len(starts) == 5
    for place, start in enumerate(starts):
        np.testing.assert_array_equal(paths.real_PTD[place], HELD_OUT.seen_ND[start + 1 : start + 5])
        np.testing.assert_array_equal(paths.real_PTG[place], HELD_OUT.seen_ND[start + 1 : start + 5, -1:])
    np.testing.assert_allclose(paths.foreseen_PTG, paths.foreseen_PTD[..., -1:], rtol=1e-4, atol=1e-5)


def test_one_decision_ahead_the_expected_error_is_the_root_of_the_variance(linear: FrozenLinear) -> None:
    found = one_step(linear, HELD_OUT, most=7)
    rows = spaced(np.flatnonzero(HELD_OUT.steps_N), 7)
    for place, row in enumerate(rows):
        expected = linear.linear.predict(HELD_OUT.seen_ND[row], HELD_OUT.done_NA[row])
        assert found.predicted_M[place] == pytest.approx(np.sqrt(expected.variance[-1]))
        assert found.real_M[place] == pytest.approx(abs(HELD_OUT.seen_ND[row + 1, -1] - expected.mean[-1]), rel=1e-5)


def test_without_a_goal_columns_that_move_are_compared_each_in_its_deviations() -> None:
    walk = np.hstack([line((0, 0), (4, 400), steps=40), np.full((41, 1), 3.0)])
    columns, scale_C = compared(lived([walk]))
    assert columns.tolist() == [0, 1]
    np.testing.assert_allclose(scale_C, walk[:, :2].std(axis=0), rtol=1e-5)


def test_short_episodes_are_judged_as_far_as_they_go() -> None:
    walks = [line((0, 0), (1, 1), steps=4) for _ in range(3)]
    assert longest(lived(walks), 10) == 4
    assert longest(lived([line((0, 0), (1, 1), steps=30)]), 10) == 10


def test_where_nothing_ever_changes_there_is_nothing_to_foresee() -> None:
    with pytest.raises(ShapeError, match="nothing that was observed ever changes"):
        compared(lived([np.ones((30, 2))] * 3))


def test_the_rank_correlation_is_that_of_the_mean_ranks_and_none_with_a_constant() -> None:
    rng = np.random.default_rng(1)
    one = rng.integers(10, size=200).astype(float)
    other = one + rng.normal(size=200) * 4
    expected = np.corrcoef(rankdata(one), rankdata(other))[0, 1]
    assert rank_correlation(one, other) == pytest.approx(expected, abs=1e-12)
    assert rank_correlation(one, np.ones(200)) == 0
