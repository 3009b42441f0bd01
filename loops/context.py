"""What a phase is called with. It crosses processes, so it holds values only."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from loops.randomness import generator
from loops.scene import Scene
from loops.spaces import Spaces
from loops.state import SessionState, apply
from telemetry.events import Event


@dataclass(frozen=True, slots=True)
class Context:
    """One session at one moment of one cycle."""

    stream: str
    state: SessionState
    scene: Scene
    epoch: int = 0
    """Of the owner that calls the phase."""

    @property
    def spaces(self) -> Spaces:
        assert self.scene.spaces is not None, "a session is opened with its spaces before any phase is called"
        return self.scene.spaces

    def after(self, events: Iterable[Event]) -> Context:
        """The context once `events` were recorded; they have no ids yet, which no phase reads."""
        state, scene = self.state, self.scene
        for event in events:
            state, scene = apply(state, event), scene.see("", event)
        return Context(self.stream, state, scene, self.epoch)

    def random(self, phase: str, ordinal: int = 0) -> np.random.Generator:
        """The generator of this session, cycle, phase and ordinal."""
        return generator(self.state.seed, cycle=self.state.cycle, phase=phase, ordinal=ordinal)
