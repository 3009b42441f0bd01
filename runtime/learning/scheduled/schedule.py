"""When a fleet learns by itself: after so many episodes, or when what it sees surprises it more than it did.

Knows the events of sessions and of models; starts nothing. Invariant: whether a training is due follows from the log,
so a run that begins again asks for it at the same event."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean, stdev
from typing import Final, NamedTuple

from runtime.entry import stream_of_model
from runtime.models.registry.succession import WORDS
from runtime.scenario import Schedule
from runtime.sessions import PREFIX, opened
from telemetry.errors import EventsPruned, InvalidEvent
from telemetry.events import Recorded, learn, sense
from telemetry.log import EventLog

TYPES: Final = ("learn.rewarded", "sense.surprised")

MARKS: Final = ("learn.model_trained", *WORDS)
"""After which is counted anew."""

WINDOW: Final = 256
"""Cycles whose surprise is looked at together. With a spread of 1 nat a dimension from cycle to cycle their mean is
known to .06, and a maze's fleet fills one in some seconds."""

TRIMMED: Final = 0.1
"""Share of a window that is left out at either end: one collision can surprise by a hundred nats."""

BATCHES: Final = 8
"""Stretches of a window whose means tell how far its own mean may be off: cycles beside each other are alike, so the
spread from cycle to cycle would promise too much (batch means; Law & Kelton, *Simulation Modeling and Analysis*)."""

SURE: Final = 2.0
"""Standard errors that a rise exceeds before it is one."""


class Mark(NamedTuple):
    """Since when is counted, in positions of the log."""

    episodes: int
    """What the last training had read."""
    surprise: int
    """The last word on models, a training's or a verdict's: with what was promoted then, surprise may be another."""


def mark_of(log: EventLog, name: str) -> Mark:
    """Of the models `name`; the beginning of the log where none was trained."""
    stream = stream_of_model(name)
    if log.head(stream) is None:
        return Mark(0, 0)
    word = next(log.read_back(stream, types=MARKS), None)
    trained = next(log.read_back(stream, types=("learn.model_trained",)), None)
    read = trained.event.to_position if trained and isinstance(trained.event, learn.ModelTrained) else 0
    return Mark(read, 0 if word is None else word.position)


class Sessions:
    """Which streams are sessions of one scenario that may be learnt from: evaluations are not."""

    def __init__(self, log: EventLog, scenario: str) -> None:
        self._log = log
        self._scenario = scenario
        self._known: dict[str, bool] = {}

    def __contains__(self, stream: str) -> bool:
        if stream not in self._known:
            self._known[stream] = stream.startswith(PREFIX) and self._of(stream)
        return self._known[stream]

    def _of(self, stream: str) -> bool:
        try:
            first = opened(self._log, stream)
        except EventsPruned:
            return False
        return first.scenario == self._scenario and first.purpose is None


class Level(NamedTuple):
    """A window's mean without its TRIMMED highest and lowest, and the standard error of that."""

    mean: float
    error: float


def level(nats: Sequence[float]) -> Level:
    """Of a window of WINDOW cycles in their order."""
    size = len(nats) // BATCHES
    batches = [_trimmed(nats[start : start + size]) for start in range(0, size * BATCHES, size)]
    return Level(_trimmed(nats), stdev(batches) / math.sqrt(BATCHES))


def _trimmed(nats: Sequence[float]) -> float:
    left_out = int(len(nats) * TRIMMED)
    return fmean(sorted(nats)[left_out : len(nats) - left_out])


@dataclass(slots=True)
class Tally:
    """Counts what happened since `mark`, event by event in the order of the log. The reference of surprise is the first
    WINDOW cycles after the mark, and what it is held against the latest WINDOW, once the two share no cycle."""

    schedule: Schedule
    mark: Mark
    sessions: Sessions
    position: int = 0
    """Up to where the log was seen."""
    episodes: int = 0
    surprises: int = 0
    first: list[float] = field(default_factory=list)
    latest: deque[float] = field(default_factory=lambda: deque(maxlen=WINDOW))

    def __post_init__(self) -> None:
        self.position = min(self.mark)

    def follow(self, log: EventLog) -> None:
        """Takes in what was committed since."""
        end = log.position()
        for recorded in log.read_all(after=self.position, to=end, types=TYPES):
            self.see(recorded)
        self.position = max(self.position, end)

    def see(self, recorded: Recorded) -> None:
        if recorded.stream not in self.sessions:
            return
        try:
            event = recorded.event
        except InvalidEvent:  # it was erased meanwhile
            return
        match event:
            case learn.Rewarded(ends_episode=True) if recorded.position > self.mark.episodes:
                self.episodes += 1
            case sense.Surprised(nats=nats) if recorded.position > self.mark.surprise:
                self.surprises += 1
                if len(self.first) < WINDOW:
                    self.first.append(nats)
                self.latest.append(nats)

    @property
    def risen(self) -> Level | None:
        """By how many nats a dimension surprise has risen; None while that cannot be said."""
        if self.surprises < 2 * WINDOW:
            return None
        now, then = level(tuple(self.latest)), level(self.first)
        return Level(now.mean - then.mean, math.hypot(now.error, then.error))

    @property
    def due(self) -> str | None:
        """Why a training is due, in words; None where none is."""
        wanted, drift = self.schedule.episodes, self.schedule.drift_nats
        if wanted is not None and self.episodes >= wanted:
            return f"{self.episodes} episodes ended since the last training read the log; {wanted} are asked for"
        if drift is None or (risen := self.risen) is None:
            return None
        if risen.mean >= drift and risen.mean > SURE * risen.error:
            return (
                f"surprise has risen by {risen.mean:.2f} ± {risen.error:.2f} nats a dimension; {drift:g} are asked for"
            )
        return None
