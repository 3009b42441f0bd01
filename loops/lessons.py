"""From the log to what a world model learns from: the transitions of many sessions, joined.

Knows sessions and their numbers; how one session is read, `lives` knows. Invariant: equal sources as of one position
give equal rows in one order, whoever read them and in whatever order."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from loops.errors import NothingToLearn, SpacesDiffer
from loops.lives import Lived, Source, read_lives
from telemetry.events.values import Digest, EventId, canonical
from telemetry.log import EventLog
from world_model.experience import Experience
from world_model.layout import Layout

__all__ = ["Heard", "Lessons", "Source", "common", "digest_of", "joined", "lessons_of", "numbers_of", "read_lessons"]

Heard = Callable[[int], None]
"""Is told how many transitions of each session were read."""


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

    Raises `SpacesDiffer`, and `NothingToLearn` where there is no transition."""
    common(sources)
    lives: list[Lived] = []
    for lived in read_lives(log, sources, to=log.position() if to is None else to):
        heard(lived.transitions)
        lives.append(lived)
    return lessons_of(sources, lives)


def lessons_of(sources: Sequence[Source], lives: Sequence[Lived]) -> Lessons:
    """What was read of each source, joined. Raises as `read_lessons`."""
    layout = common(sources)
    if not any(lived.stretches for lived in lives):
        raise NothingToLearn(
            f"{len(sources)} sessions were read, and no move of theirs has an observation before and after it; "
            "let them run first: aether run SCENARIO.toml"
        )
    experience = joined(layout, numbers_of(sources), lives)
    return Lessons(
        experience=experience,
        streams=tuple(source.stream for source in sources),
        ends=tuple(lived.end for lived in lives),
        environments=tuple(dict.fromkeys(source.opened.environment for source in sources)),
        from_position=int(experience.position_N.min()),
        to_position=int(experience.position_N.max()),
        unreadable=sum(lived.unreadable for lived in lives),
        digest=digest_of(experience),
    )


def numbers_of(sources: Iterable[Source]) -> tuple[int, ...]:
    """The number of each session: 63 bits of a digest of its life. It follows from the life alone, so that none of one
    is both learnt and held out, in this reading or a later one."""
    return tuple(int.from_bytes(hashlib.sha256(source.life.encode()).digest()[:8]) >> 1 for source in sources)


def joined(layout: Layout, numbers: Sequence[int], lives: Sequence[Lived]) -> Experience:
    """The rows of sessions with these numbers, of which there is at least one."""
    numbered = [(number, stretch) for number, lived in zip(numbers, lives, strict=True) for stretch in lived.stretches]
    lengths = [len(stretch.seen_ND) for _, stretch in numbered]
    return Experience(
        layout=layout,
        seen_ND=np.concatenate([stretch.seen_ND for _, stretch in numbered]),
        done_NA=np.concatenate([stretch.done_NA for _, stretch in numbered]),
        reward_N=np.concatenate([stretch.reward_N for _, stretch in numbered]),
        episode_N=np.repeat(np.arange(len(numbered)), lengths),
        session_N=np.repeat([number for number, _ in numbered], lengths),
        position_N=np.concatenate([stretch.position_N for _, stretch in numbered]),
    )


def common(sources: Sequence[Source]) -> Layout:
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


def digest_of(experience: Experience) -> Digest:
    """Of the layout and every row but where it stands on the log."""
    sha = hashlib.sha256(canonical(experience.layout))
    columns = (experience.seen_ND, experience.done_NA, experience.reward_N, experience.episode_N, experience.session_N)
    for column in columns:
        little = column.astype(column.dtype.newbyteorder("<"))
        sha.update(str(little.shape).encode())
        sha.update(little.tobytes())
    return sha.hexdigest()
