"""A trained model as sessions use it: weights that no longer change, and what they say.

numpy in and out, but for `rollout`, which a planner calls with tensors. Knows observations and controls in their own
units; knows no log. Not for threads that share one: nothing is changed, but torch's own threads are."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import JsonValue
from torch import Tensor

from telemetry.events.values import ModelId, Value, canonical_json
from world_model.errors import ShapeError
from world_model.experience import Experience, check_rows
from world_model.jepa.config import JepaConfig
from world_model.jepa.lived import AT_ONCE, beliefs_of
from world_model.jepa.network import Network
from world_model.jepa.senses import Sense
from world_model.layout import Layout
from world_model.linear import VARIANCE_FLOOR, Prediction
from world_model.plan.forward import Rollout

# N = sequences or rows, T = steps, K = history or candidates, D = columns seen, A = controls, Z = latent, G = goal,
# E = heads, B = sessions, H = decisions ahead

COPY_SHARE: Final = 0.01
"""A predicted variance is never below this share of the copy baseline's: one that claims more than a hundredfold gain
over 'nothing changes' rests on too few held-out transitions to be believed, and its surprises would drown others'."""


class Anatomy(Value):
    """All of a model but its tensors."""

    layout: Layout
    senses: tuple[Sense, ...]
    config: JepaConfig


class Jepa:
    """Frozen weights and statistics. `model_id` is `name@` and 12 digits of the hash of its anatomy and tensors."""

    def __init__(self, anatomy: Anatomy, network: Network, *, name: str = "jepa", digest: str | None = None) -> None:
        """`digest` where the model is part of something larger that was hashed as a whole."""
        self.anatomy = anatomy
        self.layout = anatomy.layout
        self.config = anatomy.config
        self.history = anatomy.config.history
        self.network = network.eval().requires_grad_(requires_grad=False)
        self.model_id: ModelId = f"{name}@{(digest or content_hash(anatomy, self.arrays()))[:12]}"
        variance_D = self._least_variance().mean()
        self.spread = math.sqrt(float(variance_D))
        """Root mean predictive variance over the columns one step ahead, heads agreeing: observation units, > 0."""

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Every weight and statistic by name: what a checkpoint stores."""
        return {name: tensor.numpy() for name, tensor in self.network.state_dict().items()}

    def believe(self, seen_KD: NDArray[np.floating], done_KA: NDArray[np.floating]) -> NDArray[np.float32]:
        """The belief after the last rows of an episode, shape (Z,), from at most `history` of them.

        `done_KA` is what was done after each; the last of it is not looked at, for it is not done yet."""
        check_rows(self.layout, seen_KD, done_KA)
        rows = min(len(seen_KD), self.history)
        seen_1KD, done_1KA = _tensor(seen_KD[-rows:])[None], _tensor(done_KA[-rows:])[None]
        latent_1TZ = self._beliefs(seen_1KD, done_1KA)
        return _array(latent_1TZ[0, -1])

    def encode(self, seen_NTD: NDArray[np.floating], done_NTA: NDArray[np.floating]) -> NDArray[np.float32]:
        """The belief at each row of sequences that each begin an episode, shape (N, T, Z)."""
        check_rows(self.layout, seen_NTD, done_NTA)
        step = max(1, AT_ONCE // max(1, seen_NTD.shape[1]))
        pieces = [
            self._beliefs(_tensor(seen_NTD[i : i + step]), _tensor(done_NTA[i : i + step]))
            for i in range(0, len(seen_NTD), step)
        ]
        return _array(torch.cat(pieces))

    def beliefs(self, experience: Experience) -> NDArray[np.float32]:
        """The belief at each row of what was lived, shape (N, Z)."""
        return _array(beliefs_of(self.network, experience))

    def read(self, latent: NDArray[np.floating]) -> NDArray[np.float32]:
        """The flat observation that latents stand for, in its own units, shape (…, D)."""
        with torch.no_grad():
            return _array(self.network.encoder.natural(self.network.read(_tensor(latent))))

    def goal(self, latent: NDArray[np.floating]) -> NDArray[np.float32]:
        """The achieved goal that latents stand for, in its own units, shape (…, G). ShapeError where there is none."""
        if not self.layout.goal:
            raise ShapeError(f"{self.layout.describe()} has no achieved goal")
        with torch.no_grad():
            return _array(self.network.achieved(_tensor(latent)))

    def outcome(self, latent: NDArray[np.floating]) -> NDArray[np.float32]:
        """Where a latent is in outcome space: its achieved goal, or itself where the layout has none."""
        return self.goal(latent) if self.layout.goal else np.asarray(latent, dtype=np.float32)

    def outcomes(self, experience: Experience) -> NDArray[np.float32]:
        """Where each row of what was lived is in outcome space: the achieved goal that was seen, or the belief."""
        return experience.seen_ND[:, -self.layout.goal :] if self.layout.goal else self.beliefs(experience)

    def predict(self, belief_Z: NDArray[np.floating], controls_KA: NDArray[np.floating]) -> Prediction:
        """What is seen next after each of K controls, shape (K, D), from what is believed.

        The variance is that of the heads, each read out, and the held-out mean squared error of the column; never
        below `COPY_SHARE` of the copy baseline's nor `VARIANCE_FLOOR`."""
        belief = _tensor(belief_Z)
        if belief.shape != (self.config.latent,) or controls_KA.shape[1:] != (self.layout.controls.width,):
            raise ShapeError(
                f"belief {tuple(belief.shape)} and controls {controls_KA.shape}; this model takes "
                f"({self.config.latent},) and (K, {self.layout.controls.width})"
            )
        with torch.no_grad():
            start = belief.expand(len(controls_KA), -1)
            latent_EKZ = self.network.foresee(start, _tensor(controls_KA)[:, None])[0]
            heads_EKD = self.network.encoder.natural(self.network.read(latent_EKZ)).double()
            mean_KD = self.network.encoder.natural(self.network.read(latent_EKZ.mean(dim=0))).double()
        variance_KD = heads_EKD.var(dim=0, correction=0).numpy() + self._least_variance()
        return Prediction(mean=mean_KD.numpy(), variance=variance_KD)

    @torch.no_grad()
    def rollout(self, start_BZ: Tensor, controls_BNHA: Tensor) -> Rollout:
        """Each head goes on from its own latents; see `plan.forward.Forward`."""
        b, n, h, a = controls_BNHA.shape
        start = start_BZ[:, None].expand(b, n, -1).reshape(b * n, -1)
        latent_HEXZ = self.network.foresee(start, controls_BNHA.reshape(b * n, h, a))
        variance_HXZ, mean_HXZ = torch.var_mean(latent_HEXZ, dim=1, correction=0)
        gain_HX = 0.5 * torch.log1p(variance_HXZ / self.network.latent_noise_Z).sum(dim=-1)
        outcome_HXG = self.network.achieved(mean_HXZ) if self.layout.goal else mean_HXZ
        return Rollout(
            outcome_BNHG=outcome_HXG.movedim(0, 1).reshape(b, n, h, -1),
            epistemic_BNH=gain_HX.T.reshape(b, n, h),
            latent_BNHZ=mean_HXZ.movedim(0, 1).reshape(b, n, h, -1),
        )

    def _beliefs(self, seen_NTD: Tensor, done_NTA: Tensor) -> Tensor:
        """Sequences of at least one row, with nothing before them."""
        before = self.history - 1
        present = torch.ones(seen_NTD.shape[:2], dtype=torch.bool)
        if before:
            seen_NTD = torch.cat((seen_NTD[:, :1].expand(-1, before, -1), seen_NTD), dim=1)
            done_NTA = torch.cat((done_NTA[:, :1].expand(-1, before, -1), done_NTA), dim=1)
            present = torch.cat((torch.zeros(len(present), before, dtype=torch.bool), present), dim=1)
        with torch.no_grad():
            return self.network.beliefs(seen_NTD, done_NTA, present)

    def _least_variance(self) -> NDArray[np.float64]:
        residual_D = self.network.residual_D.double().numpy()
        copy_D = self.network.copy_D.double().numpy()
        least_D: NDArray[np.float64] = np.maximum(np.maximum(residual_D, COPY_SHARE * copy_D), VARIANCE_FLOOR)
        return least_D


def content_hash(anatomy: Value, arrays: Mapping[str, NDArray[np.generic]]) -> str:
    """SHA-256 over the canonical anatomy, all of it, and each array by name, type, shape and little-endian bytes."""
    described: JsonValue = anatomy.model_dump(mode="json")
    sha = hashlib.sha256(canonical_json(described).encode())
    for name in sorted(arrays):
        values = np.ascontiguousarray(arrays[name])
        head = canonical_json([name, str(values.dtype), list(values.shape)]).encode()
        body = values.astype(values.dtype.newbyteorder("<")).tobytes()
        for piece in (head, body):
            sha.update(len(piece).to_bytes(8, "big"))
            sha.update(piece)
    return sha.hexdigest()


def _tensor(values: NDArray[np.floating]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))


def _array(values: Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = values.numpy()
    return array
