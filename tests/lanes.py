"""Run as a process: a lane to one phase actor on the Ray at argv[1], asked by many at once; prints what came of it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import cast

import ray

from runtime.errors import Backpressure
from runtime.hosting.lanes import Lane
from runtime.hosting.pools import MAX_PENDING_CALLS, Handle, PhaseActor, remote

ASKS = 200
LIMIT_S = 30.0


class Asked(PhaseActor):
    """A phase actor without phases, whose methods go well, go wrong, hang and die as they are told."""

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)
        self._calls = 0

    def together(self, asks, budget_s):  # type: ignore[no-untyped-def]  # as PhaseActor's, and counted
        self._calls += 1
        return super().together(asks, budget_s)

    def calls(self) -> int:
        return self._calls

    def echo(self, number: int) -> int:
        if number % 10 == 7:
            raise KeyError(number)
        return number

    def hang(self) -> None:
        while True:
            time.sleep(1)

    def die_once(self, number: int) -> int:
        died = self._folder / f"died-{number}"
        if not died.exists():
            died.touch()
            os._exit(1)
        return number

    def wait_for(self, name: str) -> None:
        while not (self._folder / name).exists():
            time.sleep(0.01)


async def main(folder: Path) -> dict[str, object]:
    options = ray.remote(Asked).options(num_cpus=0, max_restarts=-1, max_pending_calls=MAX_PENDING_CALLS)
    actor = cast("Handle", options.remote(str(folder)))
    lane = Lane(actor)

    async def ask(method: str, *arguments: object, limit_s: float = LIMIT_S) -> object:
        try:
            return await lane.ask(method, *arguments, what=method, limit_s=limit_s)
        except Exception as error:  # noqa: BLE001  it is what is looked at
            return f"{type(error).__name__}: {error}"

    await remote(lambda: actor.calls.remote())  # it has come, which no ask's limit is for
    said: dict[str, object] = {}
    said["echoed"] = await asyncio.gather(*(ask("echo", number) for number in range(ASKS)))
    said["calls"] = await ask("calls")
    beside = [ask("echo", number, limit_s=10.0) for number in range(4)]
    said["beside_hanging"] = await asyncio.gather(*beside[:2], ask("hang", limit_s=1.0), *beside[2:])
    beside = [ask("die_once" if number == 5 else "echo", number) for number in range(7)]
    said["beside_dying"] = await asyncio.gather(*beside)
    said["refused"], said["answered"] = await _beyond_its_bound(actor, folder)
    said["afterwards"] = await ask("echo", 1)
    return said


async def _beyond_its_bound(actor: Handle, folder: Path) -> tuple[str, int]:
    """What a call beyond the bound is told, and how many of those before it are answered."""
    calls = [actor.wait_for.remote("go") for _ in range(MAX_PENDING_CALLS)]
    try:
        await remote(lambda: actor.echo.remote(1))
        refused = "no"
    except Backpressure as error:
        refused = str(error)
    (folder / "go").touch()
    return refused, len(await asyncio.gather(*calls))


if __name__ == "__main__":
    ray.init(sys.argv[1], log_to_driver=False, runtime_env={"env_vars": {"PYTHONPATH": os.environ["PYTHONPATH"]}})
    sys.stdout.write(json.dumps(asyncio.run(main(Path(sys.argv[2])))))
