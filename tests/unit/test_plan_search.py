"""The search over box controls, and the plans that come of it, on bodies whose best control is known."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from world_model.errors import ShapeError
from world_model.layout import Controls, Layout, Part
from world_model.linear import LinearModel
from world_model.plan.cem import Search
from world_model.plan.cost import Cost, Euclidean
from world_model.plan.forward import Rollout
from world_model.plan.linear_forward import LinearForward
from world_model.plan.planner import ALTERNATIVES, APART, OPTIONS, Plan, plan
from world_model.plan.settings import PlanSettings
from world_model.plan.weigh import DEAREST

PLANE = Controls(kind="box", width=2, low=(-1.0, -3.0), high=(1.0, 5.0))
BEST_A = torch.tensor([0.37, -1.9])


def searched(settings: PlanSettings, seeds: list[int]) -> Tensor:
    """The best course found for (u − best)ᵀ diag(4, 1) (u − best), summed over the horizon; shape (B, H, A)."""
    search = Search(PLANE, settings, [np.random.default_rng(seed) for seed in seeds])
    for _ in range(settings.iterations):
        search.tell(quadratic(search.ask()))
    asked = search.ask()
    return asked[torch.arange(len(seeds)), quadratic(asked).argmin(dim=1)]


def quadratic(courses: Tensor) -> Tensor:
    return ((courses - BEST_A).square() * torch.tensor([4.0, 1.0])).sum((-1, -2))


@pytest.mark.parametrize("kind", ["cem", "mppi"])
def test_the_search_finds_the_known_minimum_of_a_quadratic(kind: str) -> None:
    settings = PlanSettings.model_validate(
        {"search": kind, "horizon": 2, "candidates": 256, "elites": 16, "iterations": 12, "precision": 3.0}
    )
    found_BHA = searched(settings, [0, 1, 2])
    assert (found_BHA - BEST_A).abs().max() < (0.3 if kind == "mppi" else 0.15)


def test_courses_stay_within_their_bounds_and_neighbouring_decisions_agree() -> None:
    settings = PlanSettings(horizon=30, candidates=400, persistence=0.8)
    asked = Search(PLANE, settings, [np.random.default_rng(0)]).ask()[0]
    assert (asked >= torch.tensor(PLANE.low)).all()
    assert (asked <= torch.tensor(PLANE.high)).all()
    assert (asked[0] == torch.tensor([0.0, 1.0])).all()
    centred = (asked - torch.tensor([0.0, 1.0]))[1:]
    together = (centred[:, 1:] * centred[:, :-1]).mean() / centred.square().mean()
    assert 0.65 < together < 0.85


class Walker:
    """Goes where it is told; what would be learnt grows with how far right it is."""

    def __init__(self, *, learnt: float = 0.0) -> None:
        self._learnt = learnt

    def rollout(self, start_BZ: Tensor, controls_BNHA: Tensor) -> Rollout:
        place = start_BZ[:, None, None] + controls_BNHA.cumsum(dim=2)
        return Rollout(outcome_BNHG=place, epistemic_BNH=self._learnt * place[..., 0].exp(), latent_BNHZ=2 * place)


def planned(starts: Tensor, goals: list[NDArray[np.float64]], *, seeds: list[int], **changed: object) -> list[Plan]:
    learnt = changed.pop("learnt", 0.0)
    assert isinstance(learnt, float)
    costs: list[Cost] = [Euclidean(goal, scale=np.ones(2)) for goal in goals]
    settings = PlanSettings.model_validate({"horizon": 4, **changed})
    noise = [np.random.default_rng(seed) for seed in seeds]
    return plan(Walker(learnt=learnt), starts, costs, PLANE, noise, settings)


GOALS = [np.array([2.0, 1.0]), np.array([-3.0, 0.0]), np.array([0.0, 4.0])]


def test_a_plan_goes_toward_its_goal_and_says_what_it_foresees() -> None:
    (found,) = planned(torch.zeros((1, 2)), [np.array([4.0, 0.0])], seeds=[0], precision=20.0)
    first = found.options[0]
    assert first.control_A[0] > 0.7
    assert found.outcome_G == pytest.approx(first.control_A)
    assert found.latent_Z == pytest.approx(2 * first.control_A)
    assert first.energy == pytest.approx(first.pragmatic - 0.01 * first.epistemic)


def test_options_are_few_and_distinct_and_their_probabilities_sum_to_one() -> None:
    for found in planned(torch.zeros((3, 2)), GOALS, seeds=[0, 1, 2]):
        assert 1 < len(found.options) <= OPTIONS
        assert len({option.control_A.tobytes() for option in found.options}) == len(found.options)
        assert sum(option.probability for option in found.options) == pytest.approx(1)


def test_alternatives_that_begin_another_way_stand_behind_what_is_drawn_among() -> None:
    span_A = np.array(PLANE.high) - np.array(PLANE.low)
    for found in planned(torch.zeros((3, 2)), GOALS, seeds=[0, 1, 2]):
        firsts = [option.control_A for option in found.options]
        drawn, others = firsts[:-ALTERNATIVES], firsts[-ALTERNATIVES:]
        assert len(drawn) == OPTIONS - ALTERNATIVES
        for place, other in enumerate(others):
            assert all((np.abs(other - taken) >= APART * span_A).any() for taken in (*drawn, *others[:place]))


def test_a_course_that_is_foreseen_to_leave_all_bounds_is_the_dearest_and_finite() -> None:
    model, rng = LinearModel(3, 1), np.random.default_rng(0)
    for _ in range(60):
        x, u = rng.normal(size=3), rng.uniform(-1, 1, 1)
        model.learn(x, u, 4 * x + 10 * u)
    part = Part(name="runs away", shape=(3,), dtype="float64")
    layout = Layout(parts=(part,), controls=Controls(kind="box", width=1, low=(-1.0,), high=(1.0,)))
    settings, noise = PlanSettings(horizon=150, candidates=16, elites=4), [np.random.default_rng(0)]
    away = Euclidean(np.zeros(3), scale=np.ones(3))
    (found,) = plan(LinearForward(model, layout), torch.ones((1, 3)), [away], layout.controls, noise, settings)
    assert [option.energy for option in found.options] == pytest.approx([DEAREST] * len(found.options))
    assert all(np.isfinite((option.pragmatic, option.epistemic)).all() for option in found.options)
    assert sum(option.probability for option in found.options) == pytest.approx(1)


def test_a_batch_gives_what_each_gives_alone() -> None:
    starts = torch.tensor([[0.0, 0.0], [1.0, -1.0], [0.3, 2.0]])
    together = planned(starts, GOALS, seeds=[5, 6, 7])
    for row, found in enumerate(together):
        (alone,) = planned(starts[row : row + 1], GOALS[row : row + 1], seeds=[5 + row])
        for ours, theirs in zip(found.options, alone.options, strict=True):
            assert ours.control_A == pytest.approx(theirs.control_A, abs=1e-4)
            assert ours.energy == pytest.approx(theirs.energy, abs=1e-3)
            assert ours.probability == pytest.approx(theirs.probability, abs=1e-3)
        assert found.outcome_G == pytest.approx(alone.outcome_G, abs=1e-4)


def test_equal_seeds_give_equal_plans_and_others_give_others() -> None:
    starts = torch.zeros((1, 2))
    first, again, other = (planned(starts, GOALS[:1], seeds=[seed])[0] for seed in (3, 3, 4))
    assert [option.control_A.tolist() for option in first.options] == [o.control_A.tolist() for o in again.options]
    assert [option.probability for option in first.options] == [option.probability for option in again.options]
    assert [option.control_A.tolist() for option in first.options] != [o.control_A.tolist() for o in other.options]


def test_disagreement_draws_a_plan_only_as_far_as_beta_says() -> None:
    starts, goal = torch.zeros((1, 2)), [np.array([-4.0, 0.0])]
    firsts = {
        (learnt, beta): planned(starts, goal, seeds=[0], learnt=learnt, epistemic=beta, precision=50.0)[0].options[0]
        for learnt in (0.0, 5.0)
        for beta in (0.0, 1.0)
    }
    assert firsts[5.0, 0.0].control_A.tolist() == firsts[0.0, 0.0].control_A.tolist()
    assert firsts[5.0, 0.0].control_A[0] < 0
    assert firsts[5.0, 1.0].control_A[0] > 0


def test_unequal_numbers_of_beliefs_costs_and_generators_are_refused() -> None:
    with pytest.raises(ShapeError, match="2 beliefs, 1 costs and 1 generators"):
        planned(torch.zeros((2, 2)), GOALS[:1], seeds=[0])


def test_the_linear_model_foresees_what_it_predicts_step_by_step() -> None:
    layout = Layout(
        parts=(Part(name="body", shape=(3,), dtype="float32"),),
        goal=2,
        controls=Controls(kind="box", width=2, low=(-1.0, -1.0), high=(1.0, 1.0)),
    )
    rng = np.random.default_rng(0)
    model = LinearModel(5, 2)
    world = 0.2 * rng.normal(size=(5, 8))
    for _ in range(200):
        seen, done = rng.normal(size=5), rng.uniform(-1, 1, 2)
        model.learn(seen, done, seen + world @ np.concatenate(([1.0], seen, done)))
    start, controls = rng.normal(size=5), rng.uniform(-1, 1, (4, 2))
    foreseen = LinearForward(model, layout).rollout(
        torch.tensor(start[None], dtype=torch.float32), torch.tensor(controls[None, None], dtype=torch.float32)
    )
    seen, noise = start, (model.predict(np.zeros(5), np.zeros(2)).variance / 1.0)
    for step, control in enumerate(controls):
        prediction = model.predict(seen, control)
        ratio = prediction.variance / noise
        seen = prediction.mean
        assert foreseen.latent_BNHZ[0, 0, step].numpy() == pytest.approx(seen, abs=1e-4)
        assert foreseen.outcome_BNHG[0, 0, step].numpy() == pytest.approx(seen[-2:], abs=1e-4)
        at_origin = model.coefficients()[1][0] @ model.coefficients()[1][0]
        leverage = ratio[0] * (1 + at_origin) - 1
        assert foreseen.epistemic_BNH[0, 0, step].item() == pytest.approx(2.5 * np.log1p(leverage), rel=1e-3)


def test_a_linear_model_of_another_world_is_refused_with_both_shapes() -> None:
    layout = Layout(parts=(Part(name="body", shape=(3,), dtype="float32"),), controls=PLANE)
    with pytest.raises(ShapeError, match=r"5 observed and 2 action .* body \(3,\)"):
        LinearForward(LinearModel(5, 2), layout)
