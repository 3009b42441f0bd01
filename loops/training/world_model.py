"""The joint-embedding predictive model as a course that Ray Train can take.

Knows what `fit` knows and how it travels as files. Invariant: with one worker the weights are, bit for bit, those of
`fit` over the same rows with the same threads."""

from __future__ import annotations

import hashlib
import json
import math
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import KW_ONLY, asdict, dataclass
from pathlib import Path

import pyarrow as pa
from pydantic import JsonValue, TypeAdapter

from loops.lessons import digest_of
from loops.training.course import Files, Look, Post
from loops.training.ray_data import Gathered, Plan, rebuilt
from loops.training.ray_train import KEPT_EVERY_S, Watch, Workers, run
from telemetry.events.values import Digest, canonical_json
from world_model.checkpoint import CONFIG, load, save
from world_model.errors import Collapsed, LossNotFinite, TooFewTransitions, TrainingStopped
from world_model.experience import Experience
from world_model.jepa.config import JepaConfig
from world_model.jepa.crew import Crew, check_shares, meet
from world_model.jepa.fit import begin, total_steps
from world_model.jepa.lesson import Lesson
from world_model.jepa.model import Jepa
from world_model.jepa.state import Progress, State
from world_model.jepa.training import Budget, Fitted, Training

FORMAT = 1
"""Of states that lie in storage: an order never goes on from one of another."""

FITTED, FAILURE = "fitted.json", "failure.json"

_PROGRESS = TypeAdapter(Progress)

Part = Callable[[Experience], Experience]
"""What of the rows is learnt from: deterministic, and importable by name, for each worker makes it of all rows."""


def whole(experience: Experience) -> Experience:
    return experience


@dataclass(frozen=True, slots=True)
class Trained:
    """What `train_jepa` ends with."""

    fitted: Fitted
    workers: int
    begun: tuple[int, ...]
    """The steps at which workers began: 0 or that of an earlier driver's last state, then one for each time that they
    were lost."""
    startup_s: float
    """From the order to the first step."""

    @property
    def lost(self) -> int:
        """How often workers died and were begun again."""
        return max(0, len(self.begun) - 1)

    @property
    def resumed(self) -> int:
        """The step that it went on from when it was ordered, 0 for a new one."""
        return self.begun[0] if self.begun else 0


def train_jepa(
    gathered: Gathered,
    config: JepaConfig,
    *,
    part: Part = whole,
    steps: int | None = None,
    seconds: float | None = None,
    seed: int = 0,
    name: str = "jepa",
    workers: int = 1,
    gpu: bool = False,
    cpus: float = 1.0,
    spread: bool = False,
    storage: Path | str,
    told: Callable[[int, Progress | None], None] = lambda step, looked: None,
    stop: Callable[[], bool] = lambda: False,
    kept_every_s: float = KEPT_EVERY_S,
) -> Trained:
    """`fit` on a connected Ray, over `part` of what was gathered.

    `storage`, an absolute path or a URL, holds states while it trains; every node of a worker reaches it. An equal
    order over equal rows goes on from the last of them if it was cut off. `told` and `stop` are called in this thread
    some times a second: `told` with the steps that are done, and once with each look; a look may be told again by an
    order that goes on. `cpus` and threads are of each worker; with `spread` each is on a node of its own.

    Raises what `fit` raises; ShapeError where workers cannot share a batch evenly; `NoRoom` before anything is written;
    `TrainingLost` where workers died again and again."""
    check_shares(config.batch, workers)
    group = Workers(workers, gpu=gpu, cpus=cpus, spread=spread)
    learnt = part(gathered.lessons.experience)
    Lesson.of(learnt, config, seed=seed)  # too little to learn from is found before workers are started
    subject = JepaSubject(gathered.plan, config, part, steps=steps, seconds=seconds, seed=seed, name=name)
    outcome = run(
        subject,
        gathered.blocks,
        group,
        storage=storage,
        key=f"{name}-{_key(subject, group, digest_of(learnt))}",
        watch=Watch(_once(told), stop),
        kept_every_s=kept_every_s,
    )
    if outcome.ended.failed:
        raise _failure(outcome.ended.files)
    return Trained(_fitted(outcome.ended.files), workers, outcome.begun, outcome.startup_s)


def _once(told: Callable[[int, Progress | None], None]) -> Callable[[int, Look | None], None]:
    """A worker that goes on from a state looks again at what it had looked at since. A look that is not finite is not
    told: it ends the training a step later, with an error that says why."""
    last = -1

    def tell(step: int, look: Look | None) -> None:
        nonlocal last
        if look is None:
            told(step, None)
            return
        progress = _PROGRESS.validate_python(look)
        if progress.step > last and math.isfinite(progress.loss) and math.isfinite(progress.held_out):
            last = progress.step
            told(last, progress)

    return tell


def _key(subject: JepaSubject, workers: Workers, data: Digest) -> str:
    config: JsonValue = subject.config.model_dump(mode="json")
    order: list[JsonValue] = [FORMAT, subject.name, config, subject.steps, subject.seconds, subject.seed]
    return hashlib.sha256(canonical_json([*order, workers.count, workers.gpu, data]).encode()).hexdigest()[:12]


@dataclass(frozen=True)
class JepaSubject:
    """A JEPA to be trained on `part` of the rows."""

    plan: Plan
    config: JepaConfig
    part: Part
    _: KW_ONLY
    steps: int | None
    seconds: float | None
    seed: int
    name: str

    def begin(self, rows: Iterable[pa.Table], post: Post, state: Files | None) -> JepaCourse:
        crew = meet(post.workers, threads=post.threads, device=post.device)
        training = begin(
            self.part(rebuilt(self.plan, rows)),
            self.config,
            Budget(total_steps(self.config, steps=self.steps, seconds=self.seconds), self.seconds, post.stop),
            seed=self.seed,
            told=lambda progress: post.told(asdict(progress)),
            device=post.device,
            name=self.name,
            crew=crew,
            state=None if state is None else State.from_files(state),
        )
        return JepaCourse(training, crew)

    def failed(self, error: Exception) -> Files | None:
        fields: dict[str, object]
        match error:
            case Collapsed():
                fields = {"kind": "collapsed", "reason": error.reason}
            case LossNotFinite():
                fields = {"kind": "not finite", "first": error.first_position, "last": error.last_position}
            case TooFewTransitions():
                fields = {"kind": "too few", "found": error.found, "needed": error.needed}
            case _:
                return None
        good = error.last_good if isinstance(error, TrainingStopped) else None
        return {FAILURE: json.dumps({**fields, "message": str(error)}).encode(), **(_model_files(good) if good else {})}


class JepaCourse:
    """A `Training` as Ray Train's loop drives it."""

    def __init__(self, training: Training, crew: Crew) -> None:
        self._training = training
        self._crew = crew

    @property
    def ended(self) -> bool:
        return self._training.ended

    @property
    def number(self) -> int:
        return self._training.number

    def advance(self) -> bool:
        return self._training.advance()

    def agreed(self, value: float) -> float:
        (first,) = self._crew.agreed(value)
        return first

    def state(self) -> Files:
        return self._training.state().files()

    def finished(self) -> Files:
        fitted = self._training.fitted()
        said = {
            "progress": [asdict(progress) for progress in fitted.progress],
            "steps": fitted.steps,
            "elapsed_s": fitted.elapsed_s,
            "stopped_early": fitted.stopped_early,
        }
        return {FITTED: json.dumps(said).encode(), **_model_files(fitted.model)}


def _fitted(files: Files) -> Fitted:
    said = json.loads(files[FITTED])
    progress = tuple(_PROGRESS.validate_python(look) for look in said.pop("progress"))
    return Fitted(model=_model(files), progress=progress, **said)


def _failure(files: Files) -> Exception:
    """What stopped the training, as it was raised."""
    said = json.loads(files[FAILURE])
    good = _model(files) if CONFIG in files else None
    match said["kind"]:
        case "collapsed":
            return Collapsed(said["message"], reason=said["reason"], last_good=good)
        case "not finite":
            return LossNotFinite(
                said["message"], first_position=said["first"], last_position=said["last"], last_good=good
            )
        case _:
            return TooFewTransitions(said["message"], found=said["found"], needed=said["needed"])


def _model_files(model: Jepa) -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        saved = Path(folder) / "model"
        save(saved, model, landmarks=None, metrics={})
        return {path.name: path.read_bytes() for path in saved.iterdir()}


def _model(files: Files) -> Jepa:
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            (Path(folder) / name).write_bytes(content)
        model = load(Path(folder)).model
    assert isinstance(model, Jepa)
    return model
