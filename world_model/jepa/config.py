"""The sizes and weights of a model and of its training, with where their values come from.

Knows numbers; knows no data."""

from __future__ import annotations

from pydantic import Field

from telemetry.events.values import Value


class JepaConfig(Value):
    latent: int = Field(default=8, ge=1)
    """Z, columns of a latent."""
    hidden: int = Field(default=128, ge=1)
    """Width of the hidden layers."""
    heads: int = Field(default=4, ge=3, le=5)
    """E, predictors that learn from different draws of the sessions."""
    history: int = Field(default=1, ge=1)
    """K, observations that a belief rests on; 1 where what is seen is all there is to know."""
    horizon: int = Field(default=6, ge=1)
    """H, steps foreseen open loop in training."""

    sigreg_weight: float = Field(default=0.03, ge=0)
    slices: int = Field(default=32, ge=1)
    """M, directions drawn anew for each step (LeJEPA §4 finds few enough when they change)."""
    points: int = Field(default=17, ge=3)
    """Quadrature points over [−`reach`, `reach`] (LeJEPA, Algorithm 1: 17 over [−5, 5])."""
    reach: float = Field(default=5.0, gt=0)

    learning_rate: float = Field(default=5e-3, gt=0)
    weight_decay: float = Field(default=1e-4, ge=0)
    batch: int = Field(default=128, ge=2)
    """N, sequences a step; also the N of SIGReg's statistic where no episode ends early."""
    steps: int = Field(default=7500, ge=1)
    """Steps of a whole training, unless the caller says another number or a time."""
    settling: float = Field(default=0.67, ge=0, lt=1)
    """Share of the steps at the end in which beliefs no longer change: what they no longer cost, a third of a step's
    time is left, goes to predictors and heads, and those learn faster against targets that hold still."""
    held_out: float = Field(default=0.1, gt=0, lt=1)
    """Share of the sessions that is never learnt from."""
    patience: int = Field(default=10, ge=1)
    """Looks at the held-out sessions without a gain before training stops."""
