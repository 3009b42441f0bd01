"""Gymnasium environments keep the `Environment` port: seeded, checked on every step, honest about failures."""

from __future__ import annotations

import itertools
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from loops.environments import EnvironmentSettings, make_environment
from loops.environments.gymnasium import GymnasiumEnvironment
from loops.errors import EnvironmentFailed, EnvironmentNotFound, ScenarioInvalid
from loops.percept import Percept
from loops.spaces import ArrayPart, BoxActions, DiscreteActions, TextPart, flatten
from telemetry.events.values import Action, Array, ArrayObservation, Move, Text, Wait

IDS = [
    "PointMaze_UMaze-v3",
    "MiniGrid-LavaGapS5-v0",
    "CartPole-v1",
    "FrozenLake-v1",
    "Pendulum-v1",
]
MAZE = "PointMaze_UMaze-v3"
LAVA = "MiniGrid-LavaGapS5-v0"
LEFT, RIGHT, FORWARD = 0, 1, 2

Info = dict[str, Any]


def push(*values: float) -> Move:
    return Move(to=Array.of(np.array(values, dtype=np.float32)))


def some_actions(env: GymnasiumEnvironment, count: int) -> list[Action]:
    """Seeded random actions of the environment's own space."""
    random = np.random.default_rng(7)
    space = env.spaces.moves
    if isinstance(space, DiscreteActions):
        return [Move(to=int(index)) for index in random.integers(space.first, space.first + space.n, count)]
    low, high = space.low.numpy(), space.high.numpy()
    return [Move(to=Array.of(random.uniform(low, high).astype(low.dtype))) for _ in range(count)]


def play(env: GymnasiumEnvironment, actions: list[Action], *, seed: int) -> list[Percept]:
    """The percepts of one episode, until it ends or the actions do."""
    percepts = [env.reset(seed=seed)]
    for action in actions:
        percepts.append(env.act(action))
        if percepts[-1].ends_episode:
            break
    return percepts


class Scripted(gymnasium.Env[Any, Any]):
    """Shows its script's entries in turn; an exception among them is raised."""

    observation_space: spaces.Space[Any] = spaces.Box(-np.inf, np.inf, (2,), np.float64)
    action_space: spaces.Space[Any] = spaces.Discrete(2)
    fine: ClassVar[Any] = np.zeros(2)
    script: ClassVar[list[Any]] = []
    rewards: ClassVar[list[Any]] = []

    def reset(self, *, seed: int | None = None, options: Info | None = None) -> tuple[Any, Info]:
        super().reset(seed=seed)
        self.shown = itertools.chain(self.script, itertools.repeat(self.fine))
        self.paid = itertools.chain(self.rewards, itertools.repeat(1.0))
        return self.fine, {}

    def step(self, action: object) -> tuple[Any, Any, bool, bool, Info]:
        seen = next(self.shown)
        if isinstance(seen, Exception):
            raise seen
        return seen, next(self.paid), False, False, {}


class Growing(Scripted):
    """Its action space grows at the second step."""

    def step(self, action: object) -> tuple[Any, Any, bool, bool, Info]:
        answer = super().step(action)
        self.steps = getattr(self, "steps", 0) + 1
        self.action_space = spaces.Discrete(2 if self.steps < 2 else 3)
        return answer


class Counter(gymnasium.Env[Any, Any]):
    """Counts steps, succeeds from the third on and does not end; writes into the action it is given."""

    observation_space = spaces.Box(0, np.inf, (1,), np.float64)
    action_space = spaces.Box(-1, 1, (1,), np.float32)

    def reset(self, *, seed: int | None = None, options: Info | None = None) -> tuple[Any, Info]:
        self.count = np.zeros(1)
        return self.count, {"is_success": False}

    def step(self, action: object) -> tuple[Any, Any, bool, bool, Info]:
        assert isinstance(action, np.ndarray)
        self.count += 1
        paid = float(action[0])
        action[:] = 0
        return self.count, paid, False, False, {"is_success": np.float32(self.count[0] >= 3)}


class Broken(Scripted):
    def __init__(self) -> None:
        raise RuntimeError("no licence file")


class Everything(Scripted):
    """All kinds of parts, nested."""

    observation_space = spaces.Dict(
        {
            "bits": spaces.MultiBinary(3),
            "inner": spaces.Dict({"grid": spaces.Box(0, 255, (2, 2), np.uint8), "said": spaces.Text(9)}),
            "pair": spaces.Tuple((spaces.Discrete(3, start=5), spaces.MultiDiscrete([2, 4]))),
        }
    )
    fine: ClassVar[Any] = {
        "bits": np.array([0, 1, 1], dtype=np.int8),
        "inner": {"grid": np.full((2, 2), 9, dtype=np.uint8), "said": "hello"},
        "pair": (np.int64(7), np.array([1, 3])),
    }


@pytest.fixture
def registered() -> Iterator[None]:
    """The environments above, registered for one test."""
    classes: tuple[Any, ...] = (Scripted, Growing, Counter, Broken, Everything)
    for one in classes:
        gymnasium.register(f"aether-test/{one.__name__}-v0", entry_point=one)
    gymnasium.register("aether-test/Fickle-v0", entry_point=classes[0], nondeterministic=True)
    yield
    for name in [name for name in gymnasium.registry if name.startswith("aether-test/")]:
        del gymnasium.registry[name]


@pytest.mark.parametrize("name", IDS)
@pytest.mark.parametrize("frames", [1, 5])
def test_equal_seeds_and_actions_give_bit_identical_episodes_on_a_new_instance(name: str, frames: int) -> None:
    one, other = GymnasiumEnvironment(name, frames=frames), GymnasiumEnvironment(name, frames=frames)
    actions = some_actions(one, 40)
    play(one, actions, seed=99)  # what an instance did before must leave no trace
    first, again = play(one, actions, seed=2**63), play(other, actions, seed=2**63)
    assert [p.digest for p in first] == [p.digest for p in again]
    assert first == again
    assert len(first) > 1


@pytest.mark.parametrize("name", [MAZE, "CartPole-v1", "Pendulum-v1"])
def test_another_seed_gives_another_episode(name: str) -> None:
    env = GymnasiumEnvironment(name)
    assert env.reset(seed=1).digest != env.reset(seed=2).digest


def test_a_goal_conditioned_environment_records_its_goals_once() -> None:
    env = GymnasiumEnvironment(MAZE)
    percept = env.reset(seed=3)
    assert [part.name for part in env.spaces.observation] == ["observation"]
    assert [o.name for o in percept.observations if isinstance(o, ArrayObservation)] == ["observation"]
    assert env.spaces.goal == (2,)
    assert percept.goal is not None
    assert percept.goal.achieved.shape == percept.goal.desired.shape == (2,)
    assert percept.success is False
    assert flatten(env.spaces, percept.observations, percept.goal).shape == (env.spaces.width,) == (6,)


def test_a_maze_episode_ends_with_success_when_the_goal_is_reached() -> None:
    # Row by row the only free cells besides the walls: the goal one step right of the start.
    env = GymnasiumEnvironment(MAZE, options={"maze_map": [[1, 1, 1, 1], [1, "r", "g", 1], [1, 1, 1, 1]]})
    env.reset(seed=0)
    percept = env.act(push(1, 0))
    while not percept.ends_episode:
        percept = env.act(push(1, 0))
    assert (percept.terminated, percept.success, percept.reward) == (True, True, 1.0)


def test_a_continuing_maze_goes_on_when_the_options_say_so() -> None:
    options = {"maze_map": [[1, 1, 1, 1], [1, "r", "g", 1], [1, 1, 1, 1]], "continuing_task": True}
    percepts = play(GymnasiumEnvironment(MAZE, options=options), [push(1, 0)] * 200, seed=0)  # type: ignore[arg-type]
    assert any(percept.success for percept in percepts)
    assert not any(percept.terminated for percept in percepts)


def test_repeated_frames_show_what_single_steps_show() -> None:
    five, single = GymnasiumEnvironment("Pendulum-v1", frames=5), GymnasiumEnvironment("Pendulum-v1")
    actions = some_actions(five, 8)
    percepts = play(five, actions, seed=4)
    steps = play(single, [action for action in actions for _ in range(5)], seed=4)
    assert [p.digest for p in percepts] == [p.digest for p in steps[::5]]
    for n, percept in enumerate(percepts[1:]):
        assert percept.reward == sum(s.reward or 0.0 for s in steps[1 + 5 * n : 6 + 5 * n])


def test_frames_stop_where_success_begins_and_not_again_while_it_lasts(registered: None) -> None:
    env = GymnasiumEnvironment("aether-test/Counter-v0", frames=5)
    percepts = play(env, [push(0.5)] * 3, seed=0)
    counts = [flatten(env.spaces, p.observations, None)[0] for p in percepts]
    assert counts == [0, 3, 8, 13]
    assert [p.success for p in percepts] == [False, True, True, True]
    assert [p.reward for p in percepts[1:]] == [1.5, 2.5, 2.5]


@pytest.mark.parametrize(("name", "limit"), [(MAZE, 7), ("CartPole-v1", 3), ("Pendulum-v1", 250)])
def test_max_frames_replaces_the_registered_limit_in_both_directions(name: str, limit: int) -> None:
    env = GymnasiumEnvironment(name, frames=4, max_frames=limit)
    percepts = play(env, some_actions(env, 200), seed=0)
    assert len(percepts) == 1 + -(-limit // 4)
    assert [p.truncated for p in percepts] == [False] * (len(percepts) - 1) + [True]


def test_without_max_frames_the_registered_limit_holds() -> None:
    env = GymnasiumEnvironment("Pendulum-v1")
    percepts = play(env, some_actions(env, 300), seed=0)
    assert len(percepts) == 1 + 200
    assert percepts[-1].truncated


def test_minigrid_shows_its_picture_direction_and_mission() -> None:
    env = GymnasiumEnvironment(LAVA)
    kinds = {part.name: type(part) for part in env.spaces.observation}
    assert kinds == {"direction": ArrayPart, "image": ArrayPart, "mission": TextPart}
    percept = env.reset(seed=0)
    (mission,) = (o.text for o in percept.observations if isinstance(o, Text))
    assert mission == "avoid the lava and get to the green goal square"
    assert env.spaces.action == DiscreteActions(n=7)
    assert flatten(env.spaces, percept.observations, percept.goal).shape == (4 + 7 * 7 * 3,)


@pytest.mark.parametrize(("success", "expected"), [("info", None), ("reward", False)])
def test_lava_ends_an_episode_and_only_the_reward_says_it_failed(
    success: Literal["info", "reward"], expected: bool | None
) -> None:
    percepts = _into_lava(GymnasiumEnvironment(LAVA, success=success))
    assert percepts[-1].terminated
    assert percepts[-1].reward == 0.0
    assert [p.success for p in percepts] == [expected] * len(percepts)


def test_a_positive_reward_at_the_end_is_success_where_the_scenario_says_so() -> None:
    env = GymnasiumEnvironment("MiniGrid-Empty-5x5-v0", success="reward")
    percepts = play(env, [Move(to=to) for to in (FORWARD, FORWARD, RIGHT, FORWARD, FORWARD)], seed=0)
    assert percepts[-1].terminated
    assert [p.success for p in percepts] == [False] * 5 + [True]


def test_a_discrete_observation_is_an_index_of_its_space() -> None:
    env = GymnasiumEnvironment("FrozenLake-v1", options={"is_slippery": False})
    assert env.spaces.observation == (ArrayPart(name="observation", shape=(), dtype="int64", categories=16, first=0),)
    env.reset(seed=0)
    percept = env.act(Move(to=RIGHT))
    (seen,) = percept.observations
    assert isinstance(seen, ArrayObservation)
    assert seen.array == Array.of(np.array(4))
    assert percept.success is None


def test_nested_spaces_become_parts_named_by_their_keys(registered: None) -> None:
    env = GymnasiumEnvironment("aether-test/Everything-v0")
    names = [part.name for part in env.spaces.observation]
    assert names == ["bits", "inner.grid", "inner.said", "pair.0", "pair.1"]
    percept = env.reset(seed=0)
    assert [o.name for o in percept.observations if isinstance(o, ArrayObservation | Text)] == names
    assert flatten(env.spaces, percept.observations, None).tolist() == [0, 1, 1, 9, 9, 9, 9, 0, 0, 1, 1, 3]


@pytest.mark.parametrize(
    ("seen", "found"),
    [
        (np.array([0.0, np.nan]), "found nan at [1]"),
        (np.array([-np.inf, 0.0]), "found -inf at [0]"),
        (np.zeros(3), "found float64 of shape (3,)"),
        (np.zeros(2, dtype=np.float32), "found float32 of shape (2,)"),
        ([[1.0], [1.0, 2.0]], "found what is no array"),
        (None, "found object of shape ()"),
    ],
)
@pytest.mark.parametrize("frames", [1, 5])
def test_what_leaves_the_space_fails_the_step_and_names_what_was_expected(
    registered: None, monkeypatch: pytest.MonkeyPatch, seen: object, found: str, frames: int
) -> None:
    monkeypatch.setattr(Scripted, "script", [np.zeros(2), seen])
    env = GymnasiumEnvironment("aether-test/Scripted-v0", frames=frames)
    with pytest.raises(EnvironmentFailed) as failure:
        play(env, [Move(to=0)] * 2, seed=0)
    assert failure.value.kind == "invalid"
    assert "gymnasium:aether-test/Scripted-v0, frame 2 of the episode" in str(failure.value)
    assert '"observation" should be finite float64 of shape (2,)' in str(failure.value)
    assert found in str(failure.value)


@pytest.mark.parametrize(
    ("seen", "found"),
    [
        ({"bits": np.zeros(3, np.int8)}, "the observation should hold bits, inner, pair; found bits"),
        (np.zeros(3), "should hold bits, inner, pair; found no keys"),
        (
            {**Everything.fine, "pair": (4, np.array([0, 0]))},
            '"pair.0" should be an integer from 5 to 7; found 4',
        ),
        (
            {**Everything.fine, "inner": {"grid": np.zeros((2, 2), np.uint8), "said": 3}},
            '"inner.said" should be text; found int',
        ),
    ],
)
def test_parts_of_a_dict_are_checked_by_name(
    registered: None, monkeypatch: pytest.MonkeyPatch, seen: object, found: str
) -> None:
    monkeypatch.setattr(Everything, "script", [seen])
    env = GymnasiumEnvironment("aether-test/Everything-v0")
    env.reset(seed=0)
    with pytest.raises(EnvironmentFailed) as failure:
        env.act(Move(to=0))
    assert failure.value.kind == "invalid"
    assert found in str(failure.value)


def test_a_bounded_space_is_left_by_a_value_out_of_bounds(registered: None, monkeypatch: pytest.MonkeyPatch) -> None:
    bounded = spaces.Box(np.array([0.0, -np.inf]), np.array([1.0, np.inf]), dtype=np.float64)
    monkeypatch.setattr(Scripted, "observation_space", bounded)
    monkeypatch.setattr(Scripted, "script", [np.array([1.0, 1e300]), np.array([1.5, 0.0])])
    env = GymnasiumEnvironment("aether-test/Scripted-v0")
    env.reset(seed=0)
    env.act(Move(to=0))
    with pytest.raises(EnvironmentFailed, match=r"at most 1\.0; found 1\.5 at \[0\]"):
        env.act(Move(to=0))


def test_a_space_that_changes_in_mid_episode_fails_the_step(registered: None) -> None:
    env = GymnasiumEnvironment("aether-test/Growing-v0")
    env.reset(seed=0)
    env.act(Move(to=0))
    with pytest.raises(EnvironmentFailed, match=r"its space should stay Discrete\(2\); it is now Discrete\(3\)"):
        env.act(Move(to=0))


@pytest.mark.parametrize("reward", [float("nan"), float("inf"), None, "1"])
def test_a_reward_that_is_no_finite_number_fails_the_step(
    registered: None, monkeypatch: pytest.MonkeyPatch, reward: object
) -> None:
    monkeypatch.setattr(Scripted, "rewards", [reward])
    env = GymnasiumEnvironment("aether-test/Scripted-v0")
    env.reset(seed=0)
    with pytest.raises(EnvironmentFailed, match="the reward should be a finite number") as failure:
        env.act(Move(to=0))
    assert failure.value.kind == "invalid"


def test_an_exception_inside_the_world_is_named_and_chained(registered: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Scripted, "script", [ZeroDivisionError("mass is zero")])
    env = GymnasiumEnvironment("aether-test/Scripted-v0")
    env.reset(seed=0)
    with pytest.raises(EnvironmentFailed, match="raised ZeroDivisionError: mass is zero") as failure:
        env.act(Move(to=0))
    assert failure.value.kind == "raised"
    assert isinstance(failure.value.__cause__, ZeroDivisionError)


def test_after_a_failure_only_a_reset_leads_on(registered: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Scripted, "script", [ValueError("once")])
    env = GymnasiumEnvironment("aether-test/Scripted-v0")
    env.reset(seed=0)
    with pytest.raises(EnvironmentFailed):
        env.act(Move(to=0))
    with pytest.raises(AssertionError, match="call reset"):
        env.act(Move(to=0))
    monkeypatch.setattr(Scripted, "script", [])
    env.reset(seed=0)
    assert env.act(Move(to=0)).reward == 1.0


@pytest.mark.parametrize(
    ("name", "action"),
    [
        ("CartPole-v1", Move(to=2)),
        ("CartPole-v1", push(1.0)),
        ("CartPole-v1", Wait()),
        ("Pendulum-v1", Move(to=0)),
        ("Pendulum-v1", push(0.0, 0.0)),
        ("Pendulum-v1", push(2.5)),
    ],
)
def test_an_action_outside_its_space_is_refused_and_the_episode_goes_on(name: str, action: Action) -> None:
    env = GymnasiumEnvironment(name)
    env.reset(seed=0)
    with pytest.raises(ValueError, match="space takes"):
        env.act(action)
    env.act(some_actions(env, 1)[0])


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("PointMaze_Umaze-v3", MAZE),
        ("pointmaze_umaze-v3", MAZE),
        ("MiniGrid-LavaGapS4-v0", LAVA),
        ("CartPole", "CartPole-v1"),
        ("CartPole-v7", "CartPole-v1"),
    ],
)
def test_an_unknown_id_is_answered_with_the_nearest_ones(name: str, near: str) -> None:
    with pytest.raises(EnvironmentNotFound) as missing:
        GymnasiumEnvironment(name)
    assert f"gymnasium:{near}" in missing.value.nearest
    assert f"gymnasium:{near}" in str(missing.value)


def test_an_id_near_to_nothing_says_so() -> None:
    with pytest.raises(EnvironmentNotFound, match="no registered id is near it") as missing:
        GymnasiumEnvironment("zzzzzzzzzzzzzzzzzzzz")
    assert missing.value.nearest == ()


def test_an_id_may_name_the_module_that_registers_it() -> None:
    assert GymnasiumEnvironment(f"minigrid:{LAVA}").spaces == GymnasiumEnvironment(LAVA).spaces
    with pytest.raises(EnvironmentNotFound, match="No module named 'no_such_module'"):
        GymnasiumEnvironment("no_such_module:CartPole-v1")


@pytest.mark.parametrize(
    ("space", "which"),
    [
        (spaces.Sequence(spaces.Discrete(2)), "Sequence"),
        (spaces.Box(0, 1, (2,), np.float16), "float16"),
        (spaces.Dict({"inner": spaces.Graph(spaces.Discrete(2), None)}), '"inner".*Graph'),
        (spaces.Dict({"a.b": spaces.Discrete(2), "a": spaces.Dict({"b": spaces.Discrete(2)})}), "one name"),
    ],
)
def test_an_observation_space_that_is_not_supported_is_named(
    registered: None, monkeypatch: pytest.MonkeyPatch, space: spaces.Space[Any], which: str
) -> None:
    monkeypatch.setattr(Scripted, "observation_space", space)
    with pytest.raises(ScenarioInvalid, match=f"aether-test/Scripted-v0.*{which}"):
        GymnasiumEnvironment("aether-test/Scripted-v0")


@pytest.mark.parametrize(
    ("space", "which"),
    [
        (spaces.Box(-np.inf, np.inf, (2,)), "finite"),
        (spaces.MultiDiscrete([2, 3]), "MultiDiscrete"),
        (spaces.Dict({"a": spaces.Discrete(2)}), "Dict"),
    ],
)
def test_an_action_space_that_is_not_supported_is_named(
    registered: None, monkeypatch: pytest.MonkeyPatch, space: spaces.Space[Any], which: str
) -> None:
    monkeypatch.setattr(Scripted, "action_space", space)
    with pytest.raises(ScenarioInvalid, match=f"aether-test/Scripted-v0: action space .*{which}"):
        GymnasiumEnvironment("aether-test/Scripted-v0")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"no_such_option": 1}, "no_such_option"),
        ({"render_mode": "human"}, "headless"),
        ({"max_episode_steps": 9}, "use max_frames"),
    ],
)
def test_options_that_do_not_fit_are_refused(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(ScenarioInvalid, match=reason):
        GymnasiumEnvironment("CartPole-v1", options=options)


def test_a_constructor_that_raises_is_a_failed_environment(registered: None) -> None:
    with pytest.raises(EnvironmentFailed, match="could not be built: RuntimeError: no licence file"):
        GymnasiumEnvironment("aether-test/Broken-v0")


def test_only_a_deterministic_environment_is_replayable(registered: None) -> None:
    assert GymnasiumEnvironment(MAZE).effect_class == "replayable"
    assert GymnasiumEnvironment("aether-test/Fickle-v0").effect_class == "unsafe"


def test_building_mazes_leaves_nothing_in_the_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    env = GymnasiumEnvironment(MAZE)
    env.reset(seed=0)
    env.close()
    assert list(tmp_path.iterdir()) == []


def test_settings_reach_the_environment() -> None:
    env = make_environment(
        EnvironmentSettings(id=f"gymnasium:{MAZE}", frames=5, max_frames=10, options={"reward_type": "dense"})
    )
    env.reset(seed=0)
    assert isinstance(env.spaces.action, BoxActions)
    first, last = env.act(push(0, 0)), env.act(push(0, 0))
    assert (first.truncated, last.truncated) == (False, True)
    assert 0 < (first.reward or 0) < 5


def test_what_registers_environments_is_loaded_only_when_needed_and_says_nothing() -> None:
    script = (
        "import sys\n"
        "from loops.environments import EnvironmentSettings, make_environment\n"
        "assert 'gymnasium' not in sys.modules\n"
        "make_environment(EnvironmentSettings(id='gymnasium:CartPole-v1'))\n"
        "assert not {'minigrid', 'gymnasium_robotics'} & set(sys.modules)\n"
        f"make_environment(EnvironmentSettings(id='gymnasium:{LAVA}'))\n"
        "assert 'gymnasium_robotics' not in sys.modules\n"
        f"make_environment(EnvironmentSettings(id='gymnasium:{MAZE}'))\n"
        "assert not {'torch', 'ray'} & set(sys.modules)\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def _into_lava(env: GymnasiumEnvironment) -> list[Percept]:
    """Under seed 0 the agent looks at the gap's wall of lava from the start."""
    return play(env, [Move(to=FORWARD)] * 3, seed=0)
