"""How far a planner looks, how many courses it weighs, and how it trades what it wants against what it would learn.

Knows numbers; knows no model and no environment."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from telemetry.events.values import Value


class PlanSettings(Value):
    """The defaults are measured with the linear model and landmarks, learnt from 20,000 random 5-frame transitions, as
    success over 100 pairs on PointMaze Medium | Large. With 8 decisions, 64 candidates and 3 iterations: .99 | .97.
    From there 5 decisions give 1.00 | .98 and 12 .91 | .86: the cost-to-go sees as far as the log does, and a model
    foreseen farther than it can be trusted sees ways that are none. 32 candidates .99 | .99, 2 iterations .99 | .98,
    γ = 5 .99 | .97. The defaults themselves 1.00 on Medium."""

    horizon: int = Field(default=5, ge=1, le=200)
    """H, decisions ahead."""
    temperature: float = Field(default=1.0, gt=0)
    """τ: p(o|C) ∝ exp(−cost/τ), so one decision nearer to the goal is worth 1/τ nats."""
    epistemic: float = Field(default=0.01, ge=0)
    """β: nats of preference that a nat learnt is worth."""
    precision: float = Field(default=1.0, gt=0)
    """γ: P(policy) = softmax(−γG)."""
    search: Literal["cem", "mppi"] = "cem"
    """For box controls; discrete ones are searched by beam."""
    candidates: int = Field(default=48, ge=2)
    """N, courses of box controls weighed at once."""
    iterations: int = Field(default=3, ge=1)
    """Times that courses of box controls are weighed, each time nearer to the best."""
    elites: int = Field(default=8, ge=1)
    """Of the candidates, those that the next iteration of CEM is drawn around."""
    persistence: float = Field(default=0.7, ge=0, lt=1)
    """Correlation of the noise from one decision to the next: a body with inertia hardly moves under white noise."""
    beam: int = Field(default=32, ge=1)
    """Courses of discrete controls kept at each depth."""

    @model_validator(mode="after")
    def _elites_are_candidates(self) -> PlanSettings:
        if self.elites > self.candidates:
            raise ValueError(f"{self.elites} elites of {self.candidates} candidates; take no more than there are")
        return self
