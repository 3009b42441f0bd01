"""From the log to what a world model learns from: the moves of many sessions and what was seen around them.

Knows which events make a transition; holds one page of one session beside the arrays. Invariant: a transition is
taken once, however many forks share it, and none crosses an episode or an event that cannot be read."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from loops.errors import NothingToLearn, SpacesDiffer
from loops.layouts import layout_of
from loops.spaces import Spaces, Vector, flatten
from telemetry.errors import InvalidEvent
from telemetry.events import Event, Recorded, Unknown, execute, sense, session
from telemetry.events.values import Digest, EventId, canonical
from telemetry.log import EventLog
from world_model.experience import Experience
from world_model.layout import Layout

TYPES = ("sense.observed", "execute.intended", "execute.succeeded")

Heard = Callable[[int], None]
"""Is told how many transitions of each session were read."""


@dataclass(frozen=True, slots=True)
class Source:
    """A session to learn from, with how it was opened; a fork's is its ancestor's."""

    stream: str
    opened: session.Opened

    @property
    def layout(self) -> Layout | None:
        return layout_of(Spaces.model_validate(self.opened.spaces))


@dataclass(frozen=True, slots=True)
class Lessons:
    """What was read. `digest` is of the arrays alone, so the same lives in another log have the same."""

    experience: Experience
    streams: tuple[str, ...]
    ends: tuple[EventId, ...]
    """The last event of each session that was read."""
    environments: tuple[str, ...]
    from_position: int
    to_position: int
    unreadable: int
    """Events that were left out with the transitions around them: erased, withheld, or of a later version."""
    digest: Digest


def read_lessons(
    log: EventLog, sources: Sequence[Source], *, to: int | None = None, heard: Heard = lambda _: None
) -> Lessons:
    """The transitions of `sources`, session by session, as of position `to` of the log, or of now.

    Sessions that lived the same life (forks of one, or one scenario and seed twice) have one number, so that none of
    it is both learnt and held out. Raises `SpacesDiffer`, and `NothingToLearn` where there is no transition."""
    layout = _common(sources)
    reader = _Reader(log, layout, to=log.position() if to is None else to)
    numbers: dict[str, int] = {}
    for source in sources:
        number = numbers.setdefault(_life(source.opened), len(numbers))
        heard(reader.read(source, number))
    if not reader.stretches:
        raise NothingToLearn(
            f"{len(sources)} sessions were read, and no move of theirs has an observation before and after it; "
            "let them run first: aether run SCENARIO.toml"
        )
    experience = _joined(layout, reader.stretches)
    return Lessons(
        experience=experience,
        streams=tuple(source.stream for source in sources),
        ends=tuple(reader.ends),
        environments=tuple(dict.fromkeys(source.opened.environment for source in sources)),
        from_position=int(experience.position_N.min()),
        to_position=int(experience.position_N.max()),
        unreadable=reader.unreadable,
        digest=_digest(experience),
    )


def _common(sources: Sequence[Source]) -> Layout:
    """The layout of all `sources`. Raises `SpacesDiffer` with two of them, `NothingToLearn` for none."""
    if not sources:
        raise NothingToLearn("there is no session to learn from; let some run first: aether run SCENARIO.toml")
    layouts = [_layout(source) for source in sources]
    for source, layout in zip(sources, layouts, strict=True):
        if layout != layouts[0]:
            raise SpacesDiffer(
                f"a model learns from one kind of spaces. {_shown(sources[0], layouts[0])}, {_shown(source, layout)}. "
                "Choose with --scenario NAME, or name the sessions"
            )
    return layouts[0]


def _layout(source: Source) -> Layout:
    layout = source.layout
    if layout is None:
        raise NothingToLearn(
            f"{source.stream} is of {source.opened.environment!r}, where nothing numeric is seen or nothing is moved; "
            "a world model learns from moves. Leave it out"
        )
    return layout


def _shown(source: Source, layout: Layout) -> str:
    return f"{source.stream} of {source.opened.environment!r} has {layout.describe()}"


def _life(opened: session.Opened) -> str:
    return f"{opened.scenario_digest}/{opened.seed}"


@dataclass(slots=True)
class _Reader:
    """Reads one session after the other. `counted` holds the outcomes whose transitions were taken."""

    log: EventLog
    layout: Layout
    to: int
    counted: set[int] = field(default_factory=set)
    stretches: list[_Stretch] = field(default_factory=list)
    ends: list[EventId] = field(default_factory=list)
    unreadable: int = 0

    def read(self, source: Source, number: int) -> int:
        """How many transitions of the session were not taken before."""
        tracker = _Tracker(Spaces.model_validate(source.opened.spaces), self.counted)
        end = f"{source.stream}@1"
        for recorded in self.log.read(source.stream, types=TYPES):
            if recorded.position > self.to:
                break
            end = recorded.id
            event = _readable(recorded)
            self.unreadable += event is None
            tracker.see(recorded.position, event)
        self.ends.append(end)
        self.stretches += (_Stretch.of(life, number) for life in tracker.lives)
        return sum(len(life.done) for life in tracker.lives)


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


class _Stretch(NamedTuple):
    """The same as arrays, which take a tenth of the room."""

    session: int
    seen_ND: NDArray[np.float32]
    done_NA: NDArray[np.float32]
    reward_N: NDArray[np.float32]
    position_N: NDArray[np.int64]

    @classmethod
    def of(cls, life: _Life, session: int) -> _Stretch:
        done = [*life.done, _Done(np.zeros_like(life.done[0].control_A), 0.0)]
        return cls(
            session,
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


def _joined(layout: Layout, stretches: Sequence[_Stretch]) -> Experience:
    lengths = [len(stretch.seen_ND) for stretch in stretches]
    return Experience(
        layout=layout,
        seen_ND=np.concatenate([stretch.seen_ND for stretch in stretches]),
        done_NA=np.concatenate([stretch.done_NA for stretch in stretches]),
        reward_N=np.concatenate([stretch.reward_N for stretch in stretches]),
        episode_N=np.repeat(np.arange(len(stretches)), lengths),
        session_N=np.repeat([stretch.session for stretch in stretches], lengths),
        position_N=np.concatenate([stretch.position_N for stretch in stretches]),
    )


def _digest(experience: Experience) -> Digest:
    """Of the layout and every row but where it stands on the log."""
    sha = hashlib.sha256(canonical(experience.layout))
    columns = (experience.seen_ND, experience.done_NA, experience.reward_N, experience.episode_N, experience.session_N)
    for column in columns:
        little = column.astype(column.dtype.newbyteorder("<"))
        sha.update(str(little.shape).encode())
        sha.update(little.tobytes())
    return sha.hexdigest()
