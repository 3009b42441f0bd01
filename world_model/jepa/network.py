"""The weights and statistics of a model, and the maps they define: belief, prediction, readout and goal.

Knows tensors; knows no data and no training. Everything that a checkpoint must hold is a parameter or a buffer here."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from world_model.jepa.config import JepaConfig
from world_model.jepa.encoder import Encoder
from world_model.jepa.predictor import Predictor
from world_model.jepa.senses import Sense
from world_model.layout import Layout

# B = batch, T = steps, K = history, D = columns seen, A = controls, Z = latent, E = heads, G = goal, N = items


class Imagined(NamedTuple):
    """What a network makes of sequences of T + 1 steps and the K − 1 before them."""

    belief_BTZ: Tensor
    """At each step, T + 1 of them."""
    foreseen_TEBZ: Tensor
    """By each head from the first belief and the controls alone, after each of T steps."""
    read_BD: Tensor
    """Read out of the first belief, which learns nothing from it."""
    read_ahead_BTD: Tensor
    """Read out of the mean of what is foreseen, which learns nothing from it."""


class Network(nn.Module):
    def __init__(self, layout: Layout, senses: tuple[Sense, ...], config: JepaConfig) -> None:
        super().__init__()
        self.history = config.history
        self.heads = config.heads
        self.goal_width = layout.goal
        controls, width = layout.controls.width, layout.width
        self.encoder = Encoder(senses, hidden=config.hidden, latent=config.latent)
        self.predictor = Predictor(config.latent, controls, hidden=config.hidden, heads=config.heads)
        self.readout = Head(config.latent, config.hidden, width - layout.goal)
        self.goal = Head(config.latent, config.hidden, layout.goal) if layout.goal else None
        self.memory = nn.GRUCell(config.latent + controls, config.hidden) if config.history > 1 else None
        self.recalled = nn.Linear(config.hidden, config.latent) if config.history > 1 else None
        self._statistics(width, controls, config.latent)

    def _statistics(self, width: int, controls: int, latent: int) -> None:
        self.control_mean_A: Tensor
        self.control_scale_A: Tensor
        self.latent_noise_Z: Tensor
        self.residual_D: Tensor
        self.copy_D: Tensor
        self.register_buffer("control_mean_A", torch.zeros(controls))
        self.register_buffer("control_scale_A", torch.ones(controls))
        self.register_buffer("latent_noise_Z", torch.ones(latent))
        """σ²: held-out residual variance of a latent column, one step ahead."""
        self.register_buffer("residual_D", torch.ones(width))
        """Held-out mean squared error of what is read out one step ahead, in squared observation units."""
        self.register_buffer("copy_D", torch.ones(width))
        """The same of the prediction that nothing changes."""

    def forward(self, seen_BWD: Tensor, done_BWA: Tensor, present_BW: Tensor) -> Imagined:
        """W = K + T rows: the history of the first belief, its row, and T that follow."""
        return self.imagine(self.beliefs(seen_BWD, done_BWA, present_BW), done_BWA[:, self.history - 1 :])

    def imagine(self, belief_BTZ: Tensor, done_BTA: Tensor) -> Imagined:
        """The same from the beliefs at T + 1 rows and what was done after each, the last of it not looked at."""
        foreseen_TEBZ = self.foresee(belief_BTZ[:, 0], done_BTA[:, :-1])
        ahead_BTZ = foreseen_TEBZ.detach().mean(dim=1).transpose(0, 1)
        return Imagined(belief_BTZ, foreseen_TEBZ, self.read(belief_BTZ[:, 0].detach()), self.read(ahead_BTZ))

    def beliefs(self, seen_BWD: Tensor, done_BWA: Tensor, present_BW: Tensor) -> Tensor:
        """The belief at each row from the K-th on, shape (B, W − K + 1, Z), from it and the K − 1 rows before it.

        Rows that are not present are as if they had never been; what was done after a window's last row is not
        looked at."""
        rows, width = seen_BWD.shape[:2]
        encoded_BWZ: Tensor = self.encoder(seen_BWD.flatten(0, 1)).view(rows, width, -1)
        if self.memory is None or self.recalled is None:
            return encoded_BWZ
        count = width - self.history + 1
        before_BWA = torch.zeros_like(done_BWA)
        before_BWA[:, 1:] = self.control(done_BWA[:, :-1]) * present_BW[:, :-1, None]
        hidden = encoded_BWZ.new_zeros(rows * count, self.memory.hidden_size)
        for k in range(self.history):
            part = slice(k, k + count)
            before = before_BWA[:, part] if k else torch.zeros_like(before_BWA[:, part])
            step = torch.cat((encoded_BWZ[:, part], before), dim=-1).flatten(0, 1)
            there = present_BW[:, part].reshape(-1, 1)
            hidden = torch.where(there, self.memory(step, hidden), hidden)
        recalled_BTZ: Tensor = self.recalled(hidden).view(rows, count, -1)
        return encoded_BWZ[:, self.history - 1 :] + recalled_BTZ

    def foresee(self, belief_BZ: Tensor, done_BTA: Tensor) -> Tensor:
        """What each head expects after each step, open loop, shape (T, E, B, Z)."""
        latent_EBZ = belief_BZ.expand(self.heads, *belief_BZ.shape)
        control_BTA = self.control(done_BTA)
        foreseen: list[Tensor] = []
        for t in range(done_BTA.shape[1]):
            latent_EBZ = self.predictor(latent_EBZ, control_BTA[:, t])
            foreseen.append(latent_EBZ)
        return torch.stack(foreseen)

    def read(self, latent_NZ: Tensor) -> Tensor:
        """The flat observation that a latent stands for, on the encoder's scale, the goal in the last columns."""
        seen_ND: Tensor = self.readout(latent_NZ)
        if self.goal is None:
            return seen_ND
        return torch.cat((seen_ND, self.goal(latent_NZ)), dim=-1)

    def achieved(self, latent_NZ: Tensor) -> Tensor:
        """The achieved goal in its own units."""
        assert self.goal is not None, "this layout has no goal"
        normal_NG: Tensor = self.goal(latent_NZ)
        scale_G, mean_G = self.encoder.scale_D[-self.goal_width :], self.encoder.mean_D[-self.goal_width :]
        return normal_NG * scale_G + mean_G

    def control(self, done: Tensor) -> Tensor:
        """Controls of one scale."""
        return (done - self.control_mean_A) / self.control_scale_A


class Head(nn.Module):
    """What a latent stands for: a straight map and one with two hidden layers, added up. One hidden layer read
    PointMaze's place with an error of a seventh of its deviation."""

    def __init__(self, latent: int, hidden: int, width: int) -> None:
        super().__init__()
        self.straight = nn.Linear(latent, width)
        self.bent = nn.Sequential(
            nn.Linear(latent, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, width)
        )

    def forward(self, latent_NZ: Tensor) -> Tensor:
        return torch.add(self.straight(latent_NZ), self.bent(latent_NZ))
