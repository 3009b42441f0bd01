"""What is drawn for each step: bootstraps, sequences, and how the parts of an observation are read."""

import dataclasses

import numpy as np

from tests.jepa_worlds import CONFIG, room, spring
from world_model.jepa.config import JepaConfig
from world_model.jepa.lesson import Lesson, bootstrap, in_units
from world_model.jepa.senses import senses_of

LONG = JepaConfig(**{**CONFIG.model_dump(), "history": 3, "horizon": 4, "batch": 200})


def test_a_head_weighs_all_rows_of_a_session_alike_and_heads_differ() -> None:
    lesson = Lesson.of(spring(rows=600), CONFIG, seed=0)
    for session in np.unique(lesson.learnt.session_N):
        rows = lesson.draws_NE[lesson.learnt.session_N == session]
        assert (rows == rows[0]).all()
    assert len({tuple(column) for column in lesson.draws_NE.T}) == CONFIG.heads
    assert not set(lesson.learnt.session_N) & set(lesson.held_out.session_N)


def test_bootstraps_draw_each_session_once_in_the_mean_and_leave_a_third_out() -> None:
    draws = bootstrap(20_000, 3, seed=0)
    assert np.allclose(draws.mean(axis=0), 1, atol=0.03)
    assert np.allclose((draws == 0).mean(axis=0), np.exp(-1), atol=0.02)
    assert (bootstrap(1, 5, seed=0).sum(axis=0) > 0).all()


def test_sequences_stay_within_their_episode_and_hold_it_in_order() -> None:
    lesson = Lesson.of(spring(rows=400, episodes=40), LONG, seed=0)
    batch = lesson.batch(5)
    number_of = {tuple(row): i for i, row in enumerate(lesson.learnt.seen_ND)}
    for seen_WD, present_W in zip(batch.seen_BWD.numpy(), batch.present_BW.numpy(), strict=True):
        rows = np.array([number_of[tuple(row)] for row in seen_WD[present_W]])
        assert (np.diff(rows) == 1).all()
        assert len(set(lesson.learnt.episode_N[rows])) == 1
    assert batch.present_BW[:, LONG.history - 1 : LONG.history + 1].all()
    assert not batch.present_BW.all()


def test_a_step_draws_the_same_whenever_it_is_asked_for() -> None:
    lesson = Lesson.of(spring(rows=600), CONFIG, seed=0)
    first = lesson.batch(7).seen_BWD
    lesson.batch(8)
    assert (lesson.batch(7).seen_BWD == first).all()
    assert not (lesson.batch(8).seen_BWD == first).all()


def test_with_few_sessions_episodes_are_drawn_instead_then_stretches() -> None:
    experience = spring(rows=600)
    one_session = dataclasses.replace(experience, session_N=np.zeros(600, np.int64))
    assert len(np.unique(in_units(one_session).session_N)) == 20
    one_episode = dataclasses.replace(one_session, episode_N=np.zeros(600, np.int64))
    stretches = in_units(one_episode)
    assert len(np.unique(stretches.session_N)) == 16
    assert stretches.transitions == 600 - 16
    assert in_units(experience) is experience


def test_parts_are_told_apart_by_shape_type_and_what_was_lived() -> None:
    assert [sense.kind for sense in senses_of(spring(rows=300))] == ["vector", "vector"]
    (grid,) = senses_of(room(rows=300, picture=False))
    assert (grid.kind, grid.shape, grid.codes) == ("grid", (5, 5, 1), (0.0, 8.0))
    (image,) = senses_of(room(rows=300, picture=True))
    assert (image.kind, image.shape) == ("image", (5, 5, 1))


def test_a_batch_names_the_events_that_are_not_finite() -> None:
    experience = spring(rows=600)
    lesson = Lesson.of(experience, CONFIG, seed=0)
    first, last = lesson.positions(0)
    assert 100 <= first < last < 700
    broken = dataclasses.replace(lesson.learnt, seen_ND=lesson.learnt.seen_ND.copy())
    row = int(np.flatnonzero(broken.position_N == first)[0])
    broken.seen_ND[row, 0] = np.nan
    assert dataclasses.replace(lesson, learnt=broken).positions(0) == (first, first)
