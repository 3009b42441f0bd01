"""Run as a process: trainings on the Ray at argv[1], of every session of the log at argv[2].

Each line of stdin is an order in JSON; each line of stdout is what was heard of it, a look or the end."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from contextlib import closing, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import ray

from loops.errors import LoopError
from loops.lives import Source
from loops.training.ray_data import Gathered, gather
from loops.training.world_model import train_jepa
from runtime.errors import exit_code_of
from runtime.sessions import opened
from telemetry.log import open_log
from tests.jepa_worlds import CONFIG
from world_model.errors import LossNotFinite, WorldModelError
from world_model.jepa.config import JepaConfig
from world_model.jepa.fit import Progress

SMALL = CONFIG.model_copy(update={"latent": 2, "hidden": 16, "held_out": 0.34})


class Order(NamedTuple):
    storage: str
    steps: int = 40
    seed: int = 1
    workers: int = 1
    gpu: bool = False
    spread: bool = False
    kept_every_s: float = 0.5
    stop_at: int | None = None
    """A step after which the caller wants no more."""
    config: dict[str, Any] = {}

    @property
    def model(self) -> JepaConfig:
        return SMALL.model_copy(update=self.config)


def sources_of(log: str) -> list[Source]:
    with closing(open_log(log, mode="read")) as store:
        streams = sorted(head.stream for head in store.heads() if head.stream.startswith("session/"))
        return [Source(stream, opened(store, stream)) for stream in streams]


def look(progress: Progress) -> dict[str, Any]:
    return {"step": progress.step, "loss": progress.loss, "held_out": progress.held_out}


def answer(gathered: Gathered, order: Order, say: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    done = 0

    def told(step: int, looked: Progress | None) -> None:
        nonlocal done
        done = max(done, step)
        if looked is not None:
            say({"look": look(looked)})

    try:
        trained = train_jepa(
            gathered,
            order.model,
            steps=order.steps,
            seed=order.seed,
            name="tiny",
            workers=order.workers,
            gpu=order.gpu,
            spread=order.spread,
            storage=Path(order.storage),
            told=told,
            stop=lambda: order.stop_at is not None and done >= order.stop_at,
            kept_every_s=order.kept_every_s,
        )
    except (LoopError, WorldModelError) as error:
        positions = [error.first_position, error.last_position] if isinstance(error, LossNotFinite) else None
        said = {"error": type(error).__name__, "message": str(error), "positions": positions}
        return said | {"code": exit_code_of(error)}
    fitted = trained.fitted
    return {
        "model": fitted.model.model_id,
        "curve": [look(progress) for progress in fitted.progress],
        "steps": fitted.steps,
        "begun": trained.begun,
        "lost": trained.lost,
        "resumed": trained.resumed,
        "startup_s": trained.startup_s,
    }


def main(address: str, log: str) -> None:
    out = sys.stdout

    def say(said: dict[str, Any]) -> None:
        print(json.dumps(said), file=out, flush=True)

    with redirect_stdout(sys.stderr):  # as commands do: Ray itself says there when a worker dies
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
        heard: list[int] = []
        gathered = gather(log, sources_of(log), heard=heard.append)
        say({"read": gathered.lessons.digest, "heard": sorted(heard)})
        for line in sys.stdin:
            say(answer(gathered, Order(**json.loads(line)), say))


if __name__ == "__main__":
    main(*sys.argv[1:])
