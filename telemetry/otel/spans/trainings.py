"""Trainings of models: from the first look at held-out sessions to the model that came of it.

Knows the stream of a model and the names of trainings on it. Invariant: where it begins to look changes no span."""

from __future__ import annotations

from typing import Final

from telemetry.events import Recorded
from telemetry.otel.span import Span
from telemetry.otel.spans.about import body_of
from telemetry.otel.spans.drawing import Tools
from telemetry.otel.spans.references import GONE, History
from telemetry.otel.spans.traces import training_span

PROGRESSED: Final = "learn.training_progressed"
TRAINED: Final = "learn.model_trained"

MOST_OPEN: Final = 256
"""Trainings whose looks are kept at once; a training that was given up never ends. Of others they are read back."""


class Trainings:
    """Those of all models."""

    def __init__(self, history: History, tools: Tools) -> None:
        self._history = history
        self._tools = tools
        self._open: dict[tuple[str, str], list[Recorded]] = {}

    def holds(self, event: Recorded) -> bool:
        """Whether the event is of a training."""
        return event.type == PROGRESSED or event.type == TRAINED

    def see(self, event: Recorded) -> list[Span]:
        """The span of the training that the event ends."""
        key = (event.stream, _run(event))
        looks = self._open.pop(key, None)
        if looks is None:
            looks = self._looks(event, key[1])
        looks.append(event)
        if event.type == TRAINED:
            return [training_span(looks, tools=self._tools)]
        if len(self._open) >= MOST_OPEN:
            del self._open[next(iter(self._open))]
        self._open[key] = looks
        return []

    def unfinished(self, stream: str) -> list[Span]:
        """Those of the model that did not end yet."""
        return [
            training_span(looks, tools=self._tools, unfinished=True)
            for (of, _), looks in self._open.items()
            if of == stream
        ]

    def _looks(self, event: Recorded, run: str) -> list[Recorded]:
        """Those of the same training before `event`."""
        if event.version == 1:
            return []
        try:
            earlier = self._history.read(event.stream, to=event.version - 1, types=(PROGRESSED,))
            return [look for look in earlier if _run(look) == run]
        except GONE:
            return []


def _run(event: Recorded) -> str:
    """The training's name: a model's entry stands under a command that ends with it."""
    if event.type == TRAINED:
        return event.command.partition(".")[2]
    return str((body_of(event) or {}).get("run", ""))
