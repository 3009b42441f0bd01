"""Run as a process: looks at a phase actor's process on the node `far` of the Ray at argv[1], from the head, before and
after it is ended; prints what was said of it."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from typing import cast

import ray

from runtime.hosting.executors import Executor, Life, life, life_here, parse, this_process
from runtime.hosting.pools import Handle

POLLS = 500


class Named:
    def name(self) -> str:
        return this_process()


async def _asked(executor: Executor, *, while_: Life) -> Life:
    """What is said of it once that is something else: a busy node may not answer in time at first."""
    said = await life(executor)
    for _ in range(POLLS):
        if said not in (while_, "unknown"):
            break
        await asyncio.sleep(0.02)
        said = await life(executor)
    return said


async def main() -> dict[str, object]:
    actor = cast("Handle", ray.remote(Named).options(resources={"far": 0.1}).remote())
    executor = parse(await actor.name.remote())
    assert executor is not None
    said: dict[str, object] = {"here": life_here(executor), "there": await _asked(executor, while_="unknown")}
    ray.kill(actor)
    now = await _asked(executor, while_="alive")
    return said | {"afterwards": now, "of a node nobody knows": await life(executor._replace(node="0" * 56))}


if __name__ == "__main__":
    ray.init(sys.argv[1], log_to_driver=False, logging_level=logging.ERROR)
    print(json.dumps(asyncio.run(main())))  # noqa: T201  what this process is asked for
