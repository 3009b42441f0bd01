"""Experience of a world from real sessions: `explore` acts, the log is read, the arrays are kept.

Knows the run API and the log; knows no model. Invariant: what is gathered once is not gathered again for the same
scenario and seed, and no reset seed of it is among the held-out ones."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aetherloop import open_log, run
from benchmarks.report import progress
from benchmarks.world_model.kept import FOLDER
from loops.environments import EnvironmentSettings
from loops.lessons import Source, read_lessons
from runtime.sessions import PREFIX, opened
from world_model.experience import Experience

SESSIONS, HELD_OUT = 100, 10
"""Sessions to learn from, and those that only predictions are measured on."""
CYCLES = 204
"""A session's cycles; with the last of each episode, which acts no more, about 20,000 transitions in SESSIONS."""
HOLD = 4
LOG = "log.db"
SECONDS = "seconds.json"
"""Beside a log that is whole: what it took."""


@dataclass(frozen=True, slots=True)
class Gathered:
    learnt: Experience
    held_out: Experience
    digest: str
    seconds: float
    """What the sessions took, with the start of Ray; of the run that made them."""


def scenario(world: EnvironmentSettings, *, seed: int, sessions: int, cycles: int, episode_frames: int) -> str:
    """TOML: its arrays are JSON's."""
    options = ", ".join(f"{name} = {json.dumps(value)}" for name, value in world.options.items())
    return f"""\
name = "explore"
seed = {seed}
sessions = {sessions}
cycles = {cycles}

[environment]
id = "{world.id}"
frames = {world.frames}
max_frames = {episode_frames}
episodes = 1000000
options = {{ {options} }}

[reasoner]
kind = "explore"
hold = {HOLD}

[world_model]
kind = "none"

[memory]
when = "never"
recall = 0
"""


def gather(
    name: str,
    world: EnvironmentSettings,
    *,
    seed: int,
    sessions: int = SESSIONS,
    held_out: int = HELD_OUT,
    cycles: int = CYCLES,
    episode_frames: int = 300,
    folder: Path = FOLDER,
) -> Gathered:
    """Runs the sessions at once in one host of a local Ray, on a log under `folder`, and reads them."""
    text = scenario(world, seed=seed, sessions=sessions + held_out, cycles=cycles, episode_frames=episode_frames)
    place = place_of(name, text, folder)
    seconds = _lived(place, text, say=f"{sessions + held_out} sessions of {cycles} cycles explore {name}, seed {seed}")
    experience, digest = _read(place)
    numbers = np.unique(experience.session_N)
    return Gathered(
        learnt=experience.of_sessions(numbers[:sessions]),
        held_out=experience.of_sessions(numbers[sessions:]),
        digest=digest,
        seconds=seconds,
    )


def place_of(name: str, text: str, folder: Path) -> Path:
    """Where the log of a scenario lies."""
    return folder / "logs" / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def _lived(place: Path, text: str, *, say: str) -> float:
    done = place / SECONDS
    if done.exists():
        return float(json.loads(done.read_text()))
    progress("bench-world-model", say)
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    file = place / "scenario.toml"
    file.write_text(text, encoding="utf-8")
    began = time.perf_counter()
    result = run(file, log=str(place / LOG))
    if result.exit_code:
        raise RuntimeError(f"sessions of {place.name} did not come to their end: {result.errors}")
    seconds = time.perf_counter() - began
    done.write_text(json.dumps(round(seconds, 1)))
    return seconds


def _read(place: Path) -> tuple[Experience, str]:
    with closing(open_log(place / LOG, mode="read")) as log:
        streams = [head.stream for head in log.heads(prefix=PREFIX, limit=10_000)]
        lessons = read_lessons(log, [Source(stream, opened(log, stream)) for stream in streams])
    return lessons.experience, lessons.digest
