"""Experience made by hand: walks through outcome space, each an episode and a session of its own."""

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from world_model.experience import Experience
from world_model.layout import Controls, Layout, Part

Array = NDArray[np.floating]


def lived(walks: Sequence[Array], *, rewards: Sequence[Array] | None = None) -> Experience:
    """Walks of shape (T, G); `rewards` of shape (T,) each, what doing something at that row brought."""
    width = walks[0].shape[1]
    layout = Layout(
        parts=(Part(name="place", shape=(width,), dtype="float32"),),
        controls=Controls(kind="box", width=1, low=(-1.0,), high=(1.0,)),
    )
    number_N = np.repeat(np.arange(len(walks)), [len(walk) for walk in walks])
    n = len(number_N)
    return Experience(
        layout=layout,
        seen_ND=np.concatenate(walks).astype(np.float32),
        done_NA=np.zeros((n, 1), dtype=np.float32),
        reward_N=np.concatenate(rewards).astype(np.float32) if rewards else np.zeros(n, dtype=np.float32),
        episode_N=number_N,
        session_N=number_N,
        position_N=np.full(n, -1),
    )


def line(*corners: tuple[float, float], steps: int) -> Array:
    """A walk from corner to corner, `steps` decisions between two of them, shape (T, 2)."""
    legs = [np.linspace(start, end, steps, endpoint=False) for start, end in itertools.pairwise(corners)]
    return np.concatenate([*legs, np.array(corners[-1:])])
