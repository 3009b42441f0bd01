"""The world that only counts, and the names a scenario may give."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from loops.environments import EnvironmentSettings, make_environment
from loops.errors import EnvironmentNotFound, ScenarioInvalid
from loops.percept import Percept
from loops.ports import Environment
from loops.spaces import flatten
from telemetry.events.values import Move


def counted(env: Environment, percept: Percept) -> list[float]:
    return [float(value) for value in flatten(env.spaces, percept.observations, percept.goal)]


def test_the_null_environment_counts_its_steps_and_the_ones_among_its_actions() -> None:
    env = make_environment(EnvironmentSettings(id="null:"))
    assert counted(env, env.reset(seed=5)) == [0, 0]
    percepts = [env.act(Move(to=to)) for to in (1, 0, 1)]
    assert [counted(env, p) for p in percepts] == [[1, 1], [2, 1], [3, 2]]
    assert [(p.reward, p.ends_episode, p.success) for p in percepts] == [(0.0, False, None)] * 3
    assert env.reset(seed=6).digest == env.reset(seed=5).digest


def test_the_null_environment_ends_only_by_max_frames() -> None:
    env = make_environment(EnvironmentSettings(id="null:", frames=3, max_frames=7))
    env.reset(seed=0)
    percepts = [env.act(Move(to=1)) for _ in range(3)]
    assert [counted(env, p) for p in percepts] == [[3, 3], [6, 6], [7, 7]]
    assert [p.truncated for p in percepts] == [False, False, True]


def test_the_null_environment_refuses_names_options_and_other_actions() -> None:
    with pytest.raises(EnvironmentNotFound) as missing:
        make_environment(EnvironmentSettings(id="null:maze"))
    assert missing.value.nearest == ("null:",)
    with pytest.raises(ScenarioInvalid, match="remove size"):
        make_environment(EnvironmentSettings(id="null:", options={"size": 5}))
    env = make_environment(EnvironmentSettings(id="null:"))
    env.reset(seed=0)
    with pytest.raises(ValueError, match="takes 0 to 1, not 2"):
        env.act(Move(to=2))


@pytest.mark.parametrize(
    ("given", "nearest"),
    [
        ("CartPole-v1", ("gymnasium:CartPole-v1",)),
        ("gymnasum:CartPole-v1", ("gymnasium:CartPole-v1",)),
        ("Gymnasium:CartPole-v1", ("gymnasium:CartPole-v1",)),
        ("openspiel:chess", ()),
    ],
)
def test_an_unknown_prefix_is_answered_with_the_known_ones(given: str, nearest: tuple[str, ...]) -> None:
    with pytest.raises(EnvironmentNotFound, match="gymnasium:, null:") as missing:
        make_environment(EnvironmentSettings(id=given))
    assert missing.value.nearest == nearest


@pytest.mark.parametrize("wrong", [{"frames": 0}, {"max_frames": 0}, {"episodes": 0}, {"frame": 2}])
def test_settings_refuse_unknown_keys_and_counts_below_one(wrong: dict[str, int]) -> None:
    with pytest.raises(ValidationError):
        EnvironmentSettings.model_validate({"id": "null:", **wrong})
