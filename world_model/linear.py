"""The linear baseline: recursive least squares for the next observation, with its predictive variance.

Knows flat vectors of what is seen (x) and done (u); knows nothing of what their dimensions mean. Invariant:
without forgetting, after n transitions the weights are the ridge regression over all n of them, and the same
calls in the same order give the same bits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from telemetry.events.values import ModelId
from world_model.errors import ShapeError

# D = width of what is seen, A = width of an action, F = features = 1 + D + A, K = candidate actions
Vector = NDArray[np.float64]

MODEL_ID: Final[ModelId] = "linear-rls@1"
"""Counts up when the same transitions would give other predictions."""

RIDGE: Final = 1.0
"""Prior precision of a weight, in units of the noise's: worth one transition at distance 1 from the origin.

Measured by nats per dimension of each next observation before it is learnt, on random transitions of
PointMaze_UMaze-v3 (5 frames each) | MiniGrid-LavaGapS5-v0, mean over 3 seeds that chose nothing. The first
100 of 1,500: ridge .01 gives 0.16 | 0.80, 1 gives −0.41 | 0.30, 10 gives −0.56 | 0.21; all 1,500: −0.87 |
−1.27, −0.91 | −1.34, −0.92 | −1.36. Ten gains little more and holds back real effects ten times longer."""

PRIOR_VARIANCE: Final = 1.0
"""Residual variance believed before any transition, in squared observation units."""

PRIOR_COUNT: Final = 0.1
"""How many transitions that belief is worth. Measured as above with ridge 1, over all 1,500: 1.0 gives −0.75
| −0.64, 0.1 gives −0.91 | −1.34, 0.01 gives −0.92 | −1.94, but 6.03 nats over the first 30 of MiniGrid where
0.1 gives 1.76: a dimension that has not moved yet is then believed never to."""

VARIANCE_FLOOR: Final = 1e-6
"""Least residual variance: a deviation of a thousandth of an observation unit."""

MAX_FEATURES: Final = 4096
"""F² float64 are 128 MiB here, and an update takes 0.1 s (0.02 ms for F = 9, 0.08 ms for F = 168,
measured)."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """What is expected next: `mean` and `variance` (> 0), in observation units and their squares.

    Both float64, shape (D,) for one action, (K, D) for K candidates."""

    mean: Vector
    variance: Vector


class LinearModel:
    """y − x = W φ(x, u) + noise, φ = [1, x, u]; untrained it predicts y = x, the copy baseline.

    W follows recursive least squares with one P for all dimensions (Haykin, *Adaptive Filter Theory*, 5th
    ed., ch. 10): k = Pφ / (1 + φᵀPφ), W += (y − x − Wφ) kᵀ, P −= k φᵀP, from W = 0 and P = I / `ridge`. What
    is stored is not P but S with P = S Sᵀ, updated by Potter's formula S −= γ (Sa) aᵀ with a = Sᵀφ and γ = 1
    / (1 + aᵀa + √(1 + aᵀa)) (Kaminski, Bryson & Schmidt, *Discrete square root filtering*, IEEE TAC 16(6),
    1971), so P stays symmetric and positive however many updates follow.

    The predictive distribution is that of Bayesian linear regression (Bishop, *Pattern Recognition and
    Machine Learning*, §3.3.2): variance σ²_d (1 + φᵀPφ). σ²_d is the penalised cost Σ e² / (1 + φᵀPφ) over n
    − γ, where e is the innovation and γ = F − `ridge` tr P the effective number of parameters (MacKay,
    *Bayesian interpolation*, Neural Computation 4(3), 1992), which each step raises by `ridge` |Pφ|² / (1 +
    φᵀPφ). `PRIOR_VARIANCE` counts `PRIOR_COUNT` times, and `VARIANCE_FLOOR` is the least.

    Measured on linear worlds (D = 4, F = 7, 800 models a cell), the mean of e² / variance, ideally a little
    above 1, after 30 transitions with weights of deviation 0 | .3 | 1 (noise .5): over n it is 1.39 | 1.25 |
    .68, so too sure of itself; over n − γ 1.08 | .97 | .53; with the unpenalised residuals over n − γ 1.10 |
    1.09 | 1.08. The second costs the fewest early nats on PointMaze and MiniGrid, so it is the one taken: it
    may be too cautious while real weights are large, and is not too sure.

    `forgetting` in (0, 1] weighs a transition by forgetting^age. A direction that nothing excites would grow
    without bound; a step therefore forgets nothing while trace(P) is above the prior's.

    Not thread-safe: `learn` changes the arrays that `predict` reads."""

    def __init__(self, width: int, action_width: int, *, forgetting: float = 1.0, ridge: float = RIDGE) -> None:
        """`width` D ≥ 1, `action_width` A ≥ 0. Raises ShapeError when 1 + D + A passes `MAX_FEATURES`."""
        if width < 1 or action_width < 0:
            raise ShapeError(f"a linear model needs width ≥ 1 and action_width ≥ 0, not {width} and {action_width}")
        features = 1 + width + action_width
        if features > MAX_FEATURES:
            raise ShapeError(
                f"{width} observed and {action_width} action dimensions make {features} features; the linear "
                f"model takes at most {MAX_FEATURES}. Observe fewer dimensions or run without a world model"
            )
        if not 0 < forgetting <= 1 or not 0 < ridge < math.inf:
            raise ValueError(f"forgetting must be in (0, 1] and ridge positive, not {forgetting} and {ridge}")
        self.width = width
        self.action_width = action_width
        self.model_id: ModelId = MODEL_ID
        self._forgetting = forgetting
        self._ridge = ridge
        self._prior_trace = features / ridge
        self._weights_DF = np.zeros((width, features))
        self._root_FF = np.eye(features) / math.sqrt(ridge)
        self._squares_D = np.full(width, PRIOR_COUNT * PRIOR_VARIANCE)
        self._weight = 0.0
        self._freedom = 0.0
        self._mean_feature_F = np.zeros(features)
        self._mean_feature_F[0] = 1.0
        self._changes_D = np.zeros(width)
        self._transitions = 0

    @property
    def transitions(self) -> int:
        """How many transitions were learnt."""
        return self._transitions

    @property
    def spread(self) -> float:
        """Root mean predictive variance over the dimensions at the mean feature: observation units, > 0."""
        return math.sqrt(float(self._residual_variance().mean()) * (1 + self._leverage(self._mean_feature_F)))

    def arrays(self) -> dict[str, Vector]:
        """Copies of all that it predicts and learns from; `from_arrays` makes of them a model that predicts the
        same bits. What `change_D` counts is not among them."""
        counts = [self._forgetting, self._ridge, self._weight, self._freedom, self._transitions]
        return {
            "weights": self._weights_DF.copy(),
            "root": self._root_FF.copy(),
            "squares": self._squares_D.copy(),
            "mean_feature": self._mean_feature_F.copy(),
            "counts": np.array(counts, dtype=np.float64),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Vector], *, width: int, action_width: int) -> LinearModel:
        """Raises ShapeError where they are not those of a model of these widths."""
        model = cls(width, action_width)
        for name, own in model.arrays().items():
            found = arrays[name].shape if name in arrays else None
            if found != own.shape:
                raise ShapeError(f"a linear model of these widths has {name} of shape {own.shape}; found {found}")
        model._weights_DF = arrays["weights"].copy()
        model._root_FF = arrays["root"].copy()
        model._squares_D = arrays["squares"].copy()
        model._mean_feature_F = arrays["mean_feature"].copy()
        model._forgetting, model._ridge, model._weight, model._freedom, transitions = map(float, arrays["counts"])
        model._transitions = int(transitions)
        return model

    @property
    def change_D(self) -> Vector:
        """Root mean square of what a transition changed, per dimension: observation units, 0 before the first."""
        return np.sqrt(self._changes_D / max(1, self._transitions))

    def predict(self, x: ArrayLike, u: ArrayLike) -> Prediction:
        """What follows when `u`, shape (A,), is done while `x`, shape (D,), is seen."""
        action = _vector(u, width=self.action_width, name="action")
        many = self.predict_many(x, action[np.newaxis])
        return Prediction(mean=many.mean[0], variance=many.variance[0])

    def predict_many(self, x: ArrayLike, u: ArrayLike) -> Prediction:
        """What follows each candidate of `u`, shape (K, A), from `x`, shape (D,). Raises ShapeError."""
        seen_D = _vector(x, width=self.width, name="observation")
        actions_KA = np.asarray(u, dtype=np.float64)
        if actions_KA.ndim != 2 or actions_KA.shape[1] != self.action_width:
            raise ShapeError(f"candidates have shape {actions_KA.shape}; this model takes (K, {self.action_width})")
        features_KF = np.empty((len(actions_KA), 1 + self.width + self.action_width))
        features_KF[:, 0] = 1.0
        features_KF[:, 1 : 1 + self.width] = seen_D
        features_KF[:, 1 + self.width :] = actions_KA
        leverage_K = np.square(features_KF @ self._root_FF).sum(axis=1)
        return Prediction(
            mean=seen_D + features_KF @ self._weights_DF.T,
            variance=(1 + leverage_K)[:, np.newaxis] * self._residual_variance(),
        )

    def learn(self, x: ArrayLike, u: ArrayLike, y: ArrayLike) -> None:
        """Learns that `y`, shape (D,), followed `u`, shape (A,), done while `x`, shape (D,), was seen.

        Raises ShapeError. All must be finite: environments refuse what is not before it gets here."""
        seen_D = _vector(x, width=self.width, name="observation")
        next_D = _vector(y, width=self.width, name="next observation")
        feature_F = np.concatenate(([1.0], seen_D, _vector(u, width=self.action_width, name="action")))
        assert np.isfinite(feature_F).all(), "what was seen or done is not finite"
        assert np.isfinite(next_D).all(), "what was seen next is not finite"
        self._forget()
        a_F = feature_F @ self._root_FF
        scale = 1 + float(a_F @ a_F)
        gain_F = self._root_FF @ a_F  # Pφ, divided by `scale` below
        innovation_D = next_D - seen_D - self._weights_DF @ feature_F
        self._weights_DF += np.outer(innovation_D / scale, gain_F)
        self._root_FF -= np.outer(gain_F, a_F / (scale + math.sqrt(scale)))
        self._squares_D += np.square(innovation_D) / scale
        self._freedom += 1 - self._ridge * float(gain_F @ gain_F) / scale
        self._weight += 1
        self._mean_feature_F += (feature_F - self._mean_feature_F) / self._weight
        self._changes_D += np.square(next_D - seen_D)
        self._transitions += 1

    def coefficients(self) -> tuple[Vector, Vector]:
        """Copies of W, shape (D, F), and of S with P = S Sᵀ, shape (F, F), as they stand."""
        return self._weights_DF.copy(), self._root_FF.copy()

    def _forget(self) -> None:
        if self._forgetting == 1.0 or float(np.square(self._root_FF).sum()) > self._prior_trace:
            return
        self._root_FF /= math.sqrt(self._forgetting)
        self._squares_D *= self._forgetting
        self._ridge *= self._forgetting
        self._freedom *= self._forgetting
        self._weight *= self._forgetting

    def _leverage(self, feature_F: Vector) -> float:
        """φᵀPφ ≥ 0: how far `feature_F` lies from what was learnt, in units of one transition."""
        a_F = feature_F @ self._root_FF
        return float(a_F @ a_F)

    def _residual_variance(self) -> Vector:
        return np.maximum(self._squares_D / (PRIOR_COUNT + self._freedom), VARIANCE_FLOOR)


def _vector(values: ArrayLike, *, width: int, name: str) -> Vector:
    vector = np.asarray(values, dtype=np.float64)
    if vector.shape != (width,):
        raise ShapeError(f"the {name} has shape {vector.shape}; this model takes ({width},)")
    return vector
