"""A session's tools: calls are checked, answered, settled, and hold no secret."""

from __future__ import annotations

import contextvars
import json
from pathlib import Path

import pytest
from pydantic import JsonValue

from loops.environments.tools.environment import make_toolbox
from loops.environments.tools.settings import ToolsSettings
from loops.environments.tools.vault import Vault, handle_of
from loops.errors import ScenarioInvalid, ToolFailed
from loops.ports import Toolbox
from loops.spaces import ToolActions, ToolSpec
from telemetry.events.values import ToolCall

KEY = "a" * 64
SHOP = '''
from contextvars import ContextVar
from typing import Annotated
from typing_extensions import TypedDict
from loops.environments.tools import EffectKey, Person, Secret, ToolFailed, tool

trace = ContextVar("trace", default="none")
refunds = {}

class Session(TypedDict):
    user: str
    token: Annotated[str, Secret]

@tool(effect="keyed")
def refund(order: str, key: EffectKey, who: Person) -> str:
    """Gives money back, once a key."""
    refunds.setdefault(key, order)
    return f"{len(refunds)} refund for {who}"

@tool
def login(user: str, password: Annotated[str, Secret]) -> Session:
    """Logs in."""
    if password != "correct horse":
        raise PermissionError(f"{user} with {password!r} is not known")
    return {"user": user, "token": "token-of-" + password}

@tool
def fetch(token: Annotated[str, Secret], page: str = "/") -> str:
    """Fetches a page and says too much."""
    return f"GET {page} with {token}"

@tool(effect="read")
def traced() -> str:
    """The trace it runs in."""
    return trace.get()

def booked(hotel: str) -> str:
    if hotel != "booked":
        raise ToolFailed("no such booking", "not_done")
    return "room 7"

@tool(effect="probeable", probe=booked)
def book(hotel: str) -> str:
    """Books."""
    return "room 7"

cancelled = []

def cancel(item: str, key: EffectKey) -> None:
    cancelled.append((item, key))

@tool(effect="compensable", undo=cancel)
def order(item: str) -> str:
    """Orders."""
    return "ordered"
'''


@pytest.fixture
def vault() -> Vault:
    return Vault()


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.syspath_prepend(tmp_path)
    name = f"shop_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(SHOP)
    return name


@pytest.fixture
def tools(shop: str, vault: Vault) -> Toolbox:
    return make_toolbox(ToolsSettings(modules=(shop,)), session="session/1", person="ada", vault=vault)


def call(tools: Toolbox, tool: str, /, **arguments: JsonValue) -> JsonValue:
    return tools.call(ToolCall(id="1", tool=tool, arguments=arguments), effect=KEY)


def spec(tools: Toolbox, name: str) -> ToolSpec:
    action = tools.spaces.action
    assert isinstance(action, ToolActions)
    found = action.tool(name)
    assert found is not None
    return found


def test_the_spaces_hold_every_tool_and_nothing_to_see(tools: Toolbox) -> None:
    assert tools.spaces.observation == ()
    assert spec(tools, "refund").effect_class == "keyed"
    assert spec(tools, "login").secret == ("password",)


def test_a_call_is_answered_under_its_key_and_for_its_person(tools: Toolbox) -> None:
    assert call(tools, "refund", order="7") == "1 refund for ada"
    assert call(tools, "refund", order="7") == "1 refund for ada"


def test_an_unknown_tool_names_the_nearest(tools: Toolbox) -> None:
    with pytest.raises(ToolFailed, match=r"no tool 'refnd'; did you mean refund\?") as failed:
        call(tools, "refnd")
    assert failed.value.kind == "invalid"
    with pytest.raises(ToolFailed, match="there are: refund, login"):
        call(tools, "xyz")


def test_a_call_that_cannot_be_made_says_why(tools: Toolbox) -> None:
    with pytest.raises(ToolFailed, match="arguments are no JSON") as failed:
        tools.call(ToolCall(id="1", tool="refund", invalid="its arguments are no JSON object"), effect=KEY)
    assert failed.value.kind == "invalid"


def test_the_callers_context_reaches_the_tool(shop: str, tools: Toolbox) -> None:
    import importlib

    trace: contextvars.ContextVar[str] = importlib.import_module(shop).trace
    token = trace.set("span 1")
    assert call(tools, "traced") == "span 1"
    trace.reset(token)
    assert call(tools, "traced") == "none"


def test_a_secret_goes_from_tool_to_tool_and_never_shows(tools: Toolbox, vault: Vault) -> None:
    asked = ToolCall(id="1", tool="login", arguments={"user": "ada", "password": "correct horse"})
    recorded = vault.hide_arguments(asked, spec(tools, "login"))
    session = tools.call(recorded, effect=KEY)
    assert isinstance(session, dict)
    page = call(tools, "fetch", token=session["token"], page="/me")
    again = call(tools, "fetch", token=f"[secret {handle_of(session['token'])}]", page="/me")
    assert page == again == f"GET /me with [secret {handle_of(session['token'])}]"
    assert "correct horse" not in json.dumps([recorded.model_dump(), session, page])


@pytest.mark.parametrize("hide", [True, False], ids=["hidden first", "as the model wrote it"])
def test_an_error_that_quotes_a_secret_is_scrubbed(tools: Toolbox, vault: Vault, hide: bool) -> None:
    asked = ToolCall(id="1", tool="login", arguments={"user": "ada", "password": "it's wrong"})
    if hide:
        asked = vault.hide_arguments(asked, spec(tools, "login"))
    with pytest.raises(ToolFailed, match=r"^PermissionError: ada with .\[secret [0-9a-f]{16}\]") as failed:
        tools.call(asked, effect=KEY)
    assert failed.value.kind == "raised"
    assert "wrong" not in str(failed.value)
    assert failed.value.__suppress_context__


def test_a_secret_of_a_process_that_ended_is_asked_for_again(tools: Toolbox) -> None:
    with pytest.raises(ToolFailed, match=r"fetch\.token: its secret was kept only in the process") as failed:
        call(tools, "fetch", token=Vault().hide("old token"))
    assert failed.value.kind == "invalid"


def test_a_secret_is_not_passed_to_an_argument_that_is_not_secret(tools: Toolbox, vault: Vault) -> None:
    hidden = vault.hide("correct horse")
    with pytest.raises(ToolFailed, match=r"fetch\.page is not declared secret") as failed:
        call(tools, "fetch", token="t", page=hidden)
    assert failed.value.kind == "invalid"
    marker = f"/?q=[secret {handle_of(hidden)}]"
    assert marker in str(call(tools, "fetch", token="token", page=marker))


def test_a_probe_tells_whether_it_happened(tools: Toolbox) -> None:
    def settle(hotel: str) -> JsonValue:
        return tools.settle(ToolCall(id="1", tool="book", arguments={"hotel": hotel}), effect=KEY)

    assert settle("booked") == "room 7"
    with pytest.raises(ToolFailed, match="no such booking") as failed:
        settle("free")
    assert failed.value.kind == "not_done"


def test_an_undo_makes_sure_that_it_has_not_happened(shop: str, tools: Toolbox) -> None:
    import importlib

    with pytest.raises(ToolFailed, match="order was undone") as failed:
        tools.settle(ToolCall(id="1", tool="order", arguments={"item": "tea"}), effect=KEY)
    assert failed.value.kind == "not_done"
    assert importlib.import_module(shop).cancelled == [("tea", KEY)]


@pytest.mark.parametrize(
    ("tool", "arguments", "words"),
    [
        ("login", {}, "it has no probe and no undo"),
        ("gone", {}, "there is no tool 'gone'"),
        ("book", {"hostel": "x"}, "does not take these arguments"),
    ],
)
def test_what_cannot_be_asked_may_have_happened(
    tools: Toolbox, tool: str, arguments: dict[str, JsonValue], words: str
) -> None:
    with pytest.raises(ToolFailed, match=f"whether {tool} happened cannot be asked: .*{words}") as failed:
        tools.settle(ToolCall(id="1", tool=tool, arguments=arguments), effect=KEY)
    assert failed.value.kind == "lost"


def test_the_workspace_is_there_when_it_is_named(tmp_path: Path, vault: Vault) -> None:
    settings = ToolsSettings(workspace=str(tmp_path / "work"))
    tools = make_toolbox(settings, session="session/1", person=None, vault=vault)
    call(tools, "write_file", path="a.txt", content="hello")
    assert call(tools, "read_file", path="a.txt") == "hello"
    written = ToolCall(id="1", tool="write_file", arguments={"path": "a.txt", "content": "hello"})
    assert tools.settle(written, effect=KEY) == "a.txt: 5 bytes written"
    tools.close()


def test_two_tools_of_one_name_are_refused_across_sources(
    tmp_path: Path, vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    source = "from loops.environments.tools import tool\n@tool\ndef read_file() -> int:\n    'x'\n    return 1\n"
    (tmp_path / "own_reader.py").write_text(source)
    settings = ToolsSettings(modules=("own_reader",), workspace=str(tmp_path / "work"))
    with pytest.raises(ScenarioInvalid, match="two tools are named 'read_file'"):
        make_toolbox(settings, session="session/1", person=None, vault=vault)
