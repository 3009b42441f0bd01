"""The only wiring: a scenario becomes the phases that one process runs.

Knows every organ's constructor; keeps nothing. Invariant: nothing else in the house builds an organ."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from heart.gate import Gate
from loops.environments import make_environment
from loops.environments.tools.settings import ToolsSettings
from loops.environments.tools.vault import Vault
from loops.errors import ScenarioInvalid
from loops.execute import Execute
from loops.feel import Feel
from loops.gateway import Gateway
from loops.layouts import layout_of
from loops.learn import Learn
from loops.models import Models, Read
from loops.percept import Percept
from loops.ports import Asking, Planning, Reasoner, Toolbox
from loops.reason import Reason
from loops.reasoners.explore import Explore
from loops.reasoners.greedy import Greedy
from loops.reasoners.language.settings import ModelDefaults
from loops.sense import Sense
from loops.spaces import BoxActions, DiscreteActions, Spaces, ToolActions, flatten, named_arrays, parts
from loops.toolboxes import Toolboxes
from loops.worlds import Worlds
from runtime.models.using import Reader
from runtime.scenario import HOST, ReasonerSettings, Scenario
from runtime.settings import in_upload, secret
from telemetry.events.values import EffectClass, ModelId, ToolCall


@dataclass(frozen=True, slots=True)
class Phases:
    """The five phases and the replicas they share in one process."""

    sense: Sense
    feel: Feel
    reason: Reason
    execute: Execute
    learn: Learn
    models: Models
    worlds: Worlds
    toolboxes: Toolboxes
    conversation: bool
    """Whether sessions talk and call tools instead of moving in a world."""

    def describe(self, stream: str, person: str | None) -> tuple[Spaces, EffectClass]:
        """What the session perceives and may do, and the class of its moves."""
        if self.conversation:
            return self.toolboxes.describe(stream, person), "unsafe"
        return self.worlds.describe(stream)

    def acts(self, stream: str, model: ModelId | None) -> None:
        """Has all in memory by which the session is to act. Blocks where it is read; raises what that raises."""
        if model is None:
            return
        self.models.acts(stream, model)
        if self.models.guides(model):
            self.reason.planning()

    def forget(self, stream: str) -> None:
        """Lets go of what is kept for a session that does not run any more."""
        self.models.forget(stream)
        self.reason.forget(stream)
        self.worlds.close(stream)
        self.toolboxes.close(stream)


Heard = Callable[[str, str], None]
"""Gets a session's stream and a piece of its model's answer as it comes, from any thread."""


def compose(
    scenario: Scenario,
    *,
    defaults: ModelDefaults | None = None,
    folder: str | None = None,
    heard: Heard = lambda _stream, _text: None,
    gateway: Gateway | None = None,
    read: Read | None = None,
    guided: bool = True,
) -> Phases:
    """The phases of `scenario`, with replicas of their own. A relative workspace lies in `folder`; effects go out by
    `gateway`, without one none does; `read` reads the trained models that sessions act by. Unless they are `guided`,
    they reason as the scenario says whatever they act by."""
    models = make_models(scenario, read)
    worlds = Worlds(lambda: make_environment(scenario.environment))
    gate = Gate(scenario.heart)
    kept = _Secrets()
    tools = _placed(scenario.environment.tools, folder)
    asking = _language(scenario, defaults or ModelDefaults(), kept) if scenario.reasoner.kind == "language" else None
    planner = _planner(scenario, models)
    planning = planner() if scenario.reasoner.kind == "active_inference" else None
    toolboxes = Toolboxes(lambda stream, person: kept.toolbox(tools, stream, person))
    reasoner = asking or planning or _reasoner(scenario.reasoner)
    return Phases(
        sense=Sense(),
        feel=Feel(gate, models),
        reason=Reason(
            reasoner,
            gate,
            models,
            asking=asking,
            planning=planning,
            planner=planner if guided else None,
            heard=heard,
        ),
        execute=Execute(worlds, toolboxes, gateway or Gateway("nobody", epoch_of=lambda _: 0)),
        learn=Learn(models, scenario.memory),
        models=models,
        worlds=worlds,
        toolboxes=toolboxes,
        conversation=scenario.environment.is_conversation,
    )


def make_models(scenario: Scenario, read: Read | None) -> Models:
    """The world models of a scenario; trained ones are read when they are first asked for."""
    which = scenario.world_model.model
    return Models(scenario.world_model.kind, named=which is not None, read=read or Reader(named=which))


class _Secrets:
    """The values that tools declare secret: the reasoner hides them before an event is built, the toolbox of the same
    process knows them."""

    def __init__(self) -> None:
        self._vault = Vault()

    def toolbox(self, settings: ToolsSettings, stream: str, person: str | None) -> Toolbox:
        from loops.environments.tools.environment import make_toolbox

        return make_toolbox(settings, session=stream, person=person, vault=self._vault)

    def calls(self, calls: tuple[ToolCall, ...], tools: ToolActions) -> tuple[ToolCall, ...]:
        known = [(call, tools.tool(call.tool)) for call in calls]
        hidden = [call if tool is None else self._vault.hide_arguments(call, tool) for call, tool in known]
        return tuple(map(self._scrubbed, hidden))

    def _scrubbed(self, call: ToolCall) -> ToolCall:
        """Without known secrets in other arguments, or in what is wrong with the call."""
        arguments = {name: self._vault.scrub_json(value) for name, value in call.arguments.items()}
        invalid = None if call.invalid is None else self._vault.scrub(call.invalid)
        return call.model_copy(update={"arguments": arguments, "invalid": invalid})

    def text(self, text: str) -> str:
        return self._vault.scrub(text)


def _placed(settings: ToolsSettings, folder: str | None) -> ToolsSettings:
    """With an absolute workspace. Raises `ScenarioInvalid` for one that Ray would delete with a job's upload."""
    if settings.workspace is None:
        return settings
    path = Path(folder or Path.cwd()) / Path(settings.workspace).expanduser()
    if in_upload(path):
        raise ScenarioInvalid(
            f"the workspace {settings.workspace!r} would lie in this job's upload, which Ray deletes with the job; "
            "give an absolute path outside it"
        )
    return settings.model_copy(update={"workspace": str(path)})


def _language(scenario: Scenario, defaults: ModelDefaults, redact: _Secrets) -> Asking:
    from loops.reasoners.language.reasoner import Language  # loads the client, which not every process needs
    from memory.embed import TextEmbedder

    settings = scenario.reasoner.language
    return Language(settings, defaults=defaults, secret=secret, redact=redact, embed=TextEmbedder().embed)


def _planner(scenario: Scenario, models: Models) -> Callable[[], Planning]:
    def make() -> Planning:
        from loops.reasoners.active_inference import ActiveInference  # loads torch, which not every process needs

        return ActiveInference(models, scenario.reasoner.planning)

    return make


def _reasoner(settings: ReasonerSettings) -> Reasoner:
    if settings.kind == "greedy":
        return Greedy(hold=settings.hold, explore=settings.explore)
    return Explore(hold=settings.hold)


def check_fit(scenario: Scenario, spaces: Spaces, models: Models, *, model: ModelId | None) -> None:
    """Raises `ScenarioInvalid` where one part of the scenario needs what another does not give, and as `check_model`
    for the trained model that a session is to act by."""
    if scenario.environment.quantum is not None and not isinstance(spaces.action, BoxActions):
        raise ScenarioInvalid(
            f"environment.quantum is of continuous actions, and those of {scenario.environment.id} are "
            f"{spaces.action.kind}; leave it out"
        )
    if scenario.environment.is_conversation or scenario.reasoner.kind == "language":
        _check_conversation(scenario, spaces, model)
        return
    where, kind, gate = scenario.environment.id, scenario.reasoner.kind, Gate(scenario.heart)
    if kind == "greedy" and spaces.goal is None:
        raise ScenarioInvalid(
            f"the greedy reasoner needs a declared goal, and {where} shows none; "
            'use reasoner.kind = "explore", or a goal-conditioned environment'
        )
    if (kind in ("greedy", "active_inference") or gate.needs_forecast) and not models.predicts(spaces, None):
        raise ScenarioInvalid(
            'the reasoners greedy and active_inference, and rules with at = "forecast", need predictions, and there '
            f"are none: world_model.kind is {scenario.world_model.kind!r} and {where} shows {spaces.width} numbers"
        )
    if model is not None:
        check_model(scenario, spaces, models, model)
    moves = [rule.id for rule in scenario.heart.rules if rule.actions is not None]
    if moves and not isinstance(spaces.action, DiscreteActions):
        raise ScenarioInvalid(
            f"the rule {moves[0]!r} forbids actions by number, and {where} takes arrays; use a region"
        )


def check_model(scenario: Scenario, spaces: Spaces, models: Models, model: ModelId) -> None:
    """Raises `ScenarioInvalid` unless the trained model is one of such a world and gives what is asked of it, and what
    reading it raises."""
    artifact, where = models.load(model), scenario.environment.id
    layout = layout_of(spaces)
    plans = scenario.reasoner.kind == "active_inference" or models.guides(model)
    if layout is None or layout != artifact.model.layout:
        shown = "nothing that a model could learn" if layout is None else layout.describe()
        raise ScenarioInvalid(
            f"the model {artifact.model_id} is of {artifact.model.layout.describe()}, and {where} has {shown}. "
            "Name a model that was trained in this world; there are: aether model list"
        )
    if plans and artifact.landmarks is None:
        raise ScenarioInvalid(
            f"the model {artifact.model_id} was kept without landmarks, and planning goes by them; train it again"
        )
    if plans and not models.trained(model) and not layout.goal:
        raise ScenarioInvalid(
            f"{where} shows no goal, so the landmarks of {artifact.model_id} lie where only that model sees them: "
            'world_model.kind must be "trained"'
        )


def check_regions(scenario: Scenario, spaces: Spaces, percept: Percept) -> None:
    """Raises `RegionMismatch` where a rule's region names a part or element that `percept` does not show."""
    forecast = parts(spaces, flatten(spaces, percept.observations, percept.goal))
    Gate(scenario.heart).check(named_arrays(percept.observations, percept.goal), forecast=forecast)


def _check_conversation(scenario: Scenario, spaces: Spaces, model: ModelId | None) -> None:
    if model is not None:
        raise ScenarioInvalid(f"a conversation is no world of moves, so no session of it acts by the model {model}")
    if not isinstance(spaces.action, ToolActions) or scenario.reasoner.kind != "language":
        raise ScenarioInvalid(
            'a conversation needs environment.id = "tools:" and reasoner.kind = "language"; here they are '
            f"{scenario.environment.id!r} and {scenario.reasoner.kind!r}"
        )
    if any(rule.actions is not None or rule.region is not None for rule in scenario.heart.rules):
        raise ScenarioInvalid("rules of a conversation speak of tools; actions and regions are of worlds of moves")
    known = {tool.name for tool in spaces.action.tools}
    for rule in scenario.heart.rules:
        for name in set(rule.tools or ()) - known:
            raise ScenarioInvalid(
                f"the rule {rule.id!r} names the tool {name!r}; there are: {', '.join(sorted(known))}"
            )
    slow = next((tool for tool in spaces.action.tools if tool.timeout_s > scenario.timeouts.execute_s), None)
    if slow is not None:
        raise ScenarioInvalid(
            f"the tool {slow.name!r} may take {slow.timeout_s:g} s, and timeouts.execute_s is "
            f"{scenario.timeouts.execute_s:g}; raise that, or the tool is given up before its own time-out"
        )
    apart = scenario.placement.get("reason", HOST) != scenario.placement.get("execute", HOST)
    hiding = next((tool.name for tool in spaces.action.tools if tool.secret), None)
    if apart and hiding is not None:
        raise ScenarioInvalid(
            f"the tool {hiding!r} takes secrets, which are kept only in the process that heard them: place reason and "
            "execute together"
        )
