"""Rounds of learning, as the log tells them: a candidate was trained, judged, and promoted or rejected.

Knows the events of `model/NAME` and which moves came after them; knows no model. Invariant: all that a learning goes on
from follows from the log, so one that was cut off is taken up by whoever reads it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from runtime.entry import stream_of_model
from telemetry.events import Recorded, learn
from telemetry.events.values import EventId, ModelId
from telemetry.log import EventLog

Verdict = Literal["promoted", "rejected"]

TELLING = (
    "learn.model_trained",
    "learn.model_evaluated",
    "learn.model_promoted",
    "learn.model_rejected",
    "learn.model_rolled_back",
)


@dataclass(frozen=True, slots=True)
class Round:
    """One candidate. What it was judged against is known from the first look at the pairs on."""

    number: int
    model: ModelId
    trained: EventId
    trained_at: int
    """Position of that event."""
    transitions: int
    """That it was learnt from, of all rounds so far."""
    metrics: dict[str, float]
    stopped: str | None = None
    """Why its training ended before its time."""
    incumbent: ModelId | None = None
    pairs: int = 0
    verdict: Verdict | None = None
    why: str = ""
    decided: EventId | None = None
    decided_at: int = 0
    """Position of the verdict; 0 while there is none."""
    share: float = 1.0
    """Of the sessions that act by it, where it was promoted: below 1 it goes first as a canary."""
    taken_back: bool = False
    """It was promoted, and rolled back since."""


@dataclass(frozen=True, slots=True)
class History:
    rounds: tuple[Round, ...]
    """Those that have their verdict."""
    open: Round | None
    """The latest candidate, while it has none."""
    position: int
    """Of the log as this was read."""

    @property
    def number(self) -> int:
        """Of the round that is under way, or comes next."""
        return len(self.rounds) + 1

    @property
    def since(self) -> int:
        """Position from which the moves of the round under way count: that of the last verdict."""
        return self.rounds[-1].decided_at if self.rounds else 0


def history(log: EventLog, name: str) -> History:
    """What the log says of the rounds of model `name`, as of now."""
    position = log.position()
    told = (event for event in log.read(stream_of_model(name), types=TELLING) if event.position <= position)
    return told_by(told, position=position) if log.head(stream_of_model(name)) else History((), None, position)


def told_by(events: Iterable[Recorded], *, position: int) -> History:
    """The rounds that these events of one model's stream tell. A candidate without a verdict gives way to the next."""
    done: list[Round] = []
    candidate: Round | None = None
    for recorded in events:
        match recorded.event:
            case learn.ModelTrained() as trained:
                candidate = _begun(len(done) + 1, recorded, trained)
            case learn.ModelEvaluated(model=model, incumbent=incumbent, pairs=pairs) if (
                candidate is not None and candidate.model == model
            ):
                candidate = replace(candidate, incumbent=incumbent, pairs=pairs)
            case learn.ModelPromoted() | learn.ModelRejected() as judged if (
                candidate is not None and candidate.model == judged.model
            ):
                done.append(_ended(candidate, recorded, judged))
                candidate = None
            case learn.ModelPromoted(model=model, share=share):
                done = [replace(one, share=share) if one.model == model else one for one in done]
            case learn.ModelRolledBack(model=model):
                done = [replace(one, taken_back=True) if one.model == model else one for one in done]
    return History(tuple(done), candidate, position)


def _begun(number: int, recorded: Recorded, trained: learn.ModelTrained) -> Round:
    transitions, stopped = trained.config.get("transitions", 0), trained.config.get("stopped")
    return Round(
        number=number,
        model=trained.model,
        trained=recorded.id,
        trained_at=recorded.position,
        transitions=transitions if isinstance(transitions, int) else 0,
        metrics=trained.metrics,
        stopped=stopped if isinstance(stopped, str) else None,
    )


def _ended(candidate: Round, recorded: Recorded, judged: learn.ModelPromoted | learn.ModelRejected) -> Round:
    verdict: Verdict = "promoted" if isinstance(judged, learn.ModelPromoted) else "rejected"
    return replace(
        candidate,
        incumbent=judged.incumbent or candidate.incumbent,
        verdict=verdict,
        why=judged.why,
        share=judged.share if isinstance(judged, learn.ModelPromoted) else 1.0,
        decided=recorded.id,
        decided_at=recorded.position,
    )
