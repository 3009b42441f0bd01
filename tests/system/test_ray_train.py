"""Trainings on Ray Train from a real log: what kills do not change, what two nodes do not change, what is refused."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
import torch

from loops.lessons import Lessons, read_lessons
from runtime.fork import fork
from telemetry.log import open_log
from tests.aether import ROOT, RUN_TIMEOUT_S, end_with_parent, wait_until
from tests.clusters import Head, Nodes, actors_in
from tests.local import Local
from tests.trainings import SMALL, look, sources_of
from world_model.errors import LossNotFinite
from world_model.jepa.fit import Fitted, fit

LINE = """
name = "line"
environment = { id = "gymnasium:AetherLine-v0", max_frames = 24, episodes = 9 }
memory = { recall = 0 }
"""
LONG = 1200
"""Steps of a training that is killed meanwhile: seconds."""
WORKER = "RayTrainWorker"


class Driver:
    """`tests.trainings` on a cluster."""

    def __init__(self, cluster: Head | Nodes, log: Path) -> None:
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  `close` closes it
        self._process = subprocess.Popen(
            (sys.executable, "-m", "tests.trainings", cluster.address, str(log)),
            env=cluster.env | {"PYTHONPATH": str(ROOT)},
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            start_new_session=True,
            preexec_fn=end_with_parent,
        )
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()
        self.read = self.heard()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)

    def heard(self) -> dict[str, Any]:
        """The next line."""
        try:
            line = self._lines.get(timeout=RUN_TIMEOUT_S)
        except queue.Empty:
            raise AssertionError(self._said()) from None
        said = json.loads(line)
        assert isinstance(said, dict)
        return said

    def _said(self) -> str:
        """On stderr."""
        self._errors.seek(0)
        return self._errors.read()

    def order(self, storage: Path, **order: Any) -> None:  # noqa: ANN401  the fields of an order
        assert self._process.stdin is not None
        print(json.dumps({"storage": str(storage), **order}), file=self._process.stdin, flush=True)

    def end(self) -> dict[str, Any]:
        """What it ended with, and the looks that were heard before as `looks`."""
        looks = []
        while "look" in (said := self.heard()):
            looks.append(said["look"])
        return said | {"looks": looks}

    def run(self, storage: Path, **order: Any) -> dict[str, Any]:  # noqa: ANN401
        self.order(storage, **order)
        return self.end()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        self.kill()
        self._errors.close()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            with suppress(BrokenPipeError):
                stream.close()


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten sessions, one of them a fork."""
    path = tmp_path_factory.mktemp("log") / "aether.db"
    with closing(open_log(path)) as store:
        local = Local(store)
        for seed in range(9):
            local.run(f"s{seed}", LINE, seed=seed, cycles=40)
        fork(store, "s0", at=local.events("s0", "session.cycle_closed")[9].version, new="forked")
        local.run("forked", LINE, cycles=40)
        local.close()
    return path


@pytest.fixture(scope="module")
def lessons(log: Path) -> Lessons:
    with closing(open_log(log, mode="read")) as store:
        return read_lessons(store, sources_of(str(log)))


@pytest.fixture(scope="module")
def driver(head: Head, log: Path) -> Iterator[Driver]:
    one = Driver(head, log)
    yield one
    one.close()


def plain(lessons: Lessons, *, steps: int) -> Fitted:
    """The same in this process, without Ray."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    fitted = fit(lessons.experience, SMALL, steps=steps, seed=1, name="tiny")
    torch.set_num_threads(before)
    return fitted


@pytest.fixture(scope="module")
def undisturbed(lessons: Lessons) -> Fitted:
    return plain(lessons, steps=LONG)


def same(found: dict[str, Any], fitted: Fitted) -> bool:
    """The whole curve, to the bit, and the weights."""
    curve = [look(progress) for progress in fitted.progress]
    return (found["model"], found["curve"], found["steps"]) == (fitted.model.model_id, curve, fitted.steps)


def kept(storage: Path) -> bool:
    """Whether Ray Train knows of a state; it lies there a little before."""
    return any(storage.glob("*/checkpoint_manager_snapshot.json"))


def test_what_read_tasks_bring_is_what_one_reader_reads(driver: Driver, lessons: Lessons) -> None:
    assert driver.read["read"] == lessons.digest
    assert sum(driver.read["heard"]) == lessons.experience.transitions
    assert len(driver.read["heard"]) == len(lessons.streams)


def test_one_worker_trains_bit_for_bit_as_this_process_and_leaves_nothing_behind(
    driver: Driver, lessons: Lessons, tmp_path: Path
) -> None:
    expected = plain(lessons, steps=40)
    for _ in range(2):
        found = driver.run(tmp_path)
        assert same(found, expected)
        assert found["looks"] == found["curve"]
        assert (found["begun"], found["lost"]) == ([0], 0)
        assert not list(tmp_path.iterdir())


def test_a_worker_that_is_killed_goes_on_from_the_last_state_to_the_same_end(
    driver: Driver, head: Head, undisturbed: Fitted, tmp_path: Path
) -> None:
    wait_until(lambda: not actors_in(head.folder, WORKER), what="workers of orders before this one end")
    driver.order(tmp_path, steps=LONG)
    wait_until(lambda: kept(tmp_path), what="a state is kept")
    (worker,) = actors_in(head.folder, WORKER)
    os.kill(worker, signal.SIGKILL)
    found = driver.end()
    assert same(found, undisturbed)
    assert found["looks"] == found["curve"]
    first, again = found["begun"]
    assert first == 0 < again < LONG


def test_an_order_whose_driver_was_killed_goes_on_when_it_is_given_again(
    head: Head, log: Path, undisturbed: Fitted, driver: Driver, tmp_path: Path
) -> None:
    first = Driver(head, log)
    first.order(tmp_path, steps=LONG)
    wait_until(lambda: kept(tmp_path), what="a state is kept")
    first.close()
    wait_until(lambda: not actors_in(head.folder, WORKER), what="its workers end")
    found = driver.run(tmp_path, steps=LONG)
    assert same(found, undisturbed)
    assert 0 < found["resumed"] < LONG


def test_a_training_that_is_told_to_stop_ends_with_what_is_best_so_far(driver: Driver, tmp_path: Path) -> None:
    found = driver.run(tmp_path, steps=10_000, stop_at=800)
    assert 800 <= found["steps"] < 10_000
    assert found["curve"][-1]["step"] == found["steps"]
    assert not list(tmp_path.iterdir())


def test_what_stops_a_training_comes_out_as_itself_with_its_fields(
    driver: Driver, lessons: Lessons, tmp_path: Path
) -> None:
    wild = {"learning_rate": 1e30}
    with pytest.raises(LossNotFinite) as error:
        fit(lessons.experience, SMALL.model_copy(update=wild), steps=40, seed=1)
    found = driver.run(tmp_path, config=wild)
    assert (found["error"], found["message"]) == ("LossNotFinite", str(error.value))
    assert found["positions"] == [error.value.first_position, error.value.last_position]
    assert not list(tmp_path.iterdir())


def test_what_the_cluster_does_not_have_is_refused_before_anything_is_written(driver: Driver, tmp_path: Path) -> None:
    storage = tmp_path / "states"
    for asked, kind in (({"gpu": True}, "GPU"), ({"workers": 64}, "CPU")):
        found = driver.run(storage, **asked)
        assert (found["error"], found["code"]) == ("NoRoom", 6)
        assert f"the cluster has {0 if kind == 'GPU' else 8} {kind}" in found["message"]
    uneven = driver.run(storage, workers=3)
    assert (uneven["error"], "cannot be shared evenly by 3 workers" in uneven["message"]) == ("ShapeError", True)
    assert not storage.exists()


def test_two_workers_on_two_nodes_train_what_one_worker_trains_but_for_rounding(
    log: Path, lessons: Lessons, tmp_path: Path
) -> None:
    with closing(Nodes(cpus=2)) as nodes:
        nodes.add(cpus=2)
        with closing(Driver(nodes, log)) as driver:
            found = driver.run(tmp_path, workers=2, spread=True)
    curve = [look(progress) for progress in plain(lessons, steps=40).progress]
    assert [one["step"] for one in found["curve"]] == [one["step"] for one in curve]
    for one, other in zip(found["curve"], curve, strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-3)
        assert one["held_out"] == pytest.approx(other["held_out"], rel=1e-3)
