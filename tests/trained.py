"""Small models that were trained in seconds on what random actions led to, for what uses a trained model."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np

from loops.environments import EnvironmentSettings, make_environment
from loops.layouts import layout_of
from loops.reasoners.draw import draw
from loops.spaces import Vector, flatten
from tests import worlds
from tests.jepa_worlds import CONFIG
from world_model.checkpoint import save
from world_model.experience import Experience
from world_model.jepa.fit import fit
from world_model.plan.landmarks import Landmarks

ROWS = 300
FRAMES = 24
STEPS = 60
LINE = "gymnasium:AetherLine-v0"
worlds.register()


@cache
def lived(environment: str = LINE) -> Experience:
    """ROWS of what random actions led to, each episode a session of its own, as `loops.lessons` would read them."""
    world = make_environment(EnvironmentSettings(id=environment, max_frames=FRAMES))
    spaces, rng = world.spaces, np.random.default_rng(0)
    layout = layout_of(spaces)
    assert layout is not None
    seen: list[Vector] = []
    done: list[Vector] = []
    rewards: list[float] = []
    episodes: list[int] = []
    while len(seen) < ROWS:
        percept = world.reset(seed=len(seen))
        episodes.append(len(seen))
        seen.append(flatten(spaces, percept.observations, percept.goal))
        while not percept.ends_episode:
            (action,) = draw(spaces.moves, rng, 1)
            percept = world.act(action)
            done.append(spaces.action.vector(action))
            rewards.append(percept.reward or 0.0)
            episodes.append(episodes[-1])
            seen.append(flatten(spaces, percept.observations, percept.goal))
        done.append(np.zeros(spaces.action.width))
        rewards.append(0.0)
    world.close()
    number_N = np.array(episodes)
    return Experience(
        layout=layout,
        seen_ND=np.array(seen, dtype=np.float32),
        done_NA=np.array(done, dtype=np.float32),
        reward_N=np.array(rewards, dtype=np.float32),
        episode_N=number_N,
        session_N=number_N,
        position_N=np.full(len(seen), -1),
    )


def trained(folder: Path, environment: str = LINE, *, history: int = 1, seed: int = 0, landmarks: bool = True) -> str:
    """Saves a model of `environment` in `folder` and returns its id. Of another seed it is another model."""
    experience = lived(environment)
    config = CONFIG.model_copy(update={"history": history, "latent": 2, "held_out": 0.34})
    model = fit(experience, config, steps=STEPS, seed=seed, name="tiny").model
    places = Landmarks.of(model.outcomes(experience), experience, count=60, seed=0) if landmarks else None
    return save(folder, model, landmarks=places, metrics={})
