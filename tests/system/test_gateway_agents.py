"""Agents of other people's frameworks, unchanged, speak through the gateway: only their `base_url` is set.

Invariant: what the framework says it said, called and was told is what the log holds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from examples.refund.endpoint import Endpoint, running
from examples.refund.policy import Messages, Reply
from loops.spaces import Spaces, ToolActions
from runtime.gateway.serve import listening
from runtime.replay import replay
from telemetry.events import execute, reason, sense, session
from telemetry.events.values import Message, Say, ToolCalls, ToolResult
from telemetry.log import EventLog

WHY = "the extra `interop` is not installed: pip install -e '.[interop]'"
MISSION = "You run a shop."
QUESTION = "Refund order 17, please."
FOUND = '{"order":17,"paid_cents":1999}'


def clerk(messages: Messages) -> Reply:
    """Looks two orders up at once, refunds one, and says so."""
    results = [message for message in messages if message["role"] == "tool"]
    if not results:
        return Reply(calls=(("find_order", '{"order": 17}'), ("find_order", '{"order": 18}')))
    if len(results) == 2:
        return Reply("Found it.", calls=(("refund", '{"order": 17, "cents": 1999}'),))
    return Reply("Order 17 is refunded.")


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with running(clerk) as served:
        yield served


def find_order(order: int) -> str:
    """The order and what was paid for it."""
    return FOUND if order == 17 else "no such order"


def refund(order: int, cents: int) -> str:
    """Pays money back."""
    return f"refunded {cents} of {order}"


def check(log: EventLog) -> None:
    """The whole conversation is one session: three turns, three calls, three results, and replay agrees."""
    (stream,) = [recorded.stream for recorded in log.read_all(types=["session.opened"])]
    events: list[Any] = [recorded.event for recorded in log.read(stream)]
    heard = [o for e in events if isinstance(e, sense.Observed) for o in e.observations]
    assert [(o.role, o.text) for o in heard if isinstance(o, Message)] == [("system", MISSION), ("user", QUESTION)]
    actions = [e.action for e in events if isinstance(e, reason.Decided)]
    calls = [call for action in actions if isinstance(action, ToolCalls) for call in action.calls]
    assert [(call.tool, call.arguments) for call in calls] == [
        ("find_order", {"order": 17}),
        ("find_order", {"order": 18}),
        ("refund", {"order": 17, "cents": 1999}),
    ]
    assert actions[-1] == Say(text="Order 17 is refunded.")
    told = (FOUND, "no such order", "refunded 1999 of 17")
    assert [e.result for e in events if isinstance(e, execute.Succeeded)] == [
        ToolResult(call=call.id, tool=call.tool, content=content) for call, content in zip(calls, told, strict=True)
    ]
    assert [e.text for e in events if isinstance(e, reason.Answered)] == ["", "Found it.", "Order 17 is refunded."]
    assert [len(e.of) for e in events if isinstance(e, sense.Observed)] == [0, 2, 1]
    (opened,) = [e for e in events if isinstance(e, session.Opened)]
    tools = Spaces.model_validate(opened.spaces).action
    assert isinstance(tools, ToolActions)
    assert [tool.name for tool in tools.tools] == ["find_order", "refund"]
    report = replay(log, stream)
    assert report.agrees
    assert report.cycles == 3


@pytest.mark.filterwarnings("ignore:create_react_agent has been moved")
@pytest.mark.parametrize("streaming", [False, True])
async def test_langgraphs_prebuilt_agent_is_on_the_log_with_all_its_turns(
    log: EventLog, endpoint: Endpoint, streaming: bool
) -> None:
    prebuilt = pytest.importorskip("langgraph.prebuilt", reason=WHY)
    models = pytest.importorskip("langchain_openai", reason=WHY)
    async with listening(log, upstream=endpoint.url, listen="127.0.0.1:0", say=lambda _: None) as gateway:
        model = models.ChatOpenAI(base_url=gateway.url, api_key="unused", model="small", streaming=streaming)
        agent = prebuilt.create_react_agent(model, [find_order, refund], prompt=MISSION)
        answer = await agent.ainvoke({"messages": [("user", QUESTION)]})
    assert answer["messages"][-1].content == "Order 17 is refunded."
    check(log)


@pytest.mark.parametrize("streaming", [False, True])
async def test_an_agent_of_the_openai_agents_sdk_is_on_the_log_with_all_its_turns(
    log: EventLog, endpoint: Endpoint, streaming: bool
) -> None:
    agents = pytest.importorskip("agents", reason=WHY)
    openai = pytest.importorskip("openai", reason=WHY)
    agents.set_tracing_disabled(True)
    async with (
        listening(log, upstream=endpoint.url, listen="127.0.0.1:0", say=lambda _: None) as gateway,
        openai.AsyncOpenAI(base_url=gateway.url, api_key="unused") as client,
    ):
        agent = agents.Agent(
            name="clerk",
            instructions=MISSION,
            model=agents.OpenAIChatCompletionsModel("small", client),
            tools=[agents.function_tool(find_order), agents.function_tool(refund)],
        )
        if streaming:
            run = agents.Runner.run_streamed(agent, QUESTION)
            async for _ in run.stream_events():
                pass
            said = run.final_output
        else:
            said = (await agents.Runner.run(agent, QUESTION)).final_output
    assert said == "Order 17 is refunded."
    check(log)
