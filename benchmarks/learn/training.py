"""What Ray Train adds to a training, and what a second worker takes off it.

The peer is the same training in this process, `world_model.jepa.fit`, with the same rows, configuration, seed and
threads; both run by turns beside one Ray. Steps a second are of the loop, with its looks at held-out sessions, the
states that are kept and what is told of it; what comes before the first step is a figure of its own."""

from __future__ import annotations

import tempfile
from contextlib import closing
from pathlib import Path
from statistics import median

import torch

from benchmarks.report import ROOT, figure, progress, short
from benchmarks.world_model.gather import LOG, place_of, scenario
from benchmarks.world_model.gather import gather as live
from benchmarks.world_model.kept import FOLDER
from benchmarks.world_model.mazes import FRAMES, MAZES
from loops.environments import EnvironmentSettings
from loops.lives import Source
from loops.training.ray_data import Gathered, gather
from loops.training.world_model import Trained, train_jepa
from runtime.hosting.cluster import connected
from runtime.sessions import PREFIX, opened
from runtime.settings import Settings
from telemetry.log import open_log
from world_model.jepa.config import JepaConfig
from world_model.jepa.fit import Fitted, fit

AREA = "bench-learn"
WORLD = EnvironmentSettings(id=f"gymnasium:{MAZES['umaze'].id}", frames=FRAMES)
SESSIONS, CYCLES, FRAMES_AN_EPISODE = 30, 204, 300
"""About 6,000 transitions, as a round of `aether learn` has."""
STEPS, SHORT_STEPS = 1200, 500
TURNS, SHORT_TURNS = 5, 3
CONFIG = JepaConfig(patience=10**6)
"""As it comes, but never stopped early: both take as many steps."""
KEPT_EVERY_S = 5.0
"""Twice as often as it comes, for a training of ten seconds that keeps a state or two."""


def report() -> None:
    """Prints the figures: `ray_train_over_plain`, `ray_train_startup_s`, `ray_train_2_workers_over_1`."""
    log = _lived()
    (ROOT / "build").mkdir(exist_ok=True)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # a worker of one processor has one
    with tempfile.TemporaryDirectory(prefix="bench-", dir=ROOT / "build") as name, connected(Settings(home=Path(name))):
        with closing(open_log(log, mode="read")) as store:
            streams = [head.stream for head in store.heads(prefix=PREFIX, limit=10_000)]
            sources = [Source(stream, opened(store, stream)) for stream in streams]
        _measure(gather(log, sources), Path(name).absolute() / "states")
    torch.set_num_threads(threads)


def _lived() -> Path:
    """The log of sessions that explore UMaze, made once."""
    named = "umaze-training"
    live(
        named,
        WORLD,
        seed=0,
        sessions=SESSIONS,
        held_out=1,
        cycles=CYCLES,
        episode_frames=FRAMES_AN_EPISODE,
    )
    text = scenario(WORLD, seed=0, sessions=SESSIONS + 1, cycles=CYCLES, episode_frames=FRAMES_AN_EPISODE)
    return place_of(named, text, FOLDER) / LOG


def _measure(gathered: Gathered, storage: Path) -> None:
    steps = SHORT_STEPS if short() else STEPS
    _spread(gathered, storage, steps=20, workers=2)  # processes, imports and caches
    plain: list[float] = []
    over: list[float] = []
    scaled: list[float] = []
    startup_s: list[float] = []
    for turn in range(SHORT_TURNS if short() else TURNS):
        progress(AREA, f"training: {steps} steps without Ray, on Ray, and on Ray with 2 workers; turn {turn + 1}")
        plain.append(_rate(fit(gathered.lessons.experience, CONFIG, steps=steps)))
        one = _spread(gathered, storage, steps=steps, workers=1)
        two = _spread(gathered, storage, steps=steps, workers=2)
        over.append(_rate(one.fitted) / plain[-1])
        scaled.append(_rate(two.fitted) / _rate(one.fitted))
        startup_s.append(one.startup_s)
    figure("ray_train_over_plain", value=median(over), unit="×", op=">=", floor=0.8, aim=0.95, samples=over)
    figure("train_steps_per_s", value=median(plain), unit="steps/s", op=">=", samples=plain)
    figure("ray_train_startup_s", value=median(startup_s), unit="s", op="<=", samples=startup_s)
    figure("ray_train_2_workers_over_1", value=median(scaled), unit="×", op=">=", samples=scaled)


def _spread(gathered: Gathered, storage: Path, *, steps: int, workers: int) -> Trained:
    return train_jepa(
        gathered, CONFIG, steps=steps, workers=workers, storage=storage, kept_every_s=KEPT_EVERY_S, name="bench"
    )


def _rate(fitted: Fitted) -> float:
    """Steps a second of the loop."""
    return fitted.steps / fitted.elapsed_s
