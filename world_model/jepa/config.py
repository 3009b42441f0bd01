"""The sizes and weights of a model and of its training, with where their values come from.

Measured on 20,000 random transitions of PointMaze, 5 frames each; what is quoted is the error of the achieved goal ten
decisions ahead, open loop, on sessions held out, over that of the prediction that nothing changes. Knows numbers; knows
no data."""

from __future__ import annotations

from pydantic import Field

from telemetry.events.values import Value


class JepaConfig(Value):
    latent: int = Field(default=8, ge=1)
    """Z, columns of a latent. UMaze after 2,500 steps without settling: 8 gives .244, 12 .241, but the doubt of
    12 goes less with the real error (Spearman .27 against .41 one decision ahead)."""
    hidden: int = Field(default=128, ge=1)
    """Width of the hidden layers."""
    heads: int = Field(default=4, ge=3, le=5)
    """E, predictors that learn from different draws of the sessions."""
    history: int = Field(default=1, ge=1)
    """K, observations that a belief rests on; 1 where what is seen is all there is to know."""
    horizon: int = Field(default=6, ge=1)
    """H, steps foreseen open loop in training. Predictors alone, 1,200 steps: 2 gives .279, 4 .252, 6 .245."""

    sigreg_weight: float = Field(default=0.03, ge=0)
    """Beside a prediction loss of weight 1; the statistic grows with `batch`. UMaze after 1,200 steps of 256: .1
    gives .287, .01 .285, .001 .439."""
    slices: int = Field(default=32, ge=1)
    """M, directions drawn anew for each step; LeJEPA finds that few are enough when they change."""
    points: int = Field(default=17, ge=3)
    """Quadrature points over [−`reach`, `reach`] (LeJEPA, Algorithm 1: 17 over [−5, 5])."""
    reach: float = Field(default=5.0, gt=0)

    learning_rate: float = Field(default=5e-3, gt=0)
    """At its highest. Predictors alone, 1,200 steps: .003 gives .245, .006 .228."""
    weight_decay: float = Field(default=1e-4, ge=0)
    batch: int = Field(default=128, ge=2)
    """N, sequences a step; also the N of SIGReg's statistic where no episode ends early."""
    steps: int = Field(default=7500, ge=1)
    """Steps of a whole training, unless the caller says another number or a time."""
    settling: float = Field(default=0.67, ge=0, lt=1)
    """Share of the steps at the end in which beliefs no longer change. Such a step costs 13 ms where one of all costs
    21, and against targets that hold still predictors learn faster: 5,000 of them bring UMaze from .244 to .170, and
    the goal head's own error from .038 maze units to .015."""
    held_out: float = Field(default=0.1, gt=0, lt=1)
    """Share of the sessions that is never learnt from."""
    patience: int = Field(default=10, ge=1)
    """Looks at the held-out sessions without a gain before training stops."""
