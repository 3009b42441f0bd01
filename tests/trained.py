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
from tests.planned import PLANNING
from world_model.checkpoint import save
from world_model.experience import Experience, of_episodes
from world_model.frozen import learn_linear
from world_model.jepa.fit import fit
from world_model.plan.landmarks import Landmarks

ROWS = 300
FRAMES = 24
STEPS = 60
LINE = "gymnasium:AetherLine-v0"
SCENARIO = """
name = "line"
environment = {{ id = "{environment}", max_frames = {frames}, episodes = 9 }}
memory = {{ recall = 0 }}
[reasoner]
kind = "{reasoner}"
{planning}
[world_model]
kind = "{kind}"
model = "{model}/"
[heart]
{heart}
"""
worlds.register()


@cache
def lived(environment: str = LINE) -> Experience:
    """ROWS of what random actions led to, each episode a session of its own, as `loops.lessons` would read them."""
    world = make_environment(EnvironmentSettings(id=environment, max_frames=FRAMES))
    spaces, rng = world.spaces, np.random.default_rng(0)
    layout = layout_of(spaces)
    assert layout is not None
    episodes: list[tuple[Vector, Vector, Vector]] = []
    rows = 0
    while rows < ROWS:
        percept = world.reset(seed=rows)
        seen = [flatten(spaces, percept.observations, percept.goal)]
        done: list[Vector] = []
        rewards: list[float] = []
        while not percept.ends_episode:
            (action,) = draw(spaces.moves, rng, 1)
            percept = world.act(action)
            done.append(spaces.action.vector(action))
            rewards.append(percept.reward or 0.0)
            seen.append(flatten(spaces, percept.observations, percept.goal))
        episodes.append((np.array(seen), np.array(done), np.array(rewards)))
        rows += len(seen)
    world.close()
    return of_episodes(layout, episodes)


def trained(folder: Path, environment: str = LINE, *, history: int = 1, seed: int = 0, landmarks: bool = True) -> str:
    """Saves a model of `environment` in `folder` and returns its id. Of another seed it is another model."""
    experience = lived(environment)
    config = CONFIG.model_copy(update={"history": history, "latent": 2, "held_out": 0.34})
    model = fit(experience, config, steps=STEPS, seed=seed, name="tiny").model
    places = Landmarks.of(model.outcomes(experience), experience, count=60, seed=0) if landmarks else None
    return save(folder, model, landmarks=places, metrics={})


def linear(folder: Path, environment: str = LINE, *, seed: int = 0) -> str:
    """As `trained`, of a linear model, which takes no time."""
    experience = lived(environment)
    model = learn_linear(experience.split(held_out=0.34, seed=seed)[0], name="tiny")
    return save(folder, model, landmarks=None, metrics={})


def line(
    model: Path,
    *,
    reasoner: str = "active_inference",
    kind: str = "trained",
    heart: str = "",
    environment: str = LINE,
    frames: int = 6,
) -> str:
    """A scenario whose sessions plan on the model in the folder `model`."""
    values = {"model": model, "reasoner": reasoner, "kind": kind, "heart": heart, "planning": PLANNING}
    return SCENARIO.format(environment=environment, frames=frames, **values)
