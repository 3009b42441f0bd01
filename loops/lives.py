"""One session after the other, read into the moves that were made and what was seen around them.

Knows which events make a transition; holds one page of one session beside the arrays. Invariant: a transition is
taken once, however many forks share it, and none crosses an episode or an event that cannot be read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from loops.layouts import layout_of
from loops.spaces import Spaces, Vector, flatten
from telemetry.errors import InvalidEvent
from telemetry.events import Event, Recorded, Unknown, execute, sense, session
from telemetry.events.values import EventId
from telemetry.log import EventLog
from world_model.layout import Layout

TYPES = ("sense.observed", "execute.intended", "execute.succeeded")


@dataclass(frozen=True, slots=True)
class Source:
    """A session to learn from, with how it was opened; a fork's is its ancestor's."""

    stream: str
    opened: session.Opened

    @property
    def layout(self) -> Layout | None:
        return layout_of(Spaces.model_validate(self.opened.spaces))

    @property
    def life(self) -> str:
        """Sessions of one life did the same (forks of one, or one scenario and seed twice)."""
        return f"{self.opened.scenario_digest}/{self.opened.seed}"


class Lived(NamedTuple):
    """What was read of one session."""

    stretches: tuple[Stretch, ...]
    end: EventId
    """The last event that was read."""
    unreadable: int
    """Events that were left out with the transitions around them: erased, withheld, or of a later version."""

    @property
    def transitions(self) -> int:
        return sum(len(stretch.seen_ND) - 1 for stretch in self.stretches)


def families(log: EventLog, streams: Sequence[str]) -> list[list[int]]:
    """The places of `streams`, those of one lineage together and in order: what two lineages hold is never shared, so
    each can be read for itself."""
    by_root: dict[str, list[int]] = {}
    for place, stream in enumerate(streams):
        root = stream
        while (origin := log.origin(root)) is not None:
            root = origin.parent
        by_root.setdefault(root, []).append(place)
    return list(by_root.values())


def read_lives(log: EventLog, sources: Sequence[Source], *, to: int) -> Iterator[Lived]:
    """Of each session in order, as of position `to` of the log, what those before it did not bring."""
    counted: set[int] = set()
    for source in sources:
        tracker = _Tracker(Spaces.model_validate(source.opened.spaces), counted)
        end, unreadable = f"{source.stream}@1", 0
        for recorded in log.read(source.stream, types=TYPES):
            if recorded.position > to:
                break
            end = recorded.id
            event = _readable(recorded)
            unreadable += event is None
            tracker.see(recorded.position, event)
        yield Lived(tuple(map(Stretch.of, tracker.lives)), end, unreadable)


def _readable(recorded: Recorded) -> Event | None:
    try:
        event = recorded.event
    except InvalidEvent:
        return None
    return None if isinstance(event, Unknown) else event


class _Row(NamedTuple):
    seen_D: Vector
    position: int


class _Done(NamedTuple):
    """A move that was made: what it was and what it brought."""

    control_A: Vector
    reward: float


@dataclass(slots=True)
class _Life:
    """Rows of one episode that stand together, and what was done between each and the next."""

    rows: list[_Row]
    done: list[_Done] = field(default_factory=list)


class Stretch(NamedTuple):
    """The same as arrays, which take a tenth of the room."""

    seen_ND: NDArray[np.float32]
    done_NA: NDArray[np.float32]
    reward_N: NDArray[np.float32]
    position_N: NDArray[np.int64]

    @classmethod
    def of(cls, life: _Life) -> Stretch:
        done = [*life.done, _Done(np.zeros_like(life.done[0].control_A), 0.0)]
        return cls(
            np.array([row.seen_D for row in life.rows], dtype=np.float32),
            np.array([one.control_A for one in done], dtype=np.float32),
            np.array([one.reward for one in done], dtype=np.float32),
            np.array([row.position for row in life.rows], dtype=np.int64),
        )


@dataclass(slots=True)
class _Tracker:
    """Follows one session: where it is, what it means to do, and what came of it."""

    spaces: Spaces
    counted: set[int]
    """The outcomes whose transitions were taken."""
    lives: list[_Life] = field(default_factory=list)
    at: _Row | None = None
    episode: int = -1
    intended: execute.Intended | None = None
    done: tuple[int, _Done] | None = None
    """The move that was made since the last observation, and the position of its outcome."""
    life: _Life | None = None

    def see(self, position: int, event: Event | None) -> None:
        """The next event of the session; None for one that cannot be read."""
        match event:
            case sense.Observed():
                self._observed(position, event)
            case execute.Intended():
                self.intended = event
            case execute.Succeeded() if self.intended is not None and event.effect == self.intended.effect:
                control_A = self.spaces.action.vector(self.intended.action)
                self.done = position, _Done(control_A, event.reward or 0.0)
            case None:
                self.at = self.done = self.intended = self.life = None

    def _observed(self, position: int, event: sense.Observed) -> None:
        row = _Row(flatten(self.spaces, event.observations, event.goal), position)
        before, done = self.at, self.done
        same = before is not None and event.step > 0 and event.episode == self.episode
        self.at, self.episode, self.done, self.intended = row, event.episode, None, None
        if not same or (done is not None and done[0] in self.counted):
            self.life = None
        elif done is None:  # nothing was done since: the same moment again
            if self.life is not None:
                self.life.rows[-1] = row
        else:
            assert before is not None
            self.counted.add(done[0])
            if self.life is None:
                self.life = _Life([before])
                self.lives.append(self.life)
            self.life.rows.append(row)
            self.life.done.append(done[1])
