"""Sessions in this process: the real runner, journal, phases, log and environments, without a Ray cluster.

Knows how to cut a session off at any commit or phase call and how to take it up again with nothing but its log;
a cut is an exception that no one handles, so what stood in memory is lost as it is when a process is killed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import orjson

from loops.context import Context
from loops.state import SessionState, apply
from runtime.hosting.orders import Surroundings
from runtime.hosting.placement import Placement
from runtime.hosting.recall import HostMemory
from runtime.models.registry.store import Registry
from runtime.models.standing import Standings
from runtime.opening import Purpose
from runtime.runner import SessionRunner
from runtime.scenario import ScenarioFile, parse_scenario
from runtime.sessions import SessionRow
from telemetry.errors import LogUnwritable
from telemetry.events import Draft, Recorded
from telemetry.events.values import ModelId
from telemetry.log import EventLog
from telemetry.log.facts import Fact
from tests import worlds

OWNER = "tests/1"
worlds.register()

Stall = Callable[[LogUnwritable], None]
"""Called when the log takes no more; raises the error to give up, returns to try again."""


class Cut(BaseException):
    """The process ends here. Not an `Exception`: nothing of ours may handle it."""


@dataclass
class Cutter:
    """Counts moments, and cuts at number `at`, from 1; 0 never cuts."""

    at: int = 0
    seen: int = 0

    def here(self) -> None:
        self.seen += 1
        if self.seen == self.at:
            raise Cut(self.at)


class CutLog:
    """A log whose writer dies just before or just after a commit."""

    def __init__(self, log: EventLog, cutter: Cutter) -> None:
        self._log = log
        self._cutter = cutter

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  the log's own methods
        return getattr(self._log, name)

    def submit(
        self, stream: str, drafts: Sequence[Draft], *, expected_version: int, epoch: int
    ) -> Future[tuple[Recorded, ...]]:
        self._cutter.here()
        written = self._log.submit(stream, drafts, expected_version=expected_version, epoch=epoch)
        written.exception()
        self._cutter.here()
        return written


class CutPlacement(Placement):
    """A placement whose process dies just before or just after a phase's call."""

    cutter = Cutter()

    async def run(self, method: Any, context: Context, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        self.cutter.here()
        answer = await super().run(method, context, *args, **kwargs)
        self.cutter.here()
        return answer


class Local:
    """Runs sessions on one log. Every run has a journal, a placement and replicas of its own."""

    def __init__(self, log: EventLog) -> None:
        self.log = log
        self.registry: Registry | None = None
        """Where trained models lie."""
        self.standings = Standings(log)
        self._threads = _threads()

    def run(
        self,
        name: str,
        scenario: str,
        *,
        seed: int = 7,
        cycles: int | None = None,
        stop: Callable[[], bool] = lambda: False,
        commits: Cutter | None = None,
        calls: Cutter | None = None,
        stall: Stall | None = None,
        memory: HostMemory | None = None,
        owner: str = OWNER,
        model: ModelId | None = None,
        purpose: Purpose | None = None,
    ) -> SessionRow:
        """Opens or resumes the session `name` and runs it to its end. `commits` and `calls` may cut it off; `owner`
        is the host's name; `model` and `purpose` are as an order gives them."""
        file = parse_scenario(scenario, source="scenario")
        log: EventLog = CutLog(self.log, commits) if commits else self.log
        runner = SessionRunner(
            f"session/{name}",
            file,
            log=log,
            placement=self._placement(file, log, calls),
            memory=memory,
            owner=owner,
            stall=_waiting(stall),
            standings=self.standings,
        )
        try:
            return asyncio.run(runner.run(seed=seed, cycles=cycles, stop=stop, model=model, purpose=purpose))
        except Cut:  # a killed process does nothing more: what its threads have begun ends before anybody goes on
            self._threads.shutdown()
            self._threads = _threads()
            raise

    def _placement(self, file: ScenarioFile, log: EventLog, calls: Cutter | None) -> Placement:
        around = Surroundings(registry=self.registry)
        if calls is None:
            return Placement(file.scenario, file.text, log, self._threads, surroundings=around)
        placement = CutPlacement(file.scenario, file.text, log, self._threads, surroundings=around)
        placement.cutter = calls
        return placement

    def events(self, name: str, *types: str) -> list[Recorded]:
        return list(self.log.read(f"session/{name}", types=types))

    def types(self, name: str) -> list[str]:
        return [recorded.type for recorded in self.events(name)]

    def append(self, name: str, draft: Draft) -> Recorded:
        """What another writer would append to a session that rests, as the CLI does for an approval."""
        head = self.log.head(f"session/{name}")
        assert head is not None
        return self.log.append(head.stream, [draft], expected_version=head.version, epoch=head.epoch)[0]

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=4)


def _waiting(stall: Stall | None) -> Callable[[LogUnwritable], Any]:
    async def wait(error: LogUnwritable) -> None:
        if stall is None:
            raise error
        stall(error)

    return wait


def folded(events: Sequence[Recorded], start: SessionState | None = None) -> SessionState:
    """The state after `events`."""
    state = start or SessionState()
    for recorded in events:
        state = apply(state, recorded.event)
    return state


def facts_of(events: Iterable[Recorded]) -> Iterator[Fact]:
    """What `EventLog.facts` gives of these events."""
    for r in events:
        body = r.payload if r.encoding == "plain" else r.content
        yield r.position, r.stream, r.version, r.type, r.schema, r.command, r.epoch, r.encoding, body


def story(events: Sequence[Recorded]) -> list[tuple[str, dict[str, object]]]:
    """What happened, without what only says who wrote it and when: equal for equal sessions, however often cut."""
    told = []
    for recorded in events:
        if recorded.type == "session.resumed":
            continue
        payload = orjson.loads(recorded.content or recorded.payload)
        for name in ("effect", "deadline"):  # the effect's key holds the stream's name
            payload.pop(name, None)
        for counted in payload.get("figures", {}).get("by_action", {}).values():
            counted.pop("mean_ms")
        told.append((recorded.type, payload))
    return told
