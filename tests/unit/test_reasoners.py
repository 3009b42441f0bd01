"""What the reasoners propose: few options, best first, from recorded state and counted randomness only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from loops.context import Context
from loops.ports import MAX_OPTIONS, Forecast
from loops.randomness import derive, generator
from loops.reasoners.explore import Explore
from loops.reasoners.greedy import CANDIDATES, OFFERED, Greedy
from loops.scene import Scene
from loops.spaces import ActionSpace, ArrayPart, BoxActions, DiscreteActions, Spaces
from loops.state import SessionState
from telemetry.events import reason, sense
from telemetry.events.values import (
    Action,
    Array,
    ArrayObservation,
    Belief,
    Goal,
    Move,
    Persistence,
    digest_of,
)
from tests.local import Cut, Cutter, Local
from world_model.linear import LinearModel, Prediction

BOX = BoxActions(low=Array.of([-1, -1], dtype="float32"), high=Array.of([1, 1], dtype="float32"))
GOAL = np.array([3.0, 4.0])
PINNED_DRAWS = [2470541530, 3543951599, 71396072, 1357320577]
PINNED_FLOAT = 0.8251405320072588
PINNED_SEEDS = (319557170, 946185118, 1823173842)


def moment(action: ActionSpace, *, cycle: int = 1, persist: Persistence | None = None, learnt: int = 0) -> Context:
    """A point at the origin that should be at GOAL."""
    here = np.zeros(2)
    seen = sense.Observed(
        observations=(ArrayObservation(name="at", array=Array.of(here)),),
        goal=Goal(achieved=Array.of(here), desired=Array.of(GOAL)),
        digest="0" * 64,
    )
    spaces = Spaces(observation=(ArrayPart(name="at", shape=(2,), dtype="float64"),), goal=(2,), action=action)
    belief = Belief(transitions=learnt, spread=0.1)
    state = SessionState(seed=3, cycle=cycle, persist=persist, belief=belief)
    return Context(stream="session/x", state=state, scene=Scene(spaces=spaces, observed=seen))


def silent(actions: Sequence[Action]) -> Prediction | None:
    raise AssertionError("explore must not ask the model")


def linear(steps: int = 200) -> Forecast:
    """The forecast of a model that has learnt the linear system x' = x + u / 2."""
    model, rng = LinearModel(4, 2), np.random.default_rng(0)
    for _ in range(steps):
        x, u = np.tile(rng.uniform(-5, 5, 2), 2), rng.uniform(-1, 1, 2)
        model.learn(x, u, x + np.tile(u, 2) / 2)

    def forecast(actions: Sequence[Action]) -> Prediction:
        return model.predict_many(np.zeros(4), np.stack([BOX.vector(action) for action in actions]))

    return forecast


@pytest.mark.parametrize("space", [BOX, DiscreteActions(n=2), DiscreteActions(n=30, first=-3)])
def test_explore_proposes_a_few_different_actions_of_the_space(space: ActionSpace) -> None:
    for cycle in range(1, 40):
        proposed = Explore(hold=3).propose(moment(space, cycle=cycle), silent)
        assert 1 < len(proposed) <= MAX_OPTIONS
        assert [p.proposal for p in proposed] == list(range(len(proposed)))
        assert len({p.arguments for p in proposed}) == len(proposed)
        for p in proposed:
            space.fit(p.action)
            assert p.arguments == digest_of(p.action)


def test_explore_draws_the_same_in_the_same_cycle_and_other_actions_in_the_next() -> None:
    reasoner = Explore(hold=3)
    assert reasoner.propose(moment(BOX), silent) == Explore(hold=3).propose(moment(BOX), silent)
    assert reasoner.propose(moment(BOX), silent) != reasoner.propose(moment(BOX, cycle=2), silent)


def test_explore_puts_the_action_it_keeps_first_and_counts_down() -> None:
    kept = Persistence(action=Move(to=Array.of([0.25, 0.5], dtype="float32")), remaining=2)
    context = moment(BOX, persist=kept)
    reasoner = Explore(hold=3)
    assert reasoner.propose(context, silent)[0].action == kept.action
    assert reasoner.persist(context, kept.action) == kept.model_copy(update={"remaining": 1})
    other = Move(to=Array.of([1, 1], dtype="float32"))
    drawn = reasoner.persist(context, other)
    assert drawn is not None
    assert drawn.action == other, "an alternative that the heart chose is kept instead"
    over = moment(BOX, persist=kept.model_copy(update={"remaining": 0}))
    assert reasoner.propose(over, silent)[0].action != kept.action


def test_explore_keeps_an_action_for_hold_cycles_on_average() -> None:
    for hold in (1, 4):
        action = Move(to=1)
        drawn = [Explore(hold=hold).persist(moment(BOX, cycle=n), action) for n in range(2000)]
        lengths = [1 + p.remaining for p in drawn if p is not None]
        assert (min(lengths), max(lengths)) == (1, 2 * hold - 1)
        assert np.mean(lengths) == pytest.approx(hold, rel=0.05)


def test_greedy_offers_the_actions_that_lead_nearest_to_the_goal_on_a_known_linear_system() -> None:
    proposed = Greedy(hold=3, explore=0.0).propose(moment(BOX, learnt=200), linear())
    assert len(proposed) == OFFERED
    scores = [p.score for p in proposed]
    assert None not in scores
    assert scores == sorted(scores)  # type: ignore[type-var]  # no None among them
    best = proposed[0].action
    assert isinstance(best, Move)
    assert isinstance(best.to, Array)
    chosen = best.to.numpy()
    assert chosen @ GOAL / np.linalg.norm(chosen) / 5 > 0.95, "it points to the goal"
    assert proposed[0].score == pytest.approx(np.linalg.norm(chosen / 2 - GOAL), abs=0.05)


def test_greedy_takes_the_best_of_its_candidates() -> None:
    context = moment(BOX, learnt=200)
    asked: list[Action] = []
    forecast = linear()

    def spy(actions: Sequence[Action]) -> Prediction | None:
        asked.extend(actions)
        return forecast(actions)

    proposed = Greedy(hold=3, explore=0.0).propose(context, spy)
    assert len(asked) == CANDIDATES
    expected = forecast(asked)
    assert expected is not None
    order = np.argsort(np.linalg.norm(expected.mean[:, 2:] - GOAL, axis=1))
    assert [p.action for p in proposed] == [asked[i] for i in order[:OFFERED]]


def test_greedy_explores_until_the_model_has_seen_enough_and_while_it_keeps_an_action() -> None:
    reasoner = Greedy(hold=3, explore=0.0)
    enough = 2 * (4 + 2 + 1)
    assert reasoner.propose(moment(BOX, learnt=enough - 1), silent)[0].score is None
    kept = Persistence(action=Move(to=Array.of([0, 1], dtype="float32")), remaining=1)
    assert reasoner.propose(moment(BOX, learnt=enough, persist=kept), silent)[0].action == kept.action
    context = moment(BOX, learnt=enough)
    proposed = reasoner.propose(context, linear())
    assert proposed[0].score is not None
    assert reasoner.persist(context, proposed[0].action) is None


def test_greedy_explores_about_its_share_of_the_cycles() -> None:
    reasoner = Greedy(hold=4, explore=0.4)
    bouts = [reasoner.persist(moment(BOX, cycle=n, learnt=99), Move(to=1)) for n in range(3000)]
    assert sum(p is not None for p in bouts) / 3000 == pytest.approx(0.1, abs=0.02)


HOLDS = """
name = "holds"
environment = { id = "gymnasium:AetherLine-v0", max_frames = 50 }
reasoner = { hold = 6 }
memory = { recall = 0 }
"""


def test_a_session_resumed_in_the_middle_of_a_kept_action_goes_on_with_it(local: Local) -> None:
    local.run("whole", HOLDS, cycles=12)
    decided = [r.event for r in local.events("whole", "reason.decided")]
    middle = next(
        n for n, d in enumerate(decided, 1) if isinstance(d, reason.Decided) and d.persist and d.persist.remaining > 1
    )
    with pytest.raises(Cut):
        local.run("cut", HOLDS, cycles=12, commits=Cutter(at=2 * (1 + 2 * middle)))
    assert local.types("cut").count("session.cycle_closed") == middle
    local.run("cut", HOLDS, cycles=12)
    again = [r.event for r in local.events("cut", "reason.decided")]
    assert again == decided
    kept, following = decided[middle - 1], again[middle]
    assert isinstance(kept, reason.Decided)
    assert isinstance(following, reason.Decided)
    assert following.action == kept.action


def test_equal_places_give_equal_draws_and_any_other_place_gives_others() -> None:
    def draw(**place: int | str) -> list[float]:
        where = {"seed": 7, "cycle": 3, "phase": "reason", "ordinal": 0, **place}
        seed = int(where.pop("seed"))
        return list(generator(seed, **where).random(3))  # type: ignore[arg-type]  # by name

    assert draw() == draw()
    others = [draw(seed=8), draw(cycle=4), draw(phase="sense"), draw(ordinal=1), draw(seed=73, cycle=3)]
    assert len({tuple(o) for o in (*others, draw())}) == 6


def test_the_draws_of_a_known_place_are_pinned() -> None:
    """Of another value every recorded session would be replayed to the same state and resumed to another one."""
    assert generator(7, cycle=3, phase="reason").integers(0, 2**32, 4).tolist() == PINNED_DRAWS
    assert generator(7, cycle=3, phase="reason").random() == PINNED_FLOAT
    assert (derive(7, "episode", 0), derive(7, "episode", 1), derive(7, "session", 0)) == PINNED_SEEDS


def test_derived_seeds_fit_every_environment() -> None:
    seeds = {derive(seed, "episode", n) for seed in (0, 1, 2**63) for n in range(500)}
    assert len(seeds) == 1500
    assert min(seeds) >= 0
    assert max(seeds) < 2**31
