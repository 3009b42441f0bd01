"""The tools of Model Context Protocol servers are tools here: real servers over real pipes and sockets."""

from __future__ import annotations

import base64
import hashlib
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from loops.environments.tools.mcp import McpTools
from loops.environments.tools.settings import McpServer
from loops.errors import ScenarioInvalid, ToolFailed
from telemetry.otel.context import under
from telemetry.otel.ids import span_id, trace_id
from tests.aether import wait_until
from tests.mcp_servers.served import CALLER, HERE, START_S, bench, call, connected, over_http, spoken

OBJECT = {"type": "object"}


@pytest.fixture(scope="module", params=["stdio", "http"])
def tools(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[McpTools]:
    folder = tmp_path_factory.mktemp("bench")
    classes: dict[str, Any] = {"effect": "keyed"}
    if request.param == "stdio":
        with connected(bench(folder, classes=classes)) as found:
            yield found
        return
    with over_http(folder) as (_, port):
        url = f"http://127.0.0.1:{port}/mcp"
        with connected(McpServer(name="bench", url=url, classes=classes)) as found:
            yield found


def test_a_servers_tools_are_listed_with_their_schemas_under_its_name(tools: McpTools) -> None:
    specs = {tool.spec.name: tool.spec for tool in tools.tools()}
    assert {"bench_add", "bench_say", "bench_hang"} <= specs.keys()
    add = specs["bench_add"]
    assert add.description == "Adds two numbers."
    assert add.parameters["type"] == "object"
    assert add.parameters["required"] == ["a", "b"]
    assert add.timeout_s == 50


def test_a_tool_is_unsafe_unless_the_scenario_says_otherwise_whatever_its_server_says(tools: McpTools) -> None:
    classes = {tool.spec.name: tool.spec.effect_class for tool in tools.tools()}
    assert classes["bench_add"] == "unsafe", "its server calls it read-only"
    assert classes.pop("bench_effect") == "keyed"
    assert set(classes.values()) == {"unsafe"}


def test_structured_content_is_preferred_to_the_text_that_repeats_it(tools: McpTools) -> None:
    assert call(tools, "bench_add", a=2, b=3) == {"total": 5}


def test_text_comes_as_text(tools: McpTools) -> None:
    assert call(tools, "bench_say", words="ahoi ☕") == "ahoi ☕"


def test_a_picture_comes_as_its_digest_without_its_bytes(tools: McpTools) -> None:
    data = b"\x89PNG not much of a picture"
    picture = {"media_type": "image/png", "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    assert call(tools, "bench_pictured") == ["look", picture]


def test_a_result_that_reports_an_error_fails_with_what_it_says(tools: McpTools) -> None:
    with pytest.raises(ToolFailed, match="the shelf is empty") as failed:
        call(tools, "bench_fail", why="the shelf is empty")
    assert failed.value.kind == "raised"


def test_a_long_error_is_cut_and_says_so(tools: McpTools) -> None:
    with pytest.raises(ToolFailed, match=r"… \(100\d\d\d characters\)$") as failed:
        call(tools, "bench_fail", why="x" * 100_000)
    assert len(str(failed.value)) < 3_000


def test_arguments_that_do_not_fit_are_refused_by_the_server(tools: McpTools) -> None:
    with pytest.raises(ToolFailed, match="valid integer"):
        call(tools, "bench_add", a="two", b=3)


def test_a_large_result_comes_whole(tools: McpTools) -> None:
    much = call(tools, "bench_much", length=8 << 20)
    assert isinstance(much, str)
    assert len(much) == 8 << 20, "how much of it is kept is for the caller to say"


def test_calls_run_side_by_side(tools: McpTools) -> None:
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(call, tools, "bench_wait")
        assert call(tools, "bench_meet") == "here"
        assert waiting.result() == "met"


def test_the_key_of_its_effect_goes_with_a_keyed_call(tools: McpTools) -> None:
    assert call(tools, "bench_effect") == {"result": CALLER.effect}


def test_the_key_of_its_effect_goes_with_no_other_call(tmp_path: Path) -> None:
    with connected(bench(tmp_path)) as tools:
        assert call(tools, "bench_effect") == {"result": "none"}


def test_a_server_gets_none_of_our_environment_but_what_a_program_needs_to_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-ours")
    monkeypatch.setenv("AETHER_SECRET", "ours")
    with connected(bench(tmp_path)) as tools:
        seen = call(tools, "bench_environment")
    assert isinstance(seen, dict)
    ours = {name for name in seen if not name.startswith("LC_")}  # Python itself sets LC_CTYPE where LANG is C
    assert {"PATH", "LANG"} <= ours <= {"HOME", "LANG", "LOGNAME", "PATH", "SHELL", "TERM", "USER"}


def test_a_tool_list_of_several_pages_is_followed_to_its_end() -> None:
    pages = [[{"name": f"tool{i}", "inputSchema": OBJECT}] for i in range(3)]
    with connected(spoken({"pages": pages, "result": {"content": []}})) as tools:
        assert [tool.spec.name for tool in tools.tools()] == ["spoken_tool0", "spoken_tool1", "spoken_tool2"]
        assert call(tools, "spoken_tool2") is None


def test_a_name_is_brought_into_the_form_that_models_take() -> None:
    pages = [[{"name": "shop.find/order ☕" + "x" * 80, "inputSchema": OBJECT}]]
    with connected(spoken({"pages": pages, "result": {"content": [{"type": "text", "text": "found"}]}})) as tools:
        (tool,) = tools.tools()
        assert tool.spec.name == ("spoken_shop_find_order__" + "x" * 80)[:64]
        assert tool.run({}, CALLER) == "found"


def test_what_is_neither_text_nor_structured_is_kept_beside_it() -> None:
    resource = {"uri": "file:///a", "mimeType": "text/plain", "text": "hello"}
    blob = {"uri": "file:///b", "blob": base64.b64encode(b"12345").decode()}
    content = [
        {"type": "text", "text": "{}"},
        {"type": "resource", "resource": resource},
        {"type": "resource", "resource": blob},
        {"type": "resource_link", "uri": "file:///c", "name": "c"},
    ]
    result = {"content": content, "structuredContent": {"n": 1}}
    with connected(spoken({"pages": [[{"name": "t", "inputSchema": OBJECT}]], "result": result})) as tools:
        assert call(tools, "spoken_t") == [
            {"n": 1},
            {"uri": "file:///a", "media_type": "text/plain", "text": "hello"},
            {
                "uri": "file:///b",
                "media_type": None,
                "bytes": 5,
                "sha256": hashlib.sha256(b"12345").hexdigest(),
            },
            {"uri": "file:///c", "name": "c", "media_type": None},
        ]


@pytest.mark.parametrize(
    "result",
    [
        {"content": [{"type": "image", "data": "no base64!", "mimeType": "image/png"}]},
        {"content": [{"type": "hologram"}]},
        {"content": [], "structuredContent": {"n": "one"}},
        {"content": []},
        {},
    ],
    ids=["no base64", "unknown content", "against its schema", "structured content missing", "empty"],
)
def test_a_result_that_the_protocol_does_not_allow_fails_the_call(result: dict[str, Any]) -> None:
    shape = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    listed = {"name": "t", "inputSchema": OBJECT, "outputSchema": shape}
    with connected(spoken({"pages": [[listed]], "result": result})) as tools:
        with pytest.raises(ToolFailed, match="it ran, but its answer cannot be used") as failed:
            call(tools, "spoken_t")
        assert failed.value.kind == "raised"


@pytest.mark.parametrize(
    ("pages", "classes", "says"),
    [
        ([[{"name": "a.b", "inputSchema": OBJECT}, {"name": "a/b", "inputSchema": OBJECT}]], {}, "'a.b' and 'a/b'"),
        ([[{"name": "a", "inputSchema": OBJECT}], [{"name": "a", "inputSchema": OBJECT}]], {}, "'a' and 'a'"),
        ([[{"name": "a", "inputSchema": {"type": "string"}}]], {}, "inputSchema|'a' does not describe an object"),
        ([[{"name": "a", "inputSchema": "object"}]], {}, "inputSchema"),
        ([[{"name": "a", "inputSchema": OBJECT}]], {"b": "read"}, "no tool 'b' to give a class to; it has: a"),
        ([[{"name": "a", "inputSchema": OBJECT}]], {"a": "probeable"}, "'a' cannot be probeable"),
    ],
    ids=["names collide", "a name twice", "no object", "no schema", "a class for no tool", "a class without its means"],
)
def test_a_tool_list_that_does_not_fit_is_refused_before_the_session_opens(
    pages: list[Any], classes: dict[str, Any], says: str
) -> None:
    with pytest.raises(ScenarioInvalid, match=says):
        McpTools(spoken({"pages": pages}, classes=classes))


def test_a_tool_list_without_end_is_refused() -> None:
    with pytest.raises(ScenarioInvalid, match="more than 100 pages"):
        McpTools(spoken({"pages": [[]], "endless": True}))


def test_the_example_server_of_the_official_sdk_is_used_as_tools() -> None:
    start = "import runpy, sys; runpy.run_path(sys.argv[1])['mcp'].run()"
    command = (sys.executable, "-c", start, str(HERE / "sdk_quickstart.py"))
    with connected(McpServer(name="demo", command=command, classes={"add": "pure"})) as tools:
        (add,) = tools.tools()
        assert (add.spec.name, add.spec.effect_class, add.spec.description) == ("demo_add", "pure", "Add two numbers")
        assert call(tools, "demo_add", a=2, b=40) == {"result": 42}


def test_the_reference_server_for_the_time_is_used_as_tools() -> None:
    pytest.importorskip("mcp_server_time", reason="the extra `interop` installs mcp-server-time")
    with connected(McpServer(name="time", command=(sys.executable, "-m", "mcp_server_time"))) as tools:
        assert {tool.spec.name for tool in tools.tools()} == {"time_get_current_time", "time_convert_time"}
        converted = call(
            tools, "time_convert_time", source_timezone="UTC", time="12:00", target_timezone="Asia/Kathmandu"
        )
        assert isinstance(converted, dict)
        assert converted["time_difference"] == "+5.75h"
        with pytest.raises(ToolFailed, match="Nowhere"):
            call(tools, "time_get_current_time", timezone="Nowhere/Town")


def test_waiting_calls_do_not_keep_a_server_open(tmp_path: Path) -> None:
    tools = McpTools(bench(tmp_path))
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(call, tools, "bench_hang")
        wait_until((tmp_path / "pid").exists, timeout_s=START_S, what="the call runs")
        tools.close()
        with pytest.raises(ToolFailed, match="broke off") as failed:
            waiting.result()
        assert failed.value.kind == "lost"


def test_a_server_on_this_machine_is_told_the_span_that_a_call_belongs_to(tools: McpTools) -> None:
    with under("session/mcp@12", cycle=2):
        told = call(tools, "bench_traceparent")
    assert told == f"00-{trace_id('session/mcp', 2):032x}-{span_id('session/mcp', 12):016x}-01"
    assert call(tools, "bench_traceparent") == "none", "a call under no span belongs to none"


@pytest.mark.parametrize("where", ["stdio", "http"])
def test_a_server_is_told_no_span_where_the_scenario_says_so(tmp_path: Path, where: str) -> None:
    with ExitStack() as stack:
        server = bench(tmp_path)
        if where == "http":
            _, port = stack.enter_context(over_http(tmp_path))
            server = McpServer(name="bench", url=f"http://127.0.0.1:{port}/mcp")
        tools = stack.enter_context(connected(server.model_copy(update={"traceparent": False})))
        with under("session/mcp@12", cycle=2):
            assert call(tools, "bench_traceparent") == "none"
