"""`aether gateway` as a process: it says where it listens, and Ctrl-C leaves a whole log."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from aiohttp import ClientError, ClientSession, web

from runtime.replay import replay
from telemetry.events import reason, session
from telemetry.log import open_log
from tests.aether import AETHER, ROOT, RUN_TIMEOUT_S, end_with_parent, environment
from tests.upstream import Body, message, reply, scripted, upstream, user

GATEWAY = (*AETHER, "gateway")


@contextmanager
def started(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = (*GATEWAY, "--listen", "127.0.0.1:0", "--log", str(folder / "log.db"), *arguments)
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env={**environment(folder), "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=end_with_parent,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
async def test_a_signal_rests_the_sessions_and_says_what_was_recorded(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    async with upstream(scripted(lambda _: message("hello"))) as endpoint:
        with started(tmp_path, "--upstream", endpoint.url) as process:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            asked = {"model": "small", "messages": [user("Hi")]}
            async with ClientSession() as http, http.post(f"{url}/chat/completions", json=asked) as got:
                assert (await got.json())["choices"][0]["message"]["content"] == "hello"
            process.send_signal(number)
            out, err = process.communicate(timeout=RUN_TIMEOUT_S)
    assert (process.returncode, out) == (code, "")
    assert "1 requests of 1 sessions recorded" in err
    with closing(open_log(tmp_path / "log.db", mode="read")) as log:
        (opened,) = log.read_all(types=["session.opened"])
        *_, last = log.read(opened.stream)
        assert isinstance(last.event, session.Suspended)
        assert last.event.reason == "the gateway ended"
        assert replay(log, opened.stream).agrees


async def test_after_a_kill_the_session_goes_on_and_the_lost_answer_is_said_to_be_cut(tmp_path: Path) -> None:
    asked, named = asyncio.Event(), {"x-aether-session": "mine"}

    async def answer(request: web.Request, body: Body) -> web.StreamResponse:
        if not asked.is_set():
            asked.set()
            await asyncio.Event().wait()
        return await reply(request, body, message("hello"))

    async with upstream(answer) as endpoint, ClientSession(headers=named) as http:
        with started(tmp_path, "--upstream", endpoint.url) as process:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            asking = asyncio.create_task(_post(http, url))
            await asyncio.wait_for(asked.wait(), RUN_TIMEOUT_S)
            with closing(open_log(tmp_path / "log.db", mode="read")) as log:
                news = log.subscribe(types=["reason.requested"])
                while not (await asyncio.to_thread(news.next, 10)).events:
                    pass
            process.kill()
            with pytest.raises(ClientError):
                await asking
        with started(tmp_path, "--upstream", endpoint.url) as process:
            assert process.stdout is not None
            assert await _post(http, process.stdout.readline().strip()) == "hello"
            process.send_signal(signal.SIGINT)
            await asyncio.to_thread(process.communicate, timeout=RUN_TIMEOUT_S)
    with closing(open_log(tmp_path / "log.db", mode="read")) as log:
        events = [recorded.event for recorded in log.read("session/mine")]
        assert [e.after for e in events if isinstance(e, session.Resumed)] == ["interrupted"]
        assert [e.kind for e in events if isinstance(e, reason.Unanswered)] == ["cut"]
        report = replay(log, "mine")
        assert report.agrees
        assert report.cycles == 2


async def _post(http: ClientSession, url: str) -> str:
    async with http.post(f"{url}/chat/completions", json={"messages": [user("Hi")]}) as got:
        return str((await got.json())["choices"][0]["message"]["content"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--listen", "0.0.0.0:0"), "loopback only"),
        (("--listen", "8320"), "no address"),
        (("--upstream", "api.openai.com"), "no HTTP URL"),
    ],
)
def test_what_cannot_be_meant_ends_in_a_usage_error(tmp_path: Path, arguments: tuple[str, str], words: str) -> None:
    with started(tmp_path, "--upstream", "http://127.0.0.1:9/v1", *arguments) as process:
        _, err = process.communicate(timeout=RUN_TIMEOUT_S)
    assert process.returncode == 2
    assert words in err


def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        with started(tmp_path, "--upstream", "http://127.0.0.1:9/v1", "--listen", where) as process:
            _, err = process.communicate(timeout=RUN_TIMEOUT_S)
    assert process.returncode == 6
    assert "cannot be listened on" in err
