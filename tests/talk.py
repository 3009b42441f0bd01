"""A conversation as its events, folded as the runtime folds them, with no host around it.

Knows how to play a cycle of the `language` reasoner; a tool's results are what the test says they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from loops.context import Context
from loops.dialogue import spoken
from loops.environments.tools.vault import Vault
from loops.reasoners.language.answers import Redact
from loops.reasoners.language.reasoner import Language
from loops.reasoners.language.settings import LanguageSettings, ModelDefaults
from loops.scene import Scene
from loops.spaces import Spaces, ToolActions, ToolSpec
from loops.state import SessionState, apply
from telemetry.events import Event, Unknown, execute, reason, sense, session
from telemetry.events.registry import decode, encode
from telemetry.events.values import (
    Action,
    Hit,
    Message,
    Observation,
    Playbook,
    Say,
    TextPart,
    ToolCall,
    ToolCalls,
    ToolResult,
    Wait,
    digest_of,
)
from tests.model_server import ModelServer, Script

WORDS: JsonValue = {"type": "string"}
STREAM = "session/talk"


def tool(name: str, secret: tuple[str, ...] = (), **parameters: JsonValue) -> ToolSpec:
    """A tool whose parameters are all required."""
    schema: dict[str, JsonValue] = {"type": "object", "properties": parameters, "required": [*parameters]}
    return ToolSpec(
        name=name,
        description=f"Does {name}.",
        parameters=schema,
        effect_class="pure",
        timeout_s=5,
        secret=secret,
    )


FIND = tool("find_order", order={"type": "integer"})
WRITE = tool("write_file", path=WORDS, content=WORDS)
PAY = tool("pay", ("card",), card=WORDS, amount={"type": "number"})


class Vaulted:
    """The vault that the tools of a real session use."""

    def __init__(self) -> None:
        self.vault = Vault()

    def calls(self, calls: tuple[ToolCall, ...], tools: ToolActions) -> tuple[ToolCall, ...]:
        known = ((call, tools.tool(call.tool)) for call in calls)
        return tuple(call if spec is None else self.vault.hide_arguments(call, spec) for call, spec in known)

    def text(self, text: str) -> str:
        return self.vault.scrub(text)


def letters(text: str) -> NDArray[np.float32]:
    """How often each letter stands in the text."""
    counts = np.zeros(26, np.float32)
    for letter in text.casefold():
        if "a" <= letter <= "z":
            counts[ord(letter) - ord("a")] += 1
    return counts


def language(
    url: str,
    *,
    key: str | None = "sk-very-secret",
    defaults: ModelDefaults | None = None,
    redact: Redact | None = None,
    **settings: object,
) -> Language:
    """The reasoner, asking the endpoint at `url` for `test-model` unless `settings` say otherwise."""
    read = LanguageSettings.model_validate(settings)
    base = ModelDefaults(base_url=url, model="test-model")
    return Language(
        read,
        defaults=base if defaults is None else defaults.model_copy(update={"base_url": url, "model": "test-model"}),
        secret=lambda name: key if name == "OPENAI_API_KEY" else None,
        redact=redact or Vaulted(),
        embed=letters,
    )


class Talk:
    """One session's events so far."""

    def __init__(
        self, *tools: ToolSpec, person: str | None = None, playbook: Playbook | None = None, seed: int = 7
    ) -> None:
        self.events: list[tuple[str, Event | Unknown]] = []
        self._state, self._scene = SessionState(), Scene()
        self._cycle = 0
        spaces = Spaces(observation=(), action=ToolActions(tools=tools))
        opened = session.Opened(
            scenario="talk",
            scenario_text="",
            scenario_digest="0" * 64,
            seed=seed,
            environment="tools",
            spaces=spaces.describe(),
            versions={},
            person=person,
            playbook=playbook,
        )
        self.add(opened)

    @property
    def context(self) -> Context:
        return Context(STREAM, self._state, self._scene)

    def add(self, *events: Event | Unknown) -> None:
        for event in events:
            event_id = f"{STREAM}@{len(self.events) + 1}"
            self.events.append((event_id, event))
            self._state, self._scene = apply(self._state, event), self._scene.see(event_id, event)

    def hears(self, *observations: Observation) -> None:
        """A cycle begins with these, and with the outcomes that are still to be sensed."""
        self._cycle += 1
        seen = sense.Observed(observations=observations, of=self._scene.outcomes, digest=f"{self._cycle:064x}")
        self.add(session.CycleOpened(cycle=self._cycle), seen)

    def says(self, text: str) -> None:
        """A person says it."""
        self.hears(Message(role="user", parts=(TextPart(text=text),), id=f"m{self._cycle + 1}"))

    def recalls(self, *texts: str) -> None:
        hits = tuple(Hit(event=f"session/old@{i + 1}", score=0.5, text=text) for i, text in enumerate(texts))
        self.add(sense.Recalled(embedder="text@1", query="0" * 64, k=max(1, len(hits)), hits=hits))

    def asks(self, reasoner: Language, heard: Callable[[str], None] = lambda _text: None) -> Sequence[Event]:
        """Requests and their answers, added; returns the answers."""
        self.add(*reasoner.request(self.context))
        answers = reasoner.answer(self.context, heard)
        self.add(*answers)
        return answers

    def decides(self, reasoner: Language) -> Action:
        """The first proposal, or to wait where there is none."""
        proposed = reasoner.propose(self.context, _nothing_expected)
        self.add(*proposed)
        action = proposed[0].action if proposed else Wait()
        first = 0 if proposed else None
        self.add(reason.Decided(proposal=first, action=action, arguments=digest_of(action), why="the first"))
        return action

    def does(self, *results: JsonValue) -> None:
        """The calls decided on answer `results`; one that is invalid fails with its words."""
        decided = self._scene.decided
        assert decided is not None
        assert isinstance(decided.action, ToolCalls)
        for ordinal, call in enumerate(decided.action.calls):
            effect = f"{ordinal:064x}"
            if call.invalid is not None:
                self.add(execute.Failed(effect=effect, ordinal=ordinal, kind="invalid", error=call.invalid))
                continue
            result = ToolResult(call=call.id, tool=call.tool, content=results[ordinal])
            self.add(execute.Succeeded(effect=effect, ordinal=ordinal, result=result))

    def told(self, text: str) -> None:
        """A whole exchange without a model: a person says something and the agent says `text`."""
        self.says(f"and then? ({self._cycle + 1})")
        self.add(reason.Decided(proposal=None, action=Say(text=text), arguments=digest_of(Say(text=text)), why=""))

    def called(self, name: str, result: JsonValue, **arguments: JsonValue) -> None:
        """A cycle without a model in which one call is made and answered."""
        self.hears()
        calls = (ToolCall(id=f"c{self._cycle}", tool=name, arguments=arguments),)
        action = ToolCalls(calls=calls)
        answer = reason.Answered(model="m", text="", calls=calls, finish="tool_calls")
        self.add(answer, reason.Decided(proposal=0, action=action, arguments=digest_of(action), why=""))
        self.does(result)

    def read_back(self) -> Talk:
        """The same conversation from its events as they are stored."""
        again = Talk.__new__(Talk)
        again.events, again._state, again._scene, again._cycle = [], SessionState(), Scene(), self._cycle
        for _, event in self.events:
            assert isinstance(event, Event)
            again.add(decode(event.type, type(event).SCHEMA, encode(event)))
        return again

    @property
    def answers(self) -> tuple[reason.Answered, ...]:
        return spoken(self._scene.answers)


def ask_once(server: ModelServer, *scripts: Script, **endpoint: object) -> reason.Unanswered:
    """What is recorded of a question to an endpoint that is tried once."""
    server.will(*scripts)
    reasoner = language(server.url, endpoints={"main": {"retries": 0, "timeout_s": 60, **endpoint}})
    talk = Talk(FIND)
    talk.says("Where is order 7?")
    (event,) = talk.asks(reasoner)
    assert isinstance(event, reason.Unanswered), event
    assert reasoner.propose(talk.context, lambda _actions: None) == []
    assert talk.decides(reasoner) == Wait()
    talk.hears()
    assert reasoner.request(talk.context), "what was not answered is asked again"
    return event


def _nothing_expected(actions: Sequence[Action]) -> None:
    return None
