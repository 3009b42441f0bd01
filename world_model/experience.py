"""What was lived, as arrays: observations, what was done after each, and where episodes and sessions begin.

Knows rows; knows no log and no environment. Invariant: rows of one episode stand together and in order, and the last
of them has nothing done after it that is known."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from world_model.errors import LossNotFinite, ShapeError
from world_model.layout import Layout

# N = observations, D = width of one, A = width of controls, S = sessions

SURE: Final = 8
"""Sessions among the first of which one is set aside, whatever their hashes say."""


@dataclass(frozen=True, slots=True)
class Experience:
    layout: Layout
    seen_ND: NDArray[np.float32]
    """Flat observations, the achieved goal in the last `layout.goal` columns."""
    done_NA: NDArray[np.float32]
    """What was done after each observation; zeros after the last of an episode. Discrete choices are one-hot."""
    reward_N: NDArray[np.float32]
    """What doing it brought; 0 after the last."""
    episode_N: NDArray[np.int64]
    """A number for each episode; equal numbers stand together."""
    session_N: NDArray[np.int64]
    """A number for each session, the unit that is held out or bootstrapped. From a log it follows from the life that
    was lived, so that it is the same in every reading."""
    position_N: NDArray[np.int64]
    """Position on the log of the event that holds the observation; -1 where it came from no log."""

    def __post_init__(self) -> None:
        n, columns = len(self.seen_ND), (self.layout.width, self.layout.controls.width)
        found = (self.seen_ND.shape, self.done_NA.shape)
        others = {len(a) for a in (self.reward_N, self.episode_N, self.session_N, self.position_N)}
        if found != ((n, columns[0]), (n, columns[1])) or others - {n}:
            raise ShapeError(f"{found} observations and controls, {others} of the rest; the layout asks for {columns}")

    def __len__(self) -> int:
        return len(self.seen_ND)

    @property
    def steps_N(self) -> NDArray[np.bool_]:
        """Whether a row is followed by the next of its episode: a transition begins there."""
        follows = np.zeros(len(self), dtype=np.bool_)
        follows[:-1] = self.episode_N[:-1] == self.episode_N[1:]
        return follows

    @property
    def transitions(self) -> int:
        return int(self.steps_N.sum())

    def starts(self, steps: int) -> NDArray[np.int64]:
        """The rows from which `steps` transitions of one episode follow, shape (≤ N,)."""
        n = len(self) - steps
        if n <= 0:
            return np.zeros(0, dtype=np.int64)
        return np.flatnonzero(self.episode_N[:n] == self.episode_N[steps:])

    def of_sessions(self, sessions: NDArray[np.int64]) -> Experience:
        """Only the rows of these sessions."""
        return self._rows(np.isin(self.session_N, sessions))

    def split(self, *, held_out: float, seed: int) -> tuple[Experience, Experience]:
        """Those to learn from and those held out, by session, never by row; at least one session each.

        Raises ShapeError when there are fewer than two sessions."""
        sessions = np.unique(self.session_N)
        if len(sessions) < 2:
            raise ShapeError("holding sessions out needs at least two of them; there is only one")
        order = np.random.default_rng(seed).permutation(sessions)
        count = min(max(1, round(held_out * len(sessions))), len(sessions) - 1)
        return self.of_sessions(order[count:]), self.of_sessions(order[:count])

    def set_aside(self, share: float) -> tuple[Experience, Experience]:
        """Those to learn from and those to judge by, about `share` of the sessions and at least one of each, whatever
        the seed: sessions that come later change nothing for those that were there.

        A session is set aside by a hash of its number, in the order in which sessions begin on the log, as long as
        between half and twice the share would be. Raises ShapeError when there are fewer than two sessions."""
        sessions_S, first_S, of_N = np.unique(self.session_N, return_index=True, return_inverse=True)
        if len(sessions_S) < 2:
            raise ShapeError("setting sessions aside needs at least two of them; there is only one")
        begun_S = np.full(len(sessions_S), np.iinfo(np.int64).max)
        np.minimum.at(begun_S, of_N, self.position_N)
        aside: list[np.int64] = []
        for count, one in enumerate(np.lexsort((first_S, begun_S)), start=1):
            least = max(int(count * share / 2), int(count >= min(SURE, len(sessions_S))))
            most = max(int(count * share * 2), 1)
            if len(aside) < least or (len(aside) < most and _drawn(int(sessions_S[one])) < share):
                aside.append(sessions_S[one])
        held_N = np.isin(self.session_N, aside)
        return self._rows(~held_N), self._rows(held_N)

    def _rows(self, kept_N: NDArray[np.bool_]) -> Experience:
        return Experience(
            layout=self.layout,
            seen_ND=self.seen_ND[kept_N],
            done_NA=self.done_NA[kept_N],
            reward_N=self.reward_N[kept_N],
            episode_N=self.episode_N[kept_N],
            session_N=self.session_N[kept_N],
            position_N=self.position_N[kept_N],
        )


def of_episodes(
    layout: Layout, episodes: Sequence[tuple[NDArray[np.floating], NDArray[np.floating], NDArray[np.floating]]]
) -> Experience:
    """What came from no log, each episode a session of its own: what was seen, shape (T, D), and between that what was
    done, shape (T − 1, A), and what it brought, shape (T − 1,)."""
    rest_1A, none_1 = np.zeros((1, layout.controls.width)), np.zeros(1)
    number_N = np.repeat(np.arange(len(episodes)), [len(seen_TD) for seen_TD, _, _ in episodes])
    return Experience(
        layout=layout,
        seen_ND=np.concatenate([seen_TD for seen_TD, _, _ in episodes]).astype(np.float32),
        done_NA=np.concatenate([row for _, done_TA, _ in episodes for row in (done_TA, rest_1A)]).astype(np.float32),
        reward_N=np.concatenate([row for _, _, reward_T in episodes for row in (reward_T, none_1)]).astype(np.float32),
        episode_N=number_N,
        session_N=number_N,
        position_N=np.full(len(number_N), -1),
    )


def check_rows(layout: Layout, seen: NDArray[np.floating], done: NDArray[np.floating]) -> None:
    """Raises ShapeError unless these are observations, (…, D), and what was done after each, (…, A), of this layout."""
    expected = (layout.width, layout.controls.width)
    if (seen.shape[-1], done.shape[-1]) != expected or seen.shape[:-1] != done.shape[:-1] or not seen.size:
        raise ShapeError(
            f"seen {seen.shape} and done {done.shape} do not fit: this model takes {expected} columns of equally "
            f"many rows"
        )


def _drawn(number: int) -> float:
    """A draw from [0, 1) that follows from the number."""
    return int.from_bytes(hashlib.sha256(f"aside {number}".encode()).digest()[:6]) / 2**48


def spaced(rows: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """At most so many of them, evenly."""
    if len(rows) <= most:
        return rows
    return rows[np.linspace(0, len(rows) - 1, most).astype(np.int64)]


def joined(pieces: Sequence[Experience]) -> Experience:
    """One after the other, episodes and sessions numbered anew so that none of two pieces are one."""
    episode_columns: list[NDArray[np.int64]] = []
    session_columns: list[NDArray[np.int64]] = []
    episodes = sessions = 0
    for piece in pieces:
        if piece.layout != pieces[0].layout:
            raise ShapeError(f"one piece is of {pieces[0].layout.describe()}, another of {piece.layout.describe()}")
        known_episodes, episode_N = np.unique(piece.episode_N, return_inverse=True)
        known_sessions, session_N = np.unique(piece.session_N, return_inverse=True)
        episode_columns.append(episode_N + episodes)
        session_columns.append(session_N + sessions)
        episodes += len(known_episodes)
        sessions += len(known_sessions)
    return Experience(
        layout=pieces[0].layout,
        seen_ND=np.concatenate([piece.seen_ND for piece in pieces]),
        done_NA=np.concatenate([piece.done_NA for piece in pieces]),
        reward_N=np.concatenate([piece.reward_N for piece in pieces]),
        episode_N=np.concatenate(episode_columns),
        session_N=np.concatenate(session_columns),
        position_N=np.concatenate([piece.position_N for piece in pieces]),
    )


def check_finite(experience: Experience) -> None:
    """Raises LossNotFinite with the range of events that hold what is not finite, such as a number beyond 32 bits."""
    bad = ~np.isfinite(experience.seen_ND).all(axis=1) | ~np.isfinite(experience.done_NA).all(axis=1)
    if bad.any():
        first, last = int(experience.position_N[bad].min()), int(experience.position_N[bad].max())
        raise LossNotFinite(
            f"what was observed or done is not finite in 32 bits in {int(bad.sum())} rows, of events {first} to "
            f"{last}. Nothing was learnt; leave those sessions out",
            first_position=first,
            last_position=last,
            last_good=None,
        )
