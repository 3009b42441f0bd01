"""A linear model that was learnt from a whole log and changes no more: what a trained model is measured against, and
one itself where nothing better is to be had.

Knows `LinearModel`; what it believes is the flat observation. Invariant: learnt from the same transitions in the same
order, it predicts what a session's own linear model would."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from telemetry.events.values import ModelId, Value
from world_model.errors import ShapeError, TooFewTransitions
from world_model.experience import Experience, check_finite, check_rows
from world_model.jepa.model import content_hash
from world_model.layout import Layout
from world_model.linear import LinearModel, Prediction
from world_model.plan.forward import Rollout
from world_model.plan.linear_forward import LinearForward

# N = rows, T = steps, K = history or candidates, D = columns seen = latent, A = controls, G = goal

FEWEST = 2
"""Transitions for each feature: with fewer the ridge decides, not what was lived."""

TOLD_EVERY = 256
"""Transitions between two words of progress: some 10 ms."""


class LinearAnatomy(Value):
    """All of it but its arrays."""

    kind: Literal["linear"]
    layout: Layout


class FrozenLinear:
    """Has the face of `Jepa`, so that sessions, planners and figures need not know which of them they have.

    `centre_D` and `spread_D`: of the observations that were learnt from; a column that never moved has spread 1."""

    history = 1

    def __init__(
        self,
        model: LinearModel,
        layout: Layout,
        *,
        centre_D: NDArray[np.float64],
        spread_D: NDArray[np.float64],
        name: str = "linear",
        digest: str | None = None,
    ) -> None:
        """`digest` where the model is part of something larger that was hashed as a whole."""
        self.anatomy = LinearAnatomy(kind="linear", layout=layout)
        self.layout = layout
        self.linear = model
        self.centre_D = centre_D
        self.spread_D = spread_D
        self.model_id: ModelId = f"{name}@{(digest or content_hash(self.anatomy, self.arrays()))[:12]}"
        self._forward = LinearForward(model, layout, centre=centre_D, spread=spread_D)

    @property
    def spread(self) -> float:
        """As `LinearModel.spread`."""
        return self.linear.spread

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """All that it is: what a checkpoint stores."""
        return {**self.linear.arrays(), "centre": self.centre_D, "spread": self.spread_D}

    @classmethod
    def from_arrays(
        cls, layout: Layout, arrays: Mapping[str, NDArray[np.generic]], *, name: str, digest: str
    ) -> FrozenLinear:
        """Raises ShapeError where they are not those of a linear model of this layout."""
        doubles = {key: np.asarray(value, dtype=np.float64) for key, value in arrays.items()}
        model = LinearModel.from_arrays(doubles, width=layout.width, action_width=layout.controls.width)
        for key in ("centre", "spread"):
            found = doubles[key].shape if key in doubles else None
            if found != (layout.width,):
                raise ShapeError(f"a linear model of these spaces has {key} of shape {(layout.width,)}; found {found}")
        return cls(model, layout, centre_D=doubles["centre"], spread_D=doubles["spread"], name=name, digest=digest)

    def believe(self, seen_KD: NDArray[np.floating], done_KA: NDArray[np.floating]) -> NDArray[np.float32]:
        """The last observation. `done_KA` is not looked at."""
        check_rows(self.layout, seen_KD, done_KA)
        return np.asarray(seen_KD[-1], dtype=np.float32)

    def encode(self, seen_NTD: NDArray[np.floating], done_NTA: NDArray[np.floating]) -> NDArray[np.float32]:
        check_rows(self.layout, seen_NTD, done_NTA)
        return np.asarray(seen_NTD, dtype=np.float32)

    def beliefs(self, experience: Experience) -> NDArray[np.float32]:
        return experience.seen_ND

    def read(self, latent: NDArray[np.floating]) -> NDArray[np.float32]:
        """The flat observation that latents stand for, which they are, shape (…, D)."""
        return np.asarray(latent, dtype=np.float32)

    def goal(self, latent: NDArray[np.floating]) -> NDArray[np.float32]:
        """The achieved goal, shape (…, G). ShapeError where there is none."""
        if not self.layout.goal:
            raise ShapeError(f"{self.layout.describe()} has no achieved goal")
        return np.asarray(latent[..., -self.layout.goal :], dtype=np.float32)

    def outcome(self, latent: NDArray[np.floating]) -> NDArray[np.float32]:
        """The achieved goal, or the standardised observation where the layout has none."""
        if self.layout.goal:
            return self.goal(latent)
        return np.asarray((latent - self.centre_D) / self.spread_D, dtype=np.float32)

    def outcomes(self, experience: Experience) -> NDArray[np.float32]:
        return self.outcome(experience.seen_ND)

    def predict(self, belief_Z: NDArray[np.floating], controls_KA: NDArray[np.floating]) -> Prediction:
        """As `LinearModel.predict_many`."""
        return self.linear.predict_many(belief_Z, controls_KA)

    def rollout(self, start_BZ: Tensor, controls_BNHA: Tensor) -> Rollout:
        return self._forward.rollout(start_BZ, controls_BNHA)


Told = Callable[[int], None]
"""Is told how many transitions are learnt."""


def learn_linear(
    experience: Experience,
    *,
    name: str = "linear",
    told: Told = lambda _: None,
    stop: Callable[[], bool] = lambda: False,
) -> FrozenLinear:
    """A linear model of every transition, in the order in which they were lived, up to where `stop` says so.

    Raises TooFewTransitions, LossNotFinite where the data is not, and ShapeError for more columns than it takes."""
    layout = experience.layout
    model = LinearModel(layout.width, layout.controls.width)
    begins = np.flatnonzero(experience.steps_N)
    needed = FEWEST * (1 + layout.width + layout.controls.width)
    if len(begins) < needed:
        raise TooFewTransitions(
            f"there are {len(begins)} transitions to learn from; a linear model of these spaces needs at least "
            f"{needed}. Run more cycles of this environment, then train again",
            found=len(begins),
            needed=needed,
        )
    check_finite(experience)
    seen_ND, done_NA = experience.seen_ND.astype(np.float64), experience.done_NA.astype(np.float64)
    for count, row in enumerate(begins, start=1):
        model.learn(seen_ND[row], done_NA[row], seen_ND[row + 1])
        if count % TOLD_EVERY == 0:
            told(count)
            if stop():
                break
    told(model.transitions)
    spread_D = seen_ND.std(axis=0)
    return FrozenLinear(
        model,
        layout,
        centre_D=seen_ND.mean(axis=0),
        spread_D=np.where(spread_D > 0, spread_D, 1.0),
        name=name,
    )
