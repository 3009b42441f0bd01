"""A few good things to do next, for many sessions at once, each with its expected free energy.

Knows a `Forward`, costs and controls; knows no model, environment or log. Invariant: the same beliefs, costs and
generators' states give the same plans, and a session's plan is that of planning for it alone, up to rounding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from world_model.errors import ShapeError
from world_model.layout import Controls
from world_model.plan.beam import Beam
from world_model.plan.cem import Search
from world_model.plan.cost import Cost
from world_model.plan.energy import gumbel_order, policy_posterior
from world_model.plan.forward import Forward
from world_model.plan.settings import PlanSettings
from world_model.plan.weigh import Weighed, weigh

# B = sessions, N = courses of action, H = decisions ahead, A = width of controls, Z = width of what is believed,
# G = width of outcome space

OPTIONS: Final = 8
"""At most so many options a plan: what a decision records."""

ALTERNATIVES: Final = 3
"""Of them, where controls are continuous, those that begin another way than the best, which lie close together: whoever
forbids one of the best, for where it leads, mostly forbids them all."""

APART: Final = 0.25
"""Share of a control's range by which an alternative differs, in one control at least."""


@dataclass(frozen=True, slots=True)
class PlannedOption:
    """The first control of the best course found that begins with it."""

    control_A: NDArray[np.float32]
    """In the controls' own units; one-hot where they are discrete."""
    energy: float
    """G of the course in nats: `pragmatic` − β `epistemic`."""
    pragmatic: float
    epistemic: float
    probability: float
    """softmax(−γG) over the options of this plan."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The options in the order of a draw without replacement by their probabilities: the first is the one to take.
    Alternatives stand behind those that are drawn among."""

    options: tuple[PlannedOption, ...]
    latent_Z: NDArray[np.float32]
    """Foreseen after the first option's control."""
    outcome_G: NDArray[np.float32]
    """Where that is in outcome space."""


def plan(
    forward: Forward,
    start_BZ: Tensor | NDArray[np.float32],
    costs: Sequence[Cost],
    controls: Controls,
    noise: Sequence[np.random.Generator],
    settings: PlanSettings,
) -> list[Plan]:
    """One plan for each session; `start_BZ` is what each believes, `costs` what it wants, `noise` its own generator.

    Raises ShapeError where these are not equally many."""
    if not len(start_BZ) == len(costs) == len(noise) > 0:
        raise ShapeError(f"{len(start_BZ)} beliefs, {len(costs)} costs and {len(noise)} generators; one each a session")
    start_BZ = torch.as_tensor(start_BZ)
    with torch.inference_mode():
        if controls.kind == "box":
            broad, weighed = _box(forward, start_BZ, costs, controls, noise, settings)
            span_A = np.asarray(controls.high, dtype=np.float32) - np.asarray(controls.low, dtype=np.float32)
            apart_A = APART * span_A
        else:
            broad, apart_A = None, None
            weighed = _discrete(forward, start_BZ, costs, controls, settings)
        return [_plan(weighed, broad, apart_A, row, generator, settings) for row, generator in enumerate(noise)]


def _box(
    forward: Forward,
    start_BZ: Tensor,
    costs: Sequence[Cost],
    controls: Controls,
    noise: Sequence[np.random.Generator],
    settings: PlanSettings,
) -> tuple[Weighed, Weighed]:
    """What was weighed first, all over the bounds, and last, around the best."""
    search = Search(controls, settings, noise)
    broad = weighed = weigh(forward, start_BZ, costs, search.ask(), settings)
    for _ in range(settings.iterations - 1):
        search.tell(weighed.energy.total)
        weighed = weigh(forward, start_BZ, costs, search.ask(), settings)
    return broad, weighed


def _discrete(
    forward: Forward, start_BZ: Tensor, costs: Sequence[Cost], controls: Controls, settings: PlanSettings
) -> Weighed:
    # Each depth is foreseen from the start: carried on from the mean belief, the heads would agree again.
    beam = Beam(sessions=len(costs), choices=controls.width, width=settings.beam, horizon=settings.horizon)
    weighed = weigh(forward, start_BZ, costs, beam.ask(), settings)
    for _ in range(settings.horizon - 1):
        beam.tell(weighed.energy.total)
        weighed = weigh(forward, start_BZ, costs, beam.ask(), settings)
    return weighed


@dataclass(frozen=True, slots=True)
class _Course:
    """One course of action of one session."""

    weighed: Weighed
    session: int
    course: int

    @property
    def first_A(self) -> NDArray[np.float32]:
        first_A: NDArray[np.float32] = self.weighed.controls_BNHA[self.session, self.course, 0].numpy()
        return first_A

    @property
    def energy(self) -> float:
        return float(self.weighed.energy.total[self.session, self.course])


def _plan(
    weighed: Weighed,
    broad: Weighed | None,
    apart_A: NDArray[np.float32] | None,
    session: int,
    noise: np.random.Generator,
    settings: PlanSettings,
) -> Plan:
    best = _best(weighed, session)
    order = gumbel_order(np.array([each.energy for each in best]), precision=settings.precision, noise=noise)
    drawn = [best[i] for i in order]
    if broad is not None and apart_A is not None:
        others = _others(broad, apart_A, session, best)
        drawn = [*drawn[: OPTIONS - len(others)], *others]
    probability = policy_posterior(np.array([each.energy for each in drawn]), precision=settings.precision)
    options = tuple(
        PlannedOption(
            control_A=each.first_A.copy(),
            energy=each.energy,
            pragmatic=float(each.weighed.energy.pragmatic[session, each.course]),
            epistemic=float(each.weighed.energy.epistemic[session, each.course]),
            probability=float(share),
        )
        for each, share in zip(drawn, probability, strict=True)
    )
    return Plan(
        options=options,
        latent_Z=drawn[0].weighed.latent_BNZ[session, drawn[0].course].numpy().copy(),
        outcome_G=drawn[0].weighed.outcome_BNG[session, drawn[0].course].numpy().copy(),
    )


def _best(weighed: Weighed, session: int) -> list[_Course]:
    """The courses of least G that begin differently, at most OPTIONS."""
    best: list[_Course] = []
    taken: set[bytes] = set()
    for course in _by_energy(weighed, session):
        first = course.first_A.tobytes()
        if first not in taken:
            taken.add(first)
            best.append(course)
        if len(best) == OPTIONS:
            break
    return best


def _others(broad: Weighed, apart_A: NDArray[np.float32], session: int, best: Sequence[_Course]) -> list[_Course]:
    """Of what was weighed all over the bounds the best that begin apart from all of `best` and from each other."""
    found: list[_Course] = []
    for course in _by_energy(broad, session):
        if all((np.abs(course.first_A - other.first_A) >= apart_A).any() for other in (*best, *found)):
            found.append(course)
        if len(found) == ALTERNATIVES:
            break
    return found


def _by_energy(weighed: Weighed, session: int) -> Iterator[_Course]:
    energy_N = weighed.energy.total[session].double().numpy()
    assert np.isfinite(energy_N).all(), "a course of action whose expected free energy is not finite"
    for course in np.argsort(energy_N, kind="stable"):
        yield _Course(weighed, session, int(course))
