"""What a maze and seed gave: experience, the models trained on it, and the landmarks of what was visited.

Knows how each is made, and keeps the trained model on disk. Invariant: the same experience, configuration and code of
the model give the kept one, with the time that its training took then."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from benchmarks.report import ROOT, progress
from benchmarks.world_model.gather import Gathered, gather
from benchmarks.world_model.kept import FOLDER
from benchmarks.world_model.mazes import MAZES, Name, world
from telemetry.events.values import canonical
from telemetry.files import digest_files
from world_model.checkpoint import load, save
from world_model.experience import Experience
from world_model.frozen import FrozenLinear, learn_linear
from world_model.jepa.config import JepaConfig
from world_model.jepa.fit import Progress, fit
from world_model.jepa.model import Jepa
from world_model.plan.landmarks import Landmarks

CONFIG = JepaConfig()


@dataclass(frozen=True, slots=True)
class Trained:
    maze: Name
    seed: int
    gathered: Gathered
    jepa: Jepa
    linear: FrozenLinear
    landmarks: Landmarks
    train_s: float
    """Of the JEPA with its ensemble, and of the landmarks."""

    @property
    def data(self) -> str:
        return self.gathered.digest[:12]


def trained(maze: Name, seed: int, *, config: JepaConfig = CONFIG) -> Trained:
    """Everything of a maze and seed: gathered with goals in half of the cells, trained, mapped."""
    found = gather(maze, world(maze, goals=MAZES[maze].seen_goals), seed=seed)
    jepa, landmarks, train_s = fitted(f"{maze}-{seed}", found.learnt, config, seed=seed, data=found.digest)
    return Trained(maze, seed, found, jepa, learn_linear(found.learnt), landmarks, train_s)


def fitted(
    name: str, experience: Experience, config: JepaConfig, *, seed: int, data: str, start: Jepa | None = None
) -> tuple[Jepa, Landmarks, float]:
    """The model of `experience`, whose digest is `data`, its landmarks, and the seconds that both took."""
    begun = "" if start is None else start.model_id
    said = (
        data,
        canonical(config).decode(),
        str(seed),
        begun,
        code("world_model/jepa", "world_model/plan/landmarks.py"),
    )
    folder = FOLDER / "models" / f"{name}-{hashlib.sha256(json.dumps(said).encode()).hexdigest()[:12]}"
    if not folder.exists():
        progress("bench-world-model", f"training on {experience.transitions:,} transitions of {name}")
        began = time.perf_counter()
        jepa = fit(experience, config, seed=seed, told=_told, start=start).model
        landmarks = Landmarks.of(jepa.outcomes(experience), experience, seed=seed)
        save(folder, jepa, landmarks=landmarks, metrics={"train_s": time.perf_counter() - began})
    kept = load(folder)
    assert kept.landmarks is not None, "a model is kept here with its landmarks"
    assert isinstance(kept.model, Jepa), "only that kind is kept here"
    return kept.model, kept.landmarks, float(str(kept.metrics["train_s"]))


@cache
def code(*folders: str) -> str:
    """Digest of the sources in these folders of the checkout, or of a single file, as they are when first asked for."""
    return digest_files(sorted(file for folder in folders for file in _sources(ROOT / folder)))[:12]


def _sources(place: Path) -> Sequence[Path]:
    return [place] if place.is_file() else sorted(place.rglob("*.py"))


def _told(said: Progress) -> None:
    progress("bench-world-model", f"step {said.step} of {said.steps}: loss {said.loss:.4f}, missed {said.held_out:.4f}")
