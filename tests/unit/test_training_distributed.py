"""Workers that share each step's batch make the step that one worker makes of the whole batch."""

from __future__ import annotations

import multiprocessing
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed

from tests.jepa_worlds import CONFIG, hidden_speed, spring
from world_model.errors import LossNotFinite, ShapeError
from world_model.experience import Experience
from world_model.jepa.config import JepaConfig
from world_model.jepa.course import Joint, Settling
from world_model.jepa.crew import ALONE, Crew, Together
from world_model.jepa.fit import begin
from world_model.jepa.lesson import Lesson
from world_model.jepa.network import Network
from world_model.jepa.senses import senses_of
from world_model.jepa.training import Budget, Training

WORKERS = 2
STEPS = 24
MEMORY = CONFIG.model_copy(update={"history": 2})
WORLDS = {"spring": (spring(rows=600), CONFIG), "a world with a memory": (hidden_speed(rows=600), MEMORY)}
Gradients = dict[str, torch.Tensor]
Found = dict[str, Any]
"""What a worker wrote down."""


def gradients(experience: Experience, config: JepaConfig, crew: Crew) -> dict[str, Gradients]:
    """Of the first step of each stage, with the same weights."""
    found: dict[str, Gradients] = {}
    for stage in (Joint, Settling):
        torch.manual_seed(5)
        network = Network(experience.layout, senses_of(experience), config)
        loss = stage(Lesson.of(experience, config, seed=1), network, crew=crew).step(3, done=0.5)
        found[stage.__name__] = {n: p.grad for n, p in network.named_parameters() if p.grad is not None}
        found[stage.__name__]["losses"] = torch.stack(list(loss))
    return found


def training(crew: Crew, *, stopped_at: int = STEPS, spoilt: bool = False) -> Training:
    experience = spring(rows=600)
    if spoilt:
        experience.seen_ND[:] = float("nan")
    ends = stopped_at if crew.rank == 0 else 10**6
    return begin(experience, CONFIG, Budget(STEPS, None, lambda step: step >= ends), seed=3, crew=crew)


def ended(one: Training) -> Training:
    while not one.ended:
        one.advance()
    return one


def said(one: Training) -> Found:
    fitted = ended(one).fitted()
    return {
        "curve": [(look.step, look.loss, look.held_out) for look in fitted.progress],
        "weights": {name: tensor.clone() for name, tensor in fitted.model.network.state_dict().items()},
        "steps": fitted.steps,
    }


def failure(one: Training) -> str:
    try:
        ended(one)
    except LossNotFinite as stopped:
        return str(stopped)
    return "none"


def work(rank: int, folder: str) -> None:
    """One worker: everything that needs two of them, written for the tests to read."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=WORKERS)
    crew = Together()
    found = {
        "gradients": {name: gradients(*world, crew) for name, world in WORLDS.items()},
        "ended": said(training(crew)),
        "stopped": said(training(crew, stopped_at=7)),
        "failure": failure(training(crew, spoilt=True)),
        "uneven": uneven(crew),
    }
    torch.save(found, Path(folder) / f"{rank}.pt")
    torch.distributed.destroy_process_group()


def uneven(crew: Crew) -> str:
    try:
        begin(spring(rows=600), CONFIG.model_copy(update={"batch": 63}), Budget(STEPS, None), crew=crew)
    except ShapeError as error:
        return str(error)
    return "none"


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> list[Found]:
    folder = tmp_path_factory.mktemp("workers")
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=work, args=(rank, str(folder))) for rank in range(WORKERS)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(WORKERS)]


@pytest.mark.parametrize("stage", ["Joint", "Settling"])
@pytest.mark.parametrize("world", WORLDS)
def test_the_gradient_of_two_workers_is_that_of_one_with_the_whole_batch(
    workers: list[Found], world: str, stage: str
) -> None:
    alone = gradients(*WORLDS[world], ALONE)[stage]
    for worker in workers:
        found = worker["gradients"][world][stage]
        assert found.keys() == alone.keys()
        for name, gradient in alone.items():
            torch.testing.assert_close(found[name], gradient, rtol=2e-4, atol=2e-6, msg=f"{name} of {stage}")


def test_all_workers_end_with_the_same_curve_and_weights_as_one_but_for_rounding(
    workers: list[Found],
) -> None:
    alone = said(training(ALONE))
    first, second = (worker["ended"] for worker in workers)
    assert first["curve"] == second["curve"]
    assert first["steps"] == alone["steps"]
    for name, tensor in first["weights"].items():
        assert torch.equal(tensor, second["weights"][name])
    torch.testing.assert_close(torch.tensor(first["curve"]), torch.tensor(alone["curve"]), rtol=1e-2, atol=1e-4)


def test_all_workers_stop_when_the_first_one_is_told_to(workers: list[Found]) -> None:
    assert [worker["stopped"]["steps"] for worker in workers] == [7, 7]


def test_a_loss_that_is_not_finite_stops_every_worker(workers: list[Found]) -> None:
    assert all("the loss of step 1 is not finite" in str(worker["failure"]) for worker in workers)


def test_a_batch_that_cannot_be_shared_evenly_is_refused(workers: list[Found]) -> None:
    assert all("63 sequences of a batch cannot be shared evenly by 2 workers" in str(w["uneven"]) for w in workers)
