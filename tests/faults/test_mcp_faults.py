"""An MCP server that dies, hangs, lies or is not there: its call has an outcome, and the next one works."""

from __future__ import annotations

import os
import select
import signal
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from loops.environments.tools.mcp import McpTools
from loops.environments.tools.mcp_link import Link
from loops.environments.tools.settings import McpServer
from loops.errors import EnvironmentFailed, ScenarioInvalid, ToolFailed
from tests.aether import wait_until
from tests.mcp_servers.served import bench, call, connected, is_there, over_http, script, spoken

SOON_S = 100.0
ONE_TOOL = {"pages": [[{"name": "t", "inputSchema": {"type": "object"}}]], "result": {"content": []}}


def lost_call(tools: McpTools, folder: Path) -> ToolFailed:
    """Kills the server while a call runs in it; what the call raised."""
    with ThreadPoolExecutor() as pool:
        hanging = pool.submit(call, tools, "bench_hang")
        os.kill(told_pid(folder), signal.SIGKILL)
        failed = hanging.exception(SOON_S)
    assert isinstance(failed, ToolFailed)
    return failed


def told_pid(folder: Path) -> int:
    told = folder / "pid"
    wait_until(lambda: told.exists() and bool(told.read_text()), timeout_s=SOON_S, what="the call runs")
    pid = int(told.read_text())
    told.unlink()
    return pid


@pytest.fixture(params=["stdio", "http"])
def slow(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[McpTools]:
    """The bench server, with little patience."""
    if request.param == "stdio":
        with connected(bench(tmp_path, timeout_s=0.5)) as tools:
            yield tools
        return
    with over_http(tmp_path) as (_, port):
        url = f"http://127.0.0.1:{port}/mcp"
        with connected(McpServer(name="bench", url=url, timeout_s=0.5)) as tools:
            yield tools


def test_a_call_that_takes_too_long_is_cancelled_at_the_server_and_the_next_one_works(
    slow: McpTools, tmp_path: Path
) -> None:
    def began() -> bool:
        """Whether the server had begun the call by the time it was given up."""
        with pytest.raises(ToolFailed, match=r"did not answer within 0\.5 s") as failed:
            call(slow, "bench_hang")
        assert failed.value.kind == "timeout"
        return (tmp_path / "pid").exists()

    def works() -> bool:
        try:
            return call(slow, "bench_add", a=1, b=2) == {"total": 3}
        except ToolFailed as late:
            if late.kind != "timeout":
                raise
            return False

    wait_until(began, timeout_s=SOON_S, what="the call runs")
    wait_until((tmp_path / "stopped").exists, timeout_s=SOON_S, what="the server stopped the call")
    wait_until(works, timeout_s=SOON_S, what="the next one works")


def test_a_server_killed_in_a_call_loses_that_call_and_is_started_anew_for_the_next(tmp_path: Path) -> None:
    with connected(bench(tmp_path)) as tools:
        before = call(tools, "bench_pid")
        failed = lost_call(tools, tmp_path)
        assert (failed.kind, "broke off before it answered" in str(failed)) == ("lost", True), failed
        assert call(tools, "bench_add", a=1, b=2) == {"total": 3}
        assert call(tools, "bench_pid") != before


def test_a_server_that_dies_in_a_call_leaves_its_last_words_in_the_error(tmp_path: Path) -> None:
    with connected(bench(tmp_path)) as tools:
        with pytest.raises(ToolFailed, match="Its last words on stderr: out of shelves") as failed:
            call(tools, "bench_die", words="out of shelves")
        assert failed.value.kind == "lost"
        assert call(tools, "bench_add", a=1, b=2) == {"total": 3}


def test_every_call_of_a_killed_server_is_lost_and_one_new_server_is_started(tmp_path: Path) -> None:
    with connected(bench(tmp_path)) as tools, ThreadPoolExecutor() as pool:
        others = [pool.submit(call, tools, "bench_wait") for _ in range(4)]
        waits = tmp_path / "waits"
        wait_until(lambda: waits.exists() and waits.read_text().count("\n") == 4, timeout_s=SOON_S, what="they wait")
        lost_call(tools, tmp_path)
        for other in others:
            error = other.exception(SOON_S)
            assert isinstance(error, ToolFailed)
            assert error.kind == "lost"
        pids = [pool.submit(call, tools, "bench_pid") for _ in range(4)]
        assert len({str(pid.result(SOON_S)) for pid in pids}) == 1


def test_a_server_killed_between_calls_is_started_anew_and_no_call_is_lost(tmp_path: Path) -> None:
    with connected(bench(tmp_path)) as tools:
        _kill(_pid(tools))
        assert call(tools, "bench_add", a=1, b=2) == {"total": 3}


def test_a_servers_end_is_noticed_before_a_call_also_where_it_was_not_read_yet(tmp_path: Path) -> None:
    async def noticed() -> None:
        link = Link(bench(tmp_path))
        async with anyio.create_task_group() as tasks:
            await tasks.start(link.hold, SOON_S)
            told = await link.ask("pid", {}, None)
            assert isinstance(told, dict)
            assert isinstance(told["result"], int)
            _kill(told["result"])  # the loop stands still meanwhile
            assert (link.usable, await link.stands()) == (True, False)

    anyio.run(noticed)


def test_an_http_server_killed_in_a_call_loses_that_call_and_the_next_works_once_it_is_back(tmp_path: Path) -> None:
    with (
        over_http(tmp_path) as (process, port),
        connected(McpServer(name="bench", url=f"http://127.0.0.1:{port}/mcp")) as tools,
    ):
        assert lost_call(tools, tmp_path).kind == "lost"
        process.wait()
        with pytest.raises(ToolFailed, match="The call was not sent; the next one tries again") as failed:
            call(tools, "bench_add", a=1, b=2)
        assert failed.value.kind == "not_done"
        with over_http(tmp_path, port):
            assert call(tools, "bench_add", a=1, b=2) == {"total": 3}


def test_a_server_that_forgot_its_session_is_asked_for_a_new_one_by_the_next_call(tmp_path: Path) -> None:
    with (
        over_http(tmp_path, server="forgetful.py") as (_, port),
        connected(McpServer(name="shop", url=f"http://127.0.0.1:{port}/mcp")) as tools,
    ):
        assert call(tools, "shop_count") == "1"
        (tmp_path / "forget").touch()
        with pytest.raises(ToolFailed, match="Session not found") as failed:
            call(tools, "shop_count")
        assert failed.value.kind == "raised", "the server said that it did not do it"
        assert call(tools, "shop_count") == "1"


def test_a_server_that_comes_back_with_other_tools_is_not_called(tmp_path: Path) -> None:
    with connected(bench(tmp_path)) as tools:
        lost_call(tools, tmp_path)
        (tmp_path / "other-tools").touch()
        says = r"not the same: new: extra; described otherwise: add\. The call was not sent"
        for _ in range(2):
            with pytest.raises(ToolFailed, match=says) as failed:
                call(tools, "bench_add", a=1, b=2)
            assert failed.value.kind == "not_done"
        (tmp_path / "other-tools").unlink()
        assert call(tools, "bench_add", a=1, b=2) == {"total": 3}


def test_garbage_on_stdout_between_messages_is_passed_over() -> None:
    with connected(spoken({**ONE_TOOL, "banner": ["Welcome!", "{", '{"jsonrpc": "2.0"}', "\x00"]})) as tools:
        assert call(tools, "spoken_t") is None


def given_up(server: McpServer, *, once: Callable[[EnvironmentFailed], bool]) -> EnvironmentFailed:
    """How a server is given up that does not answer, in time enough for it to come as far as `once` says."""
    for start_s in (1, 8, 64):
        with pytest.raises(EnvironmentFailed, match=f"did not answer within {start_s} s") as failed:
            McpTools(server, start_s=start_s)
        assert failed.value.kind == "timeout"
        if once(failed.value):
            return failed.value
    raise TimeoutError("it never came so far")


def test_a_server_that_writes_only_garbage_is_given_up_in_time_and_its_garbage_shown() -> None:
    chatter = script("import sys; print('Welcome to the shop!', flush=True); sys.stdin.read()")
    failed = given_up(chatter, once=lambda failed: "It writes" in str(failed))
    assert str(failed).endswith(": 'Welcome to the shop!'.")


def test_a_server_that_says_nothing_is_given_up_in_time() -> None:
    with pytest.raises(EnvironmentFailed, match=r"'script' .* did not answer within 1 s") as failed:
        McpTools(script("import sys; sys.stdin.read()"), start_s=1)
    assert failed.value.kind == "timeout"


def test_a_server_that_exits_at_once_is_reported_with_its_last_words() -> None:
    with pytest.raises(EnvironmentFailed, match=r"Its last words on stderr: .*no licence found") as failed:
        McpTools(script("import sys; sys.exit('x' * 100_000 + 'no licence found')"))
    assert failed.value.kind == "lost"
    assert len(str(failed.value)) < 4_000


def test_a_command_that_is_not_there_is_the_scenarios_mistake() -> None:
    with pytest.raises(ScenarioInvalid, match=r"'shop' .*no-such-program.* cannot be used"):
        McpTools(McpServer(name="shop", command=("no-such-program", "--now")))


def test_a_file_that_cannot_be_run_is_the_scenarios_mistake(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("data")
    with pytest.raises(ScenarioInvalid, match="Permission denied"):
        McpTools(McpServer(name="shop", command=(str(tmp_path / "data"),)))


def test_an_address_where_nobody_listens_is_reported(closed_port: int) -> None:
    with pytest.raises(EnvironmentFailed, match=f"127.0.0.1:{closed_port}/mcp.*connect") as failed:
        McpTools(McpServer(name="shop", url=f"http://127.0.0.1:{closed_port}/mcp"))
    assert failed.value.kind == "lost"


def test_an_address_that_accepts_and_says_nothing_is_given_up_in_time() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as mute:
        url = f"http://127.0.0.1:{mute.getsockname()[1]}/mcp"
        with pytest.raises(EnvironmentFailed, match="did not answer within 1 s") as failed:
            McpTools(McpServer(name="shop", url=url), start_s=1)
    assert failed.value.kind == "timeout"


def test_an_address_of_no_such_page_is_reported(tmp_path: Path) -> None:
    with over_http(tmp_path) as (_, port), pytest.raises(EnvironmentFailed, match="cannot be used"):
        McpTools(McpServer(name="shop", url=f"http://127.0.0.1:{port}/other"))


@pytest.mark.parametrize("url", ["shop", "ftp://127.0.0.1/mcp", ""])
def test_an_address_that_is_none_is_the_scenarios_mistake(url: str) -> None:
    with pytest.raises(ScenarioInvalid, match="cannot be used"):
        McpTools(McpServer(name="shop", url=url))


def test_closing_leaves_no_process_behind(tmp_path: Path) -> None:
    tools = McpTools(bench(tmp_path))
    pid = _pid(tools)
    tools.close()
    assert not is_there(pid)
    tools.close()
    with pytest.raises(ToolFailed, match="is closed"):
        call(tools, "bench_add", a=1, b=2)


def test_closing_ends_a_server_that_has_stopped_listening(tmp_path: Path) -> None:
    tools = McpTools(bench(tmp_path))
    pid = _pid(tools)
    os.kill(pid, signal.SIGSTOP)
    tools.close()
    assert not is_there(pid)


def test_a_server_that_could_not_be_used_leaves_no_process_behind(tmp_path: Path) -> None:
    told = tmp_path / "pid"
    python = f"import os, pathlib, sys; pathlib.Path({str(told)!r}).write_text(str(os.getpid())); sys.stdin.read()"
    given_up(script(python), once=lambda _: told.exists() and bool(told.read_text()))
    assert not is_there(int(told.read_text()))


def _kill(pid: int) -> None:
    """Until nothing of it runs, be it buried or not."""
    ends = os.pidfd_open(pid)
    os.kill(pid, signal.SIGKILL)
    ended, _, _ = select.select([ends], [], [], SOON_S)
    os.close(ends)
    assert ended, "a killed process ends"


def _pid(tools: McpTools) -> int:
    told = call(tools, "bench_pid")
    assert isinstance(told, dict)
    assert isinstance(told["result"], int)
    return told["result"]
