"""The rule by which a candidate is promoted, as a function of what was measured.

Knows outcomes and figures; knows no log, no model and no session. Invariant: the same measurements give the same
judgement, and its figures are all that it rests on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from runtime.learning.judging.sequential import (
    Design,
    Interval,
    difference_interval,
    lower_bound,
    lower_bound_apart,
    mean_interval,
    rate_interval,
)

FORESIGHT_MARGIN = 0.05
"""By what share a candidate may foresee worse than the incumbent (issue 6: "not worse by more than 5 %")."""

SUCCESS_MARGIN = 0.05
"""By how much its share of successes may be lower, as counted at the look (issue 6: "not worse by more than .05")."""

ROUNDING = 1e-9
"""A share of counts that equals a margin is not beyond it for how a float is written."""

Decision = Literal["promote", "reject", "go_on"]


class Outcome(NamedTuple):
    """What an episode came to."""

    success: bool
    steps: int
    """Decisions to the goal; the whole budget where it was not reached."""
    nats: float | None = None
    """Its mean surprise a dimension, where anything was predicted."""


class Pair(NamedTuple):
    """Two episodes that began alike."""

    candidate: Outcome
    incumbent: Outcome


class HeldOut(NamedTuple):
    """Error over a copy's, so many decisions ahead in the units of what is observed, on the same held-out sessions."""

    candidate: float
    incumbent: float | None
    """None: no model, but the policy that the scenario describes."""


@dataclass(frozen=True, slots=True)
class Judgement:
    decision: Decision
    why: str
    """For people."""
    figures: Mapping[str, float]
    """`_before` is the incumbent's, `_low` and `_high` are ends of 95 % intervals. `gain` is how many steps fewer the
    candidate needs, and `gain_bound` what that is at least but for a probability of `level`, which decides."""


def foresees(held_out: HeldOut) -> Judgement:
    """The first part of the rule, before any session is run: rejected, or to be judged by sessions."""
    ours, theirs = held_out
    figures = {"error_over_copy": ours} | ({} if theirs is None else {"error_over_copy_before": theirs})
    figures = {name: value for name, value in figures.items() if math.isfinite(value)}
    if not math.isfinite(ours):
        return Judgement("reject", "its error on held-out sessions is not finite", figures)
    if theirs is None:
        why = f"it misses {ours:.2f} of what a copy misses; the incumbent is no trained model, so that decides nothing"
        return Judgement("go_on", why, figures)
    said = f"it misses {ours:.2f} of what a copy misses in sessions that neither saw, the incumbent {theirs:.2f}"
    if ours > theirs * (1 + FORESIGHT_MARGIN):
        return Judgement("reject", f"{said}: worse by more than {FORESIGHT_MARGIN:.0%}", figures)
    return Judgement("go_on", said, figures)


def judge(
    pairs: Sequence[Pair], design: Design, *, look: int, budget: int, held_out: HeldOut, seed: int = 0
) -> Judgement:
    """The whole rule at the `look` of the design, from the pairs there are by then; `pairs` may be fewer than `look`
    by those that environments failed in. `seed` is of the resampling."""
    first = foresees(held_out)
    ours, theirs = [pair.candidate for pair in pairs], [pair.incumbent for pair in pairs]
    fewer = _steps(theirs) - _steps(ours)
    level = design.level(look)
    bound = lower_bound(fewer, least=-budget, level=level, seed=seed)
    against = lower_bound(-fewer, least=-budget, level=level, seed=seed)
    measured = _Measured(
        gain=mean_interval(fewer, seed=seed), bound=bound, against=against, level=level, last=look == design.looks[-1]
    )
    figures = {
        **first.figures,
        "pairs": float(len(pairs)),
        "left_out": float(look - len(pairs)),
        **_arm(ours, "", seed=seed),
        **_arm(theirs, "_before", seed=seed),
        **measured.figures,
    }
    if first.decision == "reject":
        return Judgement("reject", first.why, figures)
    decision, why = _decided(measured, figures, count=f"{len(pairs)} pairs")
    return Judgement(decision, why, figures)


def judge_apart(episodes: Sequence[tuple[bool, Outcome]], design: Design, *, budget: int, seed: int = 0) -> Judgement:
    """The same rule where nothing is paired, for a canary: its episodes (true) and the others' (false) in the order in
    which they ended. A look is the shortest beginning of them that holds as many of both as it asks for; the latest
    that is reached judges. Before the first: to go on."""
    counts = np.cumsum([(canary, not canary) for canary, _ in episodes], axis=0).reshape(-1, 2).min(axis=1)
    reached = [look for look in design.looks if len(counts) and counts[-1] >= look]
    if not reached:
        most = int(counts[-1]) if len(counts) else 0
        return Judgement("go_on", f"{most} of {design.looks[0]} episodes on both sides", {"episodes": float(most)})
    seen = episodes[: int(np.searchsorted(counts, reached[-1])) + 1]
    ours = [outcome for canary, outcome in seen if canary]
    theirs = [outcome for canary, outcome in seen if not canary]
    level = design.level(reached[-1])
    one, other = _steps(theirs), _steps(ours)
    measured = _Measured(
        gain=difference_interval(one, other, seed=seed),
        bound=lower_bound_apart(one, other, least=0, most=budget, level=level, seed=seed),
        against=lower_bound_apart(other, one, least=0, most=budget, level=level, seed=seed),
        level=level,
        last=reached[-1] == design.looks[-1],
    )
    figures = {
        "episodes": float(len(ours)),
        "episodes_before": float(len(theirs)),
        **_arm(ours, "", seed=seed),
        **_arm(theirs, "_before", seed=seed),
        **measured.figures,
    }
    decision, why = _decided(measured, figures, count=f"{len(ours)} episodes against {len(theirs)}")
    return Judgement(decision, why, figures)


class _Measured(NamedTuple):
    gain: Interval
    bound: float
    """The gain is above it, but for `level`."""
    against: float
    """The loss is above it, but for `level`."""
    level: float
    last: bool

    @property
    def figures(self) -> dict[str, float]:
        return {**_spread("gain", self.gain), "gain_bound": self.bound, "level": self.level}


def _decided(measured: _Measured, figures: Mapping[str, float], *, count: str) -> tuple[Decision, str]:
    told = f"after {count} it takes {figures['steps']:.1f} steps instead of {figures['steps_before']:.1f}"
    sure = f"{1 - measured.level:.1%}"
    successes = f"its success {figures['success']:.2f} instead of {figures['success_before']:.2f}"
    if measured.against > 0:
        return "reject", f"{told}: it is worse, by {measured.against:.1f} at least ({sure})"
    fewer = measured.bound > 0
    succeeds = figures["success"] >= figures["success_before"] - SUCCESS_MARGIN - ROUNDING
    if fewer and succeeds:
        return "promote", f"{told}, {measured.bound:.1f} fewer at least ({sure}); {successes}"
    missing = [] if fewer else [f"that it needs fewer is not shown: {measured.bound:+.1f} at least ({sure})"]
    missing += [] if succeeds else [f"{successes} is lower by more than {SUCCESS_MARGIN}"]
    return ("reject" if measured.last else "go_on"), f"{told}; {', and '.join(missing)}"


def _arm(outcomes: Sequence[Outcome], suffix: str, *, seed: int) -> dict[str, float]:
    nats = [outcome.nats for outcome in outcomes if outcome.nats is not None]
    return {
        **_spread("success", rate_interval(sum(outcome.success for outcome in outcomes), len(outcomes)), suffix),
        **_spread("steps", mean_interval(_steps(outcomes), seed=seed), suffix),
        **(_spread("nats", mean_interval(nats, seed=seed), suffix) if nats else {}),
    }


def _spread(name: str, interval: Interval, suffix: str = "") -> dict[str, float]:
    name += suffix
    return {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}


def _steps(outcomes: Sequence[Outcome]) -> NDArray[np.float64]:
    return np.array([outcome.steps for outcome in outcomes], dtype=np.float64)
