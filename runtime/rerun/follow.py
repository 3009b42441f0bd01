"""One session, event by event, with the policy put into every situation that was recorded.

Knows which events are the world's and people's, so facts for every policy, and which are the policy's own: its
surprise, its plan, its prediction, its belief, and what it keeps of a decision. Invariants: what is folded is the
record with these in place of the recorded ones, so until the first difference it is what the policy would have lived;
and no more than one cycle is held."""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import replace

from loops.context import Context
from loops.history import recent, transitions
from loops.percept import Percept
from loops.scene import Scene
from loops.spaces import ToolActions
from loops.state import SessionState, apply
from runtime.compose import check_regions
from runtime.rerun.compare import compare
from runtime.rerun.policy import Composed
from runtime.rerun.tally import Tally
from runtime.rerun.think import Thought, think
from telemetry.errors import InvalidEvent
from telemetry.events import Event, Recorded, Unknown, feel, learn, reason, sense, session
from telemetry.log import EventLog

Seen = MutableMapping[str, int]
"""Of each stream, up to which version its decisions were counted: sessions may share their beginnings."""


class Follower:
    """Follows one session. `tally` counts what is its own, `total` what no session before it has counted."""

    def __init__(
        self, log: EventLog, stream: str, policy: Composed, *, live: bool, tally: Tally, total: Tally, seen: Seen
    ) -> None:
        self._log = log
        self._now = Context(stream, SessionState(), Scene())
        self._policy = policy
        self._scenario = policy.scenario
        self._phases = policy.phases
        self._live = live
        self._tally = tally
        self._total = total
        self._seen = seen
        self._counts: tuple[Tally, ...] = ()
        self._situation: Context | None = None
        self._decided: tuple[Recorded, Thought] | None = None
        self._surprised: sense.Surprised | None = None
        self._broken = ""

    def see(self, recorded: Recorded) -> None:
        """The next event. Raises what the phases raise of a policy that does not fit the session."""
        event = None if self._broken else self._read(recorded)
        if event is not None:
            self._follow(recorded, event)
        elif recorded.type == "reason.decided":
            self._count_apart(recorded)
            for tally in self._counts:
                tally.add("not_comparable", recorded.cycle, recorded.id, self._broken)

    def end(self) -> None:
        """After the last event: the cycle that is still open counts as far as it was decided in."""
        self._settle()

    def _read(self, recorded: Recorded) -> Event | Unknown | None:
        """The event, or None where its content is gone: what follows cannot be put into its situation any more."""
        try:
            return recorded.event
        except InvalidEvent as error:
            self._settle()
            self._broken = str(error)
            return None

    def _follow(self, recorded: Recorded, event: Event | Unknown) -> None:
        match event:
            case session.Opened():
                self._fold(recorded.id, event)
                if self._policy.replaced:
                    self._now = replace(self._now, scene=self._now.scene._replace(model=self._policy.model))
            case session.CycleOpened():
                self._settle()
                self._fold(recorded.id, event)
            case learn.ModelAdopted():
                if not self._policy.replaced:
                    self._adopt(recorded, event)
            case sense.Observed():
                self._count_apart(recorded)
                self._sense(recorded.id, event)
            case sense.Surprised():
                self._surprised = event
            case feel.Felt():
                self._situation = self._now
                self._fold(recorded.id, event)
            case reason.Decided():
                self._decide(recorded, event)
            case session.CycleClosed():
                self._believe()
                self._fold(recorded.id, event)
                self._settle()
            case reason.Planned() | reason.Predicted() | learn.BeliefUpdated():
                pass  # the policy's own stand in their place
            case _:
                self._fold(recorded.id, event)

    def _adopt(self, recorded: Recorded, event: learn.ModelAdopted) -> None:
        """The policy goes by another model from here on, which was not asked before: it takes up what it would know."""
        self._fold(recorded.id, event)
        self._policy.has(event.model)
        models, stream, before = self._phases.models, self._now.stream, recorded.version
        if models.trained(event.model):
            count = models.history(self._now) - 1
            models.recall(self._now, recent(self._log, stream, count=count, before=before))
        else:
            models.restore(self._now, transitions(self._log, stream, to=before), begin=True)

    def _sense(self, event_id: str, observed: sense.Observed) -> None:
        before = self._now
        self._fold(event_id, observed)
        if isinstance(before.spaces.action, ToolActions):
            return
        percept = Percept(observations=observed.observations, goal=observed.goal, truncated=observed.ends_episode)
        if before.state.cycles_closed == 0:
            check_regions(self._scenario, before.spaces, percept)
        for event in self._phases.sense.observe(before, percept)[1:]:
            self._fold("", event)

    def _decide(self, recorded: Recorded, decided: reason.Decided) -> None:
        situation = self._situation
        thought = None
        if situation is not None:
            thought = think(self._phases, situation, self._now.scene, live=self._live)
            if thought.scene.planned is not None:
                self._fold("", thought.scene.planned)
        for event in self._phases.reason.follow(self._now, decided):
            self._fold(recorded.id if isinstance(event, reason.Decided) else "", event)
        if thought is not None:
            self._decided = recorded, thought

    def _believe(self) -> None:
        if not self._now.state.failed:
            for event in self._phases.learn.believe(self._now):
                self._fold("", event)

    def _settle(self) -> None:
        """Counts the cycle that ends: by then a person's answer is on the log, if there was one."""
        scene = self._now.scene
        for tally in self._counts:
            tally.surprise.see(self._surprised, scene.surprised)
        self._surprised = None
        if self._decided is not None:
            recorded, thought = self._decided
            kind, why = compare(self._now.spaces, scene, thought)
            identical = kind == "same" and recorded.event == thought.scene.decided
            for tally in self._counts:
                tally.add(kind, recorded.cycle, recorded.id, why, identical=identical)
        self._decided = self._situation = None
        self._counts = ()

    def _count_apart(self, recorded: Recorded) -> None:
        """Whether this cycle counts among those of all sessions: not where another has counted it already."""
        new = recorded.version > self._seen.get(recorded.stream, 0)
        self._counts = (self._tally, self._total) if new else (self._tally,)
        if new:
            self._seen[recorded.stream] = recorded.version

    def _fold(self, event_id: str, event: Event | Unknown) -> None:
        state, scene = apply(self._now.state, event), self._now.scene.see(event_id, event)
        self._now = Context(self._now.stream, state, scene)
