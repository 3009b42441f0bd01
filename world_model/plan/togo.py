"""Decisions until the next reward, as a network reads them from what is foreseen: the cost of worlds without a declared
goal whose every episode looks different, so that no landmark of one says how far the next one's reward is.

Knows outcomes, choices and rewards; knows no environment. Invariant: the model learns nothing from it. Design note 0022
says why it is a network, and what its figures are."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from telemetry.events.values import Value
from world_model.errors import ShapeError
from world_model.experience import Experience
from world_model.plan.cost import Cost, Indifferent
from world_model.plan.forward import Forward
from world_model.plan.landmarks import rewarded

# N = rows, A = choices, Z = belief, G = outcome, H = decisions ahead, B = batch

FADES: Final = 0.93
"""What a reward is worth a decision earlier. What is learnt is worth = FADES^decisions, in (0, 1): a far reward and
none are nearly alike, as they should be, where decisions themselves would have to be cut off somewhere."""

LEAST: Final = 1e-3
"""Worth below which nothing is told apart: 95 decisions."""

ARRIVED: Final = 0.5
"""Decisions below which the reward counts as reached: a course is not charged for what it foresees beyond."""

NEAR: Final = 10
"""Decisions before a reward that are drawn more often."""

SHARES: Final = (0.6, 0.3, 0.1)
"""Of a batch: rows drawn evenly, rows near a reward, rows that were rewarded. Evenly, a batch would hold a reward in
one of six (FourRooms, 3 in 10,000 rows)."""

CORRECTION: Final = 0.65
"""Power of the weights that undo those shares (Schaul et al., *Prioritized experience replay*, ICLR 2016, §3.4). At 0
the rows that cannot be told from rewarded ones count as rewarded: on FourRooms seen whole .02–.08 succeed, at .6–.7
.18–.28 (n = 100 each)."""

TARGET_EVERY: Final = 50
TARGET_SHARE: Final = 0.5
"""The copy that targets are read from comes half-way up so often: 3,000 steps carry a reward 30 decisions back."""

AT_ONCE: Final = 8192


class ToGoSettings(Value):
    """Sizes and length of the training."""

    hidden: int = 128
    steps: int = 3000
    batch: int = 384
    learning_rate: float = 1e-3
    weight_decay: float = 1e-3


class ToGo:
    """A cost: outcomes along courses, (…, H, G), to decisions, (…, H)."""

    def __init__(self, network: nn.Sequential, centre_G: Tensor, spread_G: Tensor) -> None:
        self._network = network.eval().requires_grad_(requires_grad=False)
        self._centre_G = centre_G
        self._spread_G = spread_G

    def __call__(self, outcome: Tensor) -> Tensor:
        worth = torch.sigmoid(self._network((outcome - self._centre_G) / self._spread_G)[..., 0]).clamp(min=LEAST)
        decisions = torch.log(worth) / math.log(FADES)
        if outcome.dim() < 2:
            return decisions
        before = (decisions < ARRIVED).cumsum(dim=-1) - (decisions < ARRIVED).long()
        return torch.where(before > 0, 0.0, decisions)


def to_go(
    forward: Forward,
    belief_NZ: NDArray[np.float32],
    experience: Experience,
    settings: ToGoSettings | None = None,
    *,
    seed: int,
) -> Cost:
    """Learnt from what was lived, whose beliefs are `belief_NZ`; indifference where nothing stands out as rewarded.

    Fitted Q iteration (Ernst et al., *Tree-based batch mode reinforcement learning*, JMLR 6, 2005) with the double
    estimate of van Hasselt et al. (AAAI 2016), where the value of a choice is read from the outcome that the model
    foresees after it: worth(f(z, a)) ← 1 where the row was rewarded, else FADES · max over a' of worth(f(z', a')).
    Planning reads the same kind of outcome, so the model's errors of one decision are learnt from, not met.

    Raises ShapeError for controls that are not choices, or beliefs that are not one a row."""
    controls = experience.layout.controls
    if controls.kind != "discrete":
        raise ShapeError("decisions to go are learnt over choices; box controls have landmarks")
    if len(belief_NZ) != len(experience):
        raise ShapeError(f"{len(belief_NZ)} beliefs of {len(experience)} rows; one for each is needed")
    arrived = rewarded(experience)
    if not len(arrived):
        return Indifferent()
    lesson = _Lesson.of(experience, arrived - 1, _foreseen(forward, belief_NZ, controls.width), seed=seed)
    return _learnt(lesson, settings or ToGoSettings(), seed=seed)


@dataclass(frozen=True, slots=True)
class _Lesson:
    foreseen_NAG: Tensor
    done_N: Tensor
    rewarded_N: Tensor
    pools: tuple[NDArray[np.int64], ...]
    """Rows to draw from, as `SHARES`."""
    weight_N: Tensor

    @classmethod
    def of(cls, experience: Experience, hits: NDArray[np.int64], foreseen_NAG: Tensor, *, seed: int) -> _Lesson:
        rows = np.flatnonzero(experience.steps_N)
        near = np.unique((hits[:, None] - np.arange(NEAR + 1)).ravel())
        pools = (rows, near[np.isin(near, rows)], hits)
        drawn_N = np.zeros(len(experience))
        for pool, share in zip(pools, SHARES, strict=True):
            drawn_N[pool] += share / len(pool)
        weight_N = np.zeros(len(experience))
        weight_N[rows] = (1 / len(rows) / drawn_N[rows]) ** CORRECTION
        return cls(
            foreseen_NAG=foreseen_NAG,
            done_N=torch.from_numpy(experience.done_NA.argmax(axis=1)),
            rewarded_N=torch.from_numpy(np.isin(np.arange(len(experience)), hits)),
            pools=pools,
            weight_N=torch.from_numpy(weight_N.astype(np.float32)),
        )

    def batch(self, size: int, noise: np.random.Generator) -> Tensor:
        counts = [max(1, round(size * share)) for share in SHARES]
        drawn = [pool[noise.integers(len(pool), size=n)] for pool, n in zip(self.pools, counts, strict=True)]
        return torch.from_numpy(np.concatenate(drawn))


def _foreseen(forward: Forward, belief_NZ: NDArray[np.float32], choices: int) -> Tensor:
    """The outcome of each choice at each row, shape (N, A, G)."""
    each_1A1A = torch.eye(choices)[None, :, None]
    pieces = []
    with torch.inference_mode():
        for first in range(0, len(belief_NZ), AT_ONCE):
            start_BZ = torch.from_numpy(belief_NZ[first : first + AT_ONCE])
            foreseen = forward.rollout(start_BZ, each_1A1A.expand(len(start_BZ), -1, -1, -1))
            pieces.append(foreseen.outcome_BNHG[:, :, 0])
    return torch.cat(pieces).clone()


def _learnt(lesson: _Lesson, settings: ToGoSettings, *, seed: int) -> ToGo:
    noise = np.random.default_rng((seed, 0x7060))
    flat_XG = lesson.foreseen_NAG.flatten(0, 1)
    spread_G, centre_G = torch.std_mean(flat_XG, dim=0)
    scaled_NAG = (lesson.foreseen_NAG - centre_G) / spread_G.clamp(min=1e-6)
    network = _network(scaled_NAG.shape[-1], settings.hidden, seed=seed)
    target = copy.deepcopy(network)
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
    )
    for step in range(settings.steps):
        rows_B = lesson.batch(settings.batch, noise)
        with torch.no_grad():
            after_BAG = scaled_NAG[rows_B + 1]
            best_B1 = network(after_BAG)[..., 0].argmax(dim=1, keepdim=True)
            worth_B = torch.sigmoid(target(after_BAG)[..., 0].gather(1, best_B1))[:, 0]
            wanted_B = torch.where(lesson.rewarded_N[rows_B], 1.0, FADES * worth_B)
        found_B = network(scaled_NAG[rows_B, lesson.done_N[rows_B]])[:, 0]
        loss_B = nn.functional.binary_cross_entropy_with_logits(found_B, wanted_B, reduction="none")
        loss = (loss_B * lesson.weight_N[rows_B]).sum() / lesson.weight_N[rows_B].sum()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch declares none
        optimiser.step()
        if step % TARGET_EVERY == TARGET_EVERY - 1:
            _approach(target, network)
    return ToGo(network, centre_G, spread_G.clamp(min=1e-6))


def _approach(target: nn.Module, network: nn.Module) -> None:
    with torch.no_grad():
        for behind, ahead in zip(target.parameters(), network.parameters(), strict=True):
            behind.lerp_(ahead, TARGET_SHARE)


def _network(inputs: int, hidden: int, *, seed: int) -> nn.Sequential:
    """Its weights depend on the seed alone; it begins by believing that a reward is far."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        last = nn.Linear(hidden, 1)
        nn.init.constant_(last.bias, -3.0)
        return nn.Sequential(nn.Linear(inputs, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU(), last)
