"""Tools that raise, exit, hang, answer too much or nothing that can be kept: each call ends with a clear answer."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from loops.environments.tools.environment import MAX_RESULT_BYTES, OVERSIZE_BEGINS, make_toolbox
from loops.environments.tools.settings import ToolsSettings
from loops.environments.tools.vault import Vault
from loops.errors import ToolFailed
from loops.ports import Toolbox
from telemetry.events.values import ToolCall

BAD = '''
import threading
from typing import Annotated, Any
from loops.environments.tools import Secret, tool

release = threading.Event()
finished = threading.Event()

@tool
def raises() -> None:
    """Raises."""
    raise ValueError("no such order")

@tool
def exits() -> None:
    """Exits."""
    raise SystemExit(3)

@tool
def overflows(depth: int = 0) -> int:
    """Calls itself for ever."""
    return overflows(depth + 1)

@tool
def large(token: Annotated[str, Secret] = "none") -> str:
    """Answers 20 MB."""
    return token + "x" * 20_000_000

@tool(timeout_s=0.2)
def hangs() -> str:
    """Waits."""
    release.wait()
    finished.set()
    return "late"

@tool
def nan() -> Any:
    """Answers NaN."""
    return {"ratio": float("nan")}

@tool
def unstorable(what: str) -> Any:
    """Answers what no event can hold."""
    deep: list[Any] = []
    for _ in range(5_000 if what == "deep" else 300):
        deep = [deep]
    loop: list[Any] = []
    loop.append(loop)
    return {"int": 2**70, "surrogate": "\\ud800", "object": object(), "loop": loop}.get(what, deep)
'''


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = f"bad_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(BAD)
    monkeypatch.syspath_prepend(tmp_path)
    return name


@pytest.fixture
def tools(module: str) -> Iterator[Toolbox]:
    toolbox = make_toolbox(ToolsSettings(modules=(module,)), session="session/1", person=None, vault=Vault())
    yield toolbox
    toolbox.close()


def failure(tools: Toolbox, tool: str, /, **arguments: str) -> tuple[str, str]:
    with pytest.raises(ToolFailed) as failed:
        tools.call(ToolCall(id="1", tool=tool, arguments={**arguments}), effect="a" * 64)
    return failed.value.kind, str(failed.value)


def test_a_tool_that_raises_is_said_with_its_words(tools: Toolbox) -> None:
    assert failure(tools, "raises") == ("raised", "ValueError: no such order")


def test_a_tool_that_exits_ends_only_its_call(tools: Toolbox) -> None:
    assert failure(tools, "exits") == ("raised", "SystemExit: 3")


def test_a_tool_that_recurses_for_ever_ends_only_its_call(tools: Toolbox) -> None:
    assert failure(tools, "overflows")[1].startswith("RecursionError: ")


def test_a_tool_that_hangs_is_given_up_and_its_late_answer_is_dropped(module: str, tools: Toolbox) -> None:
    import importlib

    kind, words = failure(tools, "hangs")
    assert (kind, words) == ("timeout", "hangs did not answer within 0.2 s; it may still happen")
    threads = [thread for thread in threading.enumerate() if thread.name == "tool"]
    assert threads
    assert all(thread.daemon for thread in threads)
    bad = importlib.import_module(module)
    bad.release.set()
    assert bad.finished.wait(100)


def test_a_result_of_20_mb_is_described_instead_of_kept(tools: Toolbox) -> None:
    call = ToolCall(id="1", tool="large", arguments={"token": "hunter2"})
    result = tools.call(call, effect="a" * 64)
    assert isinstance(result, dict)
    begins = result["begins"]
    assert isinstance(begins, str)
    assert len(begins) == OVERSIZE_BEGINS
    assert begins.startswith('"[secret ')
    marker = begins[1 : begins.index("]") + 1]
    whole = orjson.dumps(marker + "x" * 20_000_000)
    assert len(whole) > MAX_RESULT_BYTES
    assert result == {"oversize_bytes": len(whole), "sha256": hashlib.sha256(whole).hexdigest(), "begins": begins}


def test_nan_is_refused(tools: Toolbox) -> None:
    assert failure(tools, "nan") == ("raised", "nan ran, but its result holds NaN or an infinity, which no event can")


@pytest.mark.parametrize("what", ["int", "surrogate", "object", "loop", "deep", "less deep"])
def test_what_no_event_can_hold_is_refused(tools: Toolbox, what: str) -> None:
    kind, words = failure(tools, "unstorable", what=what)
    assert kind == "raised"
    assert "ran, but" in words
