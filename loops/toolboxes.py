"""The toolboxes of the sessions that one process serves. What they change lies outside, so none is ever rebuilt."""

from __future__ import annotations

import threading
from collections.abc import Callable

from loops.context import Context
from loops.ports import Toolbox
from loops.spaces import Spaces
from telemetry.otel.context import under_cycle

MakeToolbox = Callable[[str, str | None], Toolbox]
"""Makes the toolbox of a session's stream and person."""


class Toolboxes:
    def __init__(self, make: MakeToolbox) -> None:
        self._make = make
        self._toolboxes: dict[str, Toolbox] = {}
        self._making: dict[str, threading.Lock] = {}

    def describe(self, stream: str, person: str | None) -> Spaces:
        """What the session may call."""
        return self._toolbox(stream, person).spaces

    def of(self, context: Context) -> Toolbox:
        return self._toolbox(context.stream, context.scene.person)

    def close(self, stream: str) -> None:
        self._making.pop(stream, None)
        toolbox = self._toolboxes.pop(stream, None)
        if toolbox is not None:
            toolbox.close()

    def _toolbox(self, stream: str, person: str | None) -> Toolbox:
        # Calls of one decision are made at once, each in a thread.
        with self._making.setdefault(stream, threading.Lock()):
            if stream not in self._toolboxes:
                with under_cycle(stream, cycle=0):
                    self._toolboxes[stream] = self._make(stream, person)
            return self._toolboxes[stream]
