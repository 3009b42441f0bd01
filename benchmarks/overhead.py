"""What a cycle of a conversation costs beyond its model and its tool.

Sessions of a real host, one after the other. In each cycle but the last the model asks for one look-up in the shop. A
cycle lasts from one `session.cycle_closed` to the next by the log's own clock, so from commit to commit; the first is
left out, since nothing closes before it. From each cycle is taken

    its model's time  the same request, equal as JSON, sent to the same endpoint by the plain `openai` client over an
                      open connection, until its stream has ended; read as plain JSON, as the host reads it,
                      because the client's own types take longer and would flatter us
    its tool's time   `find_order` with the same argument, called as a function

Both are measured right after the session that asked, so the machine's moods fall on all three. What is left is the
loop, the context's building, the log's commits (fsync) and hand-overs between threads."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

import openai

from benchmarks.scripted import Body, Model, looked_up, order, please_look, settings
from examples.refund.shop import find_order
from runtime.hosting.hosts import Hosts
from runtime.sessions import stream_of
from telemetry.log import open_log


@dataclass(frozen=True, slots=True)
class Spent:
    """One cycle's time and what was spent on the same request and the same call without us, in ms."""

    cycle_ms: float
    model_ms: float
    tool_ms: float

    @property
    def overhead_ms(self) -> float:
        return self.cycle_ms - self.model_ms - self.tool_ms


class Looking:
    """A host with sessions that look orders up, one after the other. Close it."""

    def __init__(self, folder: Path, url: str, *, stream: bool) -> None:
        self._host = Hosts(settings(folder, url))
        self._stream = stream
        self._sessions = 0

    def cycles_s(self, looks: int) -> list[float]:
        """Runs one session; the times of its cycles from the second look-up to the last."""
        one = order(please_look(looks), index=self._sessions, stream=self._stream)
        self._sessions += 1
        for ended, error in self._host.run([one], watch=lambda _: None):
            if error is not None:
                raise RuntimeError(f"session {ended} did not come to its end") from error
        with closing(open_log(self._host.url, mode="read")) as log:
            closed_ns = [r.at for r in log.read(stream_of(one.session), types=("session.cycle_closed",))]
        assert len(closed_ns) == looks + 1, f"{looks} look-ups and a word took {len(closed_ns)} cycles"
        looked_ns = closed_ns[:-1]
        return [(end - begin) / 1e9 for begin, end in pairwise(looked_ns)]

    def close(self) -> None:
        self._host.close()


def measure_overhead(folder: Path, model: Model, *, blocks: int, looks: int) -> list[list[Spent]]:
    """The cycles of each block, on the Ray that the caller is connected to. A first block goes before those that
    count: it imports, connects and allocates."""
    client = openai.OpenAI(base_url=model.url, max_retries=0)
    with closing(Looking(folder, model.url, stream=True)) as host, closing(client):
        return [_block(host, client, model, looks) for _ in range(blocks + 1)][1:]


def _block(host: Looking, client: openai.OpenAI, model: Model, looks: int) -> list[Spent]:
    model.take_requests()
    cycles_s = host.cycles_s(looks)
    requests = model.take_requests()
    assert len(requests) == looks + 1, "each cycle asked the model once"
    _ask(client, requests[0])
    return [
        Spent(
            cycle_ms=cycle_s * 1e3,
            model_ms=_took_ms(partial(_ask, client, request)),
            tool_ms=_took_ms(partial(find_order, looked_up(number))),
        )
        for number, (cycle_s, request) in enumerate(zip(cycles_s, requests[1:-1], strict=True), start=1)
    ]


def _ask(client: openai.OpenAI, body: Body) -> None:
    with client.post(
        "/chat/completions", cast_to=object, body=body, stream=True, stream_cls=openai.Stream[object]
    ) as chunks:
        for _ in chunks:
            pass


def _took_ms(call: Callable[[], object]) -> float:
    began = time.perf_counter_ns()
    call()
    return (time.perf_counter_ns() - began) / 1e6
