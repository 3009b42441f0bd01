"""From a flat observation to a latent: each sense read in its own way, all together mapped by one network.

Knows senses; knows no environment. The statistics that put columns on one scale are part of the model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor, nn

from world_model.jepa.senses import Sense

# N = observations, D = columns of one, F = features, Z = width of a latent

FARTHEST: Final = 10.0
"""Deviations at which a quantity is cut off: what lies farther was never lived, and a network's answer there is no
better for knowing how far."""

CHANNELS: Final = 16
EMBEDDING: Final = 4
"""Of the convolutions and of a code: they train on a processor."""

SMALL: Final = 8
"""Pictures are halved until no side is longer; what is left keeps its places."""

FEW_PLACES: Final = 6
"""A grid with no longer side is read place by place as well. With 7 × 7 the walls of MiniGrid-FourRooms, which nothing
foretells, take the latent from the goal: .03 of the walkers with the partial view reach it (n = 150), and .30 where
only the places of codes are read (n = 100)."""


class Encoder(nn.Module):
    """Three layers over the features of all senses, beside one that is straight: much of a world is nearly linear."""

    def __init__(self, senses: Sequence[Sense], *, hidden: int, latent: int) -> None:
        super().__init__()
        self.senses = tuple(senses)
        width = sum(sense.width for sense in senses)
        self.mean_D: Tensor
        self.scale_D: Tensor
        self.register_buffer("mean_D", torch.zeros(width))
        self.register_buffer("scale_D", torch.ones(width))
        pictures = {
            str(i): (Grid if sense.kind == "grid" else Picture)(sense, features=hidden)
            for i, sense in enumerate(senses)
            if sense.kind in PICTURES
        }
        self.pictures = nn.ModuleDict(pictures)
        features = sum(sense.width for sense in senses if sense.kind not in PICTURES)
        features += sum(picture.width for picture in pictures.values())
        self.trunk = nn.Sequential(
            nn.Linear(features, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, latent)
        )
        self.straight = nn.Linear(features, latent)

    def forward(self, seen_ND: Tensor) -> Tensor:
        normal_ND = self.normal(seen_ND).clamp(-FARTHEST, FARTHEST)
        features: list[Tensor] = []
        first = 0
        for i, sense in enumerate(self.senses):
            columns = slice(first, first + sense.width)
            if sense.kind in PICTURES:
                source_ND = seen_ND if sense.kind == "grid" else normal_ND
                features.append(self.pictures[str(i)](source_ND[:, columns]))
            else:
                features.append(normal_ND[:, columns])
            first += sense.width
        features_NF = torch.cat(features, dim=-1)
        latent_NZ: Tensor = self.straight(features_NF) + self.trunk(features_NF)
        return latent_NZ

    def normal(self, seen_ND: Tensor) -> Tensor:
        """Columns of one scale."""
        return (seen_ND - self.mean_D) / self.scale_D

    def natural(self, normal_ND: Tensor) -> Tensor:
        """The inverse of `normal`."""
        return normal_ND * self.scale_D + self.mean_D


PICTURES: Final = ("image", "grid")


class Picture(nn.Module):
    """Convolutions over an image's brightness, then one affine map that knows places."""

    def __init__(self, sense: Sense, *, features: int) -> None:
        super().__init__()
        self.shape = sense.shape
        self.net, width = _convolutions(*sense.shape)
        self.affine = nn.Linear(width, features)
        self.width = features

    def forward(self, columns_NW: Tensor) -> Tensor:
        picture_NCHW = columns_NW.reshape(len(columns_NW), *self.shape).movedim(-1, 1)
        return nn.functional.silu(self.affine(self.net(picture_NCHW)))


class Grid(nn.Module):
    """Where each code is, in each channel: whether it is there at all, its mean row and its mean column; and up to
    `FEW_PLACES` what stands where, by convolutions over embedded codes. A code that was never lived is as nothing.

    Where things are needs no learning, as in the spatial soft-argmax of Finn et al. (*Deep spatial autoencoders*, ICRA
    2016) with the codes for features. Measured on MiniGrid-FourRooms seen whole (19 × 19 × 3): after 400 steps the
    latent tells the places of walker and goal (R² .9999), and a step costs a fifth of that with convolutions."""

    def __init__(self, sense: Sense, *, features: int) -> None:
        super().__init__()
        height, width, channels = self.shape = sense.shape
        self.codes_V: Tensor
        self.place_P3: Tensor
        self.register_buffer("codes_V", torch.tensor(sense.codes))
        self.register_buffer("place_P3", _places(height, width))
        self.width = 3 * channels * len(sense.codes)
        self.net: nn.Sequential | None = None
        if max(height, width) <= FEW_PLACES:
            self.table_CVE = nn.Parameter(torch.randn(channels, len(sense.codes), EMBEDDING))
            self.net, seen = _convolutions(height, width, channels * EMBEDDING)
            self.affine = nn.Linear(seen, features)
            self.width += features

    def forward(self, columns_NW: Tensor) -> Tensor:
        height, width, channels = self.shape
        hot_NPF = (columns_NW.reshape(-1, height * width, channels, 1) == self.codes_V).to(columns_NW.dtype).flatten(2)
        moment_N3F = self.place_P3.T @ hot_NPF
        count_N1F = moment_N3F[:, :1]
        there_N3F = torch.cat((count_N1F.clamp(max=1), moment_N3F[:, 1:] / count_N1F.clamp(min=1)), dim=1)
        if self.net is None:
            return there_N3F.flatten(1)
        # One product with all channels' tables in a block: the gradient of a look-up costs five times as much.
        embedded_NPE = hot_NPF @ torch.block_diag(*self.table_CVE)  # type: ignore[no-untyped-call]  # torch declares none
        stands_NF = self.net(embedded_NPE.mT.reshape(len(columns_NW), -1, height, width))
        return torch.cat((there_N3F.flatten(1), nn.functional.silu(self.affine(stands_NF))), dim=-1)


def _places(height: int, width: int) -> Tensor:
    """1, row and column of each place, shape (H · W, 3); a thing that may be anywhere has mean 0 and deviation 1."""
    rows, columns = (torch.linspace(-1, 1, side) * 3**0.5 if side > 1 else torch.zeros(1) for side in (height, width))
    row_HW, column_HW = torch.meshgrid(rows, columns, indexing="ij")
    return torch.stack((torch.ones_like(row_HW), row_HW, column_HW), dim=-1).reshape(-1, 3)


def _convolutions(height: int, width: int, channels: int) -> tuple[nn.Sequential, int]:
    """Over pictures (N, C, H, W), halved until no side is longer than `SMALL`; and the width of what comes out."""
    layers: list[nn.Module] = []
    while max(height, width) > SMALL:
        layers += [nn.Conv2d(channels, CHANNELS, 3, stride=2, padding=1), nn.SiLU()]
        height, width, channels = (height + 1) // 2, (width + 1) // 2, CHANNELS
    layers += [nn.Conv2d(channels, CHANNELS, 3, padding=1), nn.SiLU(), nn.Flatten()]
    return nn.Sequential(*layers), height * width * CHANNELS
