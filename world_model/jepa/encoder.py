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
"""Of the convolutions and of a code: a 7 × 7 × 3 grid costs 0.2 Mflop, so that it trains on a processor."""

SMALL: Final = 8
"""Pictures are halved until no side is longer; what is left keeps its places."""


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
        self.pictures = nn.ModuleDict(
            {str(i): Picture(sense, features=hidden) for i, sense in enumerate(senses) if sense.kind in PICTURES}
        )
        features = sum(hidden if sense.kind in PICTURES else sense.width for sense in senses)
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
    """Convolutions over an image's brightness or a grid's embedded codes, then one affine map that knows places."""

    def __init__(self, sense: Sense, *, features: int) -> None:
        super().__init__()
        self.shape = sense.shape
        height, width, channels = sense.shape
        self.codes_V: Tensor
        self.embedding: nn.Embedding | None = None
        if sense.kind == "grid":
            self.register_buffer("codes_V", torch.tensor(sense.codes))
            self.embedding = nn.Embedding(channels * (len(sense.codes) + 1), EMBEDDING)
            channels *= EMBEDDING
        layers: list[nn.Module] = []
        while max(height, width) > SMALL:
            layers += [nn.Conv2d(channels, CHANNELS, 3, stride=2, padding=1), nn.SiLU()]
            height, width, channels = (height + 1) // 2, (width + 1) // 2, CHANNELS
        layers += [nn.Conv2d(channels, CHANNELS, 3, padding=1), nn.SiLU(), nn.Flatten()]
        self.net = nn.Sequential(*layers, nn.Linear(height * width * CHANNELS, features), nn.SiLU())

    def forward(self, columns_NW: Tensor) -> Tensor:
        picture_NHWC = columns_NW.reshape(len(columns_NW), *self.shape)
        if self.embedding is not None:
            picture_NHWC = self._embedded(picture_NHWC)
        features_NF: Tensor = self.net(picture_NHWC.movedim(-1, 1))
        return features_NF

    def _embedded(self, codes_NHWC: Tensor) -> Tensor:
        """Each code's row; a code that was never lived has one of its own in each channel."""
        assert self.embedding is not None
        known = len(self.codes_V)
        index_NHWC = torch.searchsorted(self.codes_V, codes_NHWC.contiguous()).clamp(max=known - 1)
        index_NHWC = torch.where(self.codes_V[index_NHWC] == codes_NHWC, index_NHWC, known)
        index_NHWC = index_NHWC + torch.arange(self.shape[2], device=codes_NHWC.device) * (known + 1)
        embedded: Tensor = self.embedding(index_NHWC)
        return embedded.flatten(-2)
