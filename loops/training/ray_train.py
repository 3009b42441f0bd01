"""A course on Ray Train: workers that are started, watched, begun again where they died, and told to stop.

Knows Ray and files; knows no model. Invariant: a course whose workers or whose driver were killed goes on from the last
state that was kept, and ends as if nothing had happened."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import ray
import ray.data
import ray.train
import ray.train.torch
from ray.train.v2.api.config import CheckpointConfig, FailureConfig, LoggingConfig, RunConfig, ScalingConfig
from ray.train.v2.api.exceptions import TrainingFailedError, WorkerGroupError
from ray.train.v2.api.result import Result
from ray.train.v2.torch.torch_trainer import TorchTrainer

from loops.errors import NoRoom, TrainingLost
from loops.training.course import Course, Ended, Files, Look, Post, Subject
from loops.training.desk import PULSE_S, Handle, Line, close_desk, open_desk
from loops.training.ray_data import quiet
from loops.training.storage import mend, remove

DATA: Final = "rows"
POLL_S: Final = 0.5
"""How often Ray Train looks after its workers, so what a report waits at most; its own default, 2 s, would be most of a
small training's end."""
KEPT_EVERY_S: Final = 10.0
"""What a lost worker costs at most, in training time. A state is written in some hundredths of a second."""
DEATHS: Final = 8
"""Workers that may die before the training is given up: each may be a machine that is taken away, and a worker whose
memory is too small dies at once every time."""
STARTS: Final = 5
"""Times that Ray Train waits a minute for room in a cluster that has it, but in use."""
LEAVING_S: Final = 30.0
"""How long workers may take to end when the caller was interrupted."""


@dataclass(frozen=True, slots=True)
class Workers:
    """Who trains. `cpus` are of each worker; its threads are as many."""

    count: int = 1
    gpu: bool = False
    cpus: float = 1.0
    spread: bool = False
    """Whether each worker must be on a node of its own."""


@dataclass(frozen=True, slots=True)
class Watch:
    """Who looks on, in the caller's thread, some times a second. `told` hears the number of steps that are done, and of
    each look once."""

    told: Callable[[int, Look | None], None] = lambda step, look: None
    stop: Callable[[], bool] = lambda: False


@dataclass(frozen=True, slots=True)
class Outcome:
    ended: Ended
    begun: tuple[int, ...]
    """The steps at which workers began: 0 or that of an earlier driver's last state, then one for each time that they
    were lost."""
    startup_s: float
    """From the order to the first step."""


def check_room(workers: Workers) -> None:
    """Raises `NoRoom` where the cluster, grown as far as it may, has too few GPUs or processors."""
    has = _most()
    for kind, each in _resources(workers).items():
        needed = each * workers.count
        if has.get(kind, 0) < needed:
            raise NoRoom(
                f"{workers.count} workers with {each:g} {kind} each were asked for; the cluster has "
                f"{has.get(kind, 0):g} {kind}. Nothing was trained and nothing was written. Ask for less, or run it "
                f"on a cluster that has them"
            )


def run(
    subject: Subject,
    rows: ray.data.Dataset,
    workers: Workers,
    *,
    storage: Path | str,
    key: str,
    watch: Watch,
    kept_every_s: float = KEPT_EVERY_S,
) -> Outcome:
    """Trains to the end. States lie in the folder `key` of `storage`, which every node reaches; a course of that key
    that was cut off goes on from there, and the folder is removed when it has ended.

    Raises `NoRoom`, and `TrainingLost` where workers died too often or Ray Train itself failed."""
    check_room(workers)
    began = time.time()
    mend(storage, key)
    desk = open_desk()
    with quiet(), _patience():
        trainer = TorchTrainer(
            _work,
            train_loop_config={"subject": subject, "desk": desk, "kept_every_s": kept_every_s},
            scaling_config=ScalingConfig(
                num_workers=workers.count,
                use_gpu=workers.gpu,
                resources_per_worker=_resources(workers),
                placement_strategy="STRICT_SPREAD" if workers.spread else "PACK",
            ),
            run_config=RunConfig(
                name=key,
                storage_path=str(storage),
                checkpoint_config=CheckpointConfig(num_to_keep=2),
                failure_config=FailureConfig(max_failures=DEATHS, controller_failure_limit=STARTS),
                logging_config=LoggingConfig(log_level="ERROR"),
            ),
            datasets={DATA: rows},
            dataset_config=ray.train.DataConfig(datasets_to_split=[]),
        )
        result = _watched(trainer, desk, watch, storage=storage)
    begun = cast("list[tuple[int, float]]", ray.get(desk.begun.remote()))
    close_desk(desk)
    remove(storage, key)
    started = begun[0][1] if begun else time.time()
    return Outcome(result, begun=tuple(step for step, _ in begun), startup_s=started - began)


def _watched(trainer: TorchTrainer, desk: Handle, watch: Watch, *, storage: Path | str) -> Ended:
    """Ray Train waits in a thread, for it would take Ctrl-C for itself and there is somebody to tell meanwhile."""
    fitting = _Fitting(trainer)
    fitting.start()
    told = -1
    alive = True
    try:
        while alive:
            fitting.join(PULSE_S)
            alive = fitting.is_alive()
            step, looks = ray.get(desk.news.remote(stop=watch.stop()))
            for look in looks:
                watch.told(step, look)
            if step != told:
                watch.told(step, None)
            told = step
    except BaseException:
        desk.news.remote(stop=True)
        fitting.join(LEAVING_S)
        raise
    return fitting.result(storage)


class _Fitting(threading.Thread):
    def __init__(self, trainer: TorchTrainer) -> None:
        super().__init__(name="ray-train", daemon=True)
        self._trainer = trainer
        self._result: Result | None = None
        self._error: Exception | None = None

    def run(self) -> None:
        try:
            self._result = cast("Result", self._trainer.fit())
        except Exception as error:  # noqa: BLE001  the caller's thread raises it
            self._error = error

    def result(self, storage: Path | str) -> Ended:
        """Raises `TrainingLost`, and whatever Ray itself raised."""
        error = self._error
        if isinstance(error, TrainingFailedError):
            raise _lost(error, storage) from error
        if error is not None:
            raise error
        assert self._result is not None
        ended = self._result.return_value
        assert isinstance(ended, Ended)
        return ended


def _lost(error: TrainingFailedError, storage: Path | str) -> TrainingLost:
    failures = list(error.worker_failures.values()) if isinstance(error, WorkerGroupError) else []
    cause = failures[0] if failures else getattr(error, "controller_failure", error)
    where = f"in {storage}" if isinstance(storage, Path) else "where states are kept"
    said = (str(cause).strip() or type(cause).__name__).splitlines()[-1]
    return TrainingLost(
        f"the training's workers were lost too often, or could not be started: {said}. What was kept {where} is "
        f"intact; the same order goes on from there"
    )


def _work(config: dict[str, Any]) -> Ended:
    """One worker, from its first step or the last state that was kept to the end."""
    subject: Subject = config["subject"]
    desk: Handle = config["desk"]
    context = ray.train.get_context()
    rank = context.get_world_rank()
    line = Line(desk) if rank == 0 else None
    post = Post(
        rank=rank,
        workers=context.get_world_size(),
        device=str(ray.train.torch.get_device()),
        threads=max(1, int(_assigned().get("CPU", 1))),
        told=line.look if line else lambda look: None,
        stop=line.stop if line else lambda step: False,
    )
    rows = ray.train.get_dataset_shard(DATA).iter_batches(batch_size=None, batch_format="pyarrow")
    course: Course | None = None
    try:
        course = subject.begin(rows, post, _kept())
        if line is not None:
            line.begin(course.number)
        keeping = _Keeping(course, config["kept_every_s"])
        while not course.ended:
            looked = course.advance()
            if keeping.due(looked=looked) and not course.ended:
                if line is not None:
                    line.settle(course.number)
                _keep(course, rank=rank)
                keeping.begin()
        return Ended(course.finished() if rank == 0 else {}, failed=False)
    except Exception as error:
        told = subject.failed(error)
        if told is None:
            raise
        return Ended(told, failed=True)
    finally:
        if line is not None and course is not None:
            line.settle(course.number)


class _Keeping:
    """When a state is kept: at the first look after half of `every_s` of training, and after all of it look or no look.
    All workers find the same, for the first one's clock counts."""

    def __init__(self, course: Course, every_s: float) -> None:
        self._course = course
        self._every_s = every_s
        self.begin()

    def begin(self) -> None:
        """From now on: what it took to keep the last one is no training."""
        self._from = self._course.number
        self._since = time.monotonic()
        self._next = self._from + 1

    def due(self, *, looked: bool) -> bool:
        number = self._course.number
        if not looked and number < self._next:
            return False
        elapsed_s = self._course.agreed(time.monotonic() - self._since)
        if elapsed_s >= (self._every_s / 2 if looked else self._every_s):
            return True
        pace = (number - self._from) / max(elapsed_s, 1e-3)
        self._next = number + max(1, round(pace * (self._every_s - elapsed_s)))
        return False


def _keep(course: Course, *, rank: int) -> None:
    """All workers report; the first one's state is kept."""
    metrics = {"step": course.number}
    if rank != 0:
        ray.train.report(metrics)
        return
    with tempfile.TemporaryDirectory() as folder:
        for name, content in course.state().items():
            (Path(folder) / name).write_bytes(content)
        ray.train.report(metrics, checkpoint=ray.train.Checkpoint.from_directory(folder))


def _kept() -> Files | None:
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is None:
        return None
    with checkpoint.as_directory() as folder:
        return {path.name: path.read_bytes() for path in Path(folder).iterdir() if not path.name.startswith(".")}


def _assigned() -> dict[str, float]:
    """What this worker may use."""
    return cast("dict[str, float]", ray.get_runtime_context().get_assigned_resources())  # type: ignore[no-untyped-call]


def _resources(workers: Workers) -> dict[str, float]:
    return {"CPU": workers.cpus, **({"GPU": 1} if workers.gpu else {})}


def _most() -> dict[str, float]:
    """What the cluster has, or may have once it has grown."""
    from ray._private.state import state

    now = ray.cluster_resources()  # type: ignore[no-untyped-call]  # Ray declares none
    grown = state.get_max_resources_from_cluster_config() or {}
    return {kind: max(now.get(kind, 0), grown.get(kind, 0)) for kind in now | grown}


@contextmanager
def _patience() -> Iterator[None]:
    """How often Ray Train polls, and what it watches: said by variables that it reads in this process, nowhere else."""
    # States are kept often, so nothing asks which machine will be taken away next: its watcher is a process to spare.
    wanted = {"RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": str(POLL_S), "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0"}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
