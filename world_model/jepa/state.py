"""Where a training stands between two of its steps: all that a later process needs to go on bit for bit.

Knows tensors and numbers and how they lie in files; knows no training. Files are JSON and safetensors: reading them
runs no code."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Final, Literal

import torch
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError
from safetensors import torch as safetensors
from torch import Tensor, nn

from world_model.errors import AlteredCheckpoint

PLACE: Final = "place.json"
TENSORS: Final = "tensors.safetensors"
NETWORK, BEST, OPTIMISER = "network.", "best.", "optimiser."
"""What the names of tensors begin with."""

Stage = Literal["joint", "settling", "ended"]


@dataclass(frozen=True, slots=True)
class Progress:
    """After `step` of `steps` (0 where time decides). `held_out`: the open-loop prediction's squared error on held-out
    sessions, read out, over that of the prediction that nothing changes, in [0, ∞)."""

    step: int
    steps: int
    loss: float
    parts: dict[str, float]
    held_out: float


@dataclass(slots=True)
class Place:
    stage: Stage = "joint"
    number: int = 0
    """Steps that are done, of all stages."""
    before: float = 0.0
    """The share of the whole that was gone when the stage began."""
    done: float = 0.0
    """The share of the stage that is done; from 1 on there is no further step of it."""
    looks: int = 0
    since: int = 0
    """Looks in a row without a gain."""
    narrow: int = 0
    """Looks in a row that found a collapse."""
    whole: bool = True
    """Whether every stage so far was taken to its end."""
    best_step: int = 0
    least: float = math.inf
    elapsed_s: float = 0.0
    progress: list[Progress] = field(default_factory=list)


_PLACE = TypeAdapter(Place)


@dataclass(frozen=True, slots=True)
class State:
    """`tensors`: the network's, the best look's, and the optimiser's moments by the number of the weight."""

    place: Place
    tensors: Mapping[str, Tensor]

    @classmethod
    def of(
        cls,
        place: Place,
        network: nn.Module,
        best: Mapping[str, Tensor] | None,
        optimiser: torch.optim.Optimizer | None,
    ) -> State:
        """A copy, on the processor."""
        moments = optimiser.state_dict()["state"] if optimiser is not None else {}
        tensors = {NETWORK + name: tensor for name, tensor in network.state_dict().items()}
        tensors |= {BEST + name: tensor for name, tensor in (best or {}).items()}
        tensors |= {f"{OPTIMISER}{i}.{name}": tensor for i, state in moments.items() for name, tensor in state.items()}
        copied = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}
        return cls(replace(place, progress=list(place.progress)), copied)

    def of_network(self) -> dict[str, Tensor]:
        return self._named(NETWORK)

    def of_best(self) -> dict[str, Tensor] | None:
        """None before the first good look."""
        return self._named(BEST) or None

    def put_moments(self, optimiser: torch.optim.Optimizer) -> None:
        """Gives the optimiser what it had."""
        moments: dict[int, dict[str, Tensor]] = {}
        for name, tensor in self._named(OPTIMISER).items():
            number, _, kind = name.partition(".")
            moments.setdefault(int(number), {})[kind] = tensor
        optimiser.load_state_dict({"state": moments, "param_groups": optimiser.state_dict()["param_groups"]})

    def files(self) -> dict[str, bytes]:
        return {
            PLACE: json.dumps(asdict(self.place)).encode(),
            TENSORS: safetensors.save(dict(self.tensors)),
        }

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> State:
        """What `files` gave. Raises AlteredCheckpoint."""
        try:
            place = _PLACE.validate_python(json.loads(files[PLACE]))
            return cls(place, safetensors.load(files[TENSORS]))
        except (KeyError, ValueError, ValidationError, SafetensorError) as error:
            raise AlteredCheckpoint(
                f"the state of a training cannot be read: {type(error).__name__}: {error}. Nothing of it is used. "
                "Remove it and train anew"
            ) from error

    def _named(self, start: str) -> dict[str, Tensor]:
        return {name.removeprefix(start): tensor for name, tensor in self.tensors.items() if name.startswith(start)}
