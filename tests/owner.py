"""One host's part in the session `s`: a runner of its own, without Ray.

Run as a process it takes the session up on the log at argv[1], with the scenario in the file argv[2], and prints how
that ended."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

from loops.gateway import Gateway
from runtime.errors import OwnedElsewhere
from runtime.hosting.placement import Placement
from runtime.runner import SessionRunner
from runtime.scenario import parse_scenario
from runtime.sessions import SessionRow
from telemetry.errors import LogUnwritable
from telemetry.log import EventLog, open_log

STREAM = "session/s"


class Owner:
    """`gateway` is another process' way out, in place of this one's."""

    def __init__(
        self, log: EventLog, text: str, *, gateway: Gateway | None = None, kind: type[Placement] = Placement
    ) -> None:
        file = parse_scenario(text, source="scenario")
        self._threads = ThreadPoolExecutor(4)
        self._runs = ThreadPoolExecutor(1)

        async def stall(error: LogUnwritable) -> None:
            raise error

        self.runner = SessionRunner(
            STREAM,
            file,
            log=log,
            placement=kind(file.scenario, file.text, log, self._threads, gateway=gateway),
            memory=None,
            owner="tests/1",
            stall=stall,
        )

    def run(self, stop: Callable[[], bool] = lambda: False) -> SessionRow:
        return asyncio.run(self.runner.run(seed=7, cycles=None, stop=stop))

    def start(self) -> Future[SessionRow]:
        return self._runs.submit(self.run)

    @property
    def waits(self) -> bool:
        """For a former executor."""
        return self.runner.progress.waiting is not None


def main(url: str, scenario: Path) -> str:
    with closing(open_log(url)) as log:
        try:
            return str(Owner(log, scenario.read_text(encoding="utf-8")).run().outcome)
        except OwnedElsewhere as error:
            return type(error).__name__


if __name__ == "__main__":
    sys.stdout.write(f"{main(sys.argv[1], Path(sys.argv[2]))}\n")
