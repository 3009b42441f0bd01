"""What episodes came to is read from the log alone."""

from __future__ import annotations

from runtime.learning.judging.outcomes import TYPES, Episode, episodes, first_episode
from tests.local import Local

FRAMES = 25
FOUR = f"""
name = "plane"
environment = {{ id = "gymnasium:AetherLine-v0", max_frames = {FRAMES}, episodes = 4 }}
memory = {{ recall = 0 }}
"""


def found_in(local: Local, name: str, *, budget: int = FRAMES) -> list[Episode]:
    return list(episodes(local.events(name, *TYPES), budget=budget))


def test_every_episode_of_a_session_is_told_apart(local: Local) -> None:
    local.run("s", FOUR, seed=3)
    found = found_in(local, "s")
    ends = [r.id for r in local.events("s", "learn.rewarded") if getattr(r.event, "ends_episode", False)]
    assert [episode.end for episode in found] == ends
    assert len(found) == 4
    for episode in found:
        assert episode.outcome is not None
        assert episode.outcome.success == (episode.outcome.steps < FRAMES)
        assert episode.outcome.nats is not None


def test_what_takes_longer_than_the_budget_has_failed(local: Local) -> None:
    local.run("s", FOUR, seed=3)
    assert [e.outcome and e.outcome[:2] for e in found_in(local, "s", budget=2)] == [(False, 2)] * 4


def test_a_session_that_its_own_budget_cut_off_has_failed(local: Local) -> None:
    local.run("s", FOUR, seed=3, cycles=2)
    closed = local.events("s", "session.closed")[0].id
    found = first_episode(local.log, "session/s", budget=2)
    assert found is not None
    assert (found.end, found.outcome and found.outcome[:2]) == (closed, (False, 2))


def test_a_session_that_is_not_closed_has_no_outcome_yet(local: Local) -> None:
    local.run("s", FOUR, seed=3, cycles=9, stop=lambda: True)
    assert first_episode(local.log, "session/s", budget=9) is None


def test_a_session_that_failed_has_no_outcome_and_says_why(local: Local) -> None:
    failing = FOUR.replace("AetherLine", "AetherBad").replace("episodes = 4", 'options = { how = "raises" }')
    local.run("s", failing, seed=3)
    found = first_episode(local.log, "session/s", budget=FRAMES)
    assert found is not None
    assert found.outcome is None
    assert "raised" in (found.error or "")


def test_an_environment_that_never_says_success_is_known_for_it(local: Local) -> None:
    silent = FOUR.replace("gymnasium:AetherLine-v0", "null:")
    local.run("s", silent, seed=3)
    assert [episode.told for episode in found_in(local, "s")] == [False] * 4
