"""One observed session: a request opens a cycle, its answer is what was reasoned and decided in it, and the next
request tells what its calls came to.

Knows the journal and the order of events; knows no thread and no index. So a cycle with calls stays open until the
conversation goes on or the gateway ends. Invariant: replay of what was committed agrees with its state hashes."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence

from loops.context import Context
from loops.journal import Journal
from loops.sense import Sense
from loops.state import REDUCER, apply, state_hash
from runtime.gateway.answer import Ending, Nothing
from runtime.gateway.facts import PutBlob, answered, intents, observations, opening, proposed, result
from runtime.gateway.wire import Message, Request, onward
from telemetry.errors import LogUnwritable
from telemetry.events import Event, execute, reason, session
from telemetry.events.values import ToolCalls, Usage, Wait, digest_of
from telemetry.log import EventLog

ENDED = "the gateway ended"

WENT_ON = "the conversation went on without telling what came of this call"


async def give_up(error: LogUnwritable) -> None:
    """No session waits for room on the disk: the agent goes on meanwhile."""
    raise error


class ObservedSession:
    """Not for several tasks at once. After any error it must not be used again: its journal is ahead of the log."""

    def __init__(self, stream: str, *, log: EventLog, upstream: str, host: str) -> None:
        self._stream = stream
        self._log = log
        self._put_blob: PutBlob = log.put_blob
        self._upstream = upstream
        self._host = host
        self._journal = Journal(log, stream, stall=give_up, mode="import")
        self._ends: tuple[bytes, ...] = ()
        """Prefix digests at which the conversation can go on, one a choice of the last answer."""

    async def begin(self, request: Request) -> None:
        """Records what the request tells and what it asks. Returns when that is on disk."""
        journal = self._journal
        if journal.version == 0:
            self._open(request)
        known, choice = self._known(request)
        told: Sequence[Message] = request.messages[known:]
        if journal.cycle_is_open:
            told = self._settle(told, choice, WENT_ON)
        journal.record(f"{journal.state.cycle + 1}.open", (session.CycleOpened(cycle=journal.state.cycle + 1),))
        heard = observations(told, self._put_blob)
        context = Context(stream=self._stream, state=journal.state, scene=journal.scene)
        self._record("sense", Sense().hear(context, heard))
        self._record("ask", (self._requested(request),))
        await journal.commit()

    async def end(self, request: Request, ending: Ending) -> None:
        """Records how the request ended. Returns when that is on disk."""
        if isinstance(ending, Nothing):
            self._record("answer", (self._unanswered(request.model, ending),))
            self._close()
        else:
            answers = answered(ending)
            proposals = proposed(answers, ending)
            self._record("answer", (*answers, *proposals))
            if len(proposals) < 2:
                self._decide(0)
                if not self._intents():
                    self._close()
        self._ends = ends_of(request, ending)
        await self._journal.commit()

    async def suspend(self, why: str) -> None:
        """Closes what is open, as nothing more will be heard of it, and lets the session rest."""
        journal = self._journal
        if journal.version == 0:
            return
        if journal.cycle_is_open:
            self._settle((), None, why)
        state = journal.state
        event = session.Suspended(reason=why, cycles=state.cycles_closed, state_hash=state_hash(state))
        journal.record(f"suspend.{journal.epoch}", (event,))
        await journal.commit()

    def _open(self, request: Request) -> None:
        """Begins the session, or takes it up where an earlier gateway left it."""
        journal = self._journal
        if self._log.head(self._stream) is None:
            journal.record("open", (opening(request, upstream=self._upstream),))
            return
        journal.load()
        suspended = journal.last_type == "session.suspended"
        journal.take_over()
        resumed = session.Resumed(
            after="suspended" if suspended else "interrupted",
            owner=f"gateway {platform.node()}/{os.getpid()}",
            verified_to=journal.committed,
        )
        journal.record(f"resume.{journal.epoch}", (resumed,))

    def _known(self, request: Request) -> tuple[int, int | None]:
        """How many of the request's messages were heard before, and which choice of the last answer is among them.

        A history that was edited or compacted is another one: all of it is heard again."""
        for number, end in enumerate(self._ends):
            if end in request.prefixes:
                return request.prefixes.index(end) + 1, number
        return 0, None

    def _requested(self, request: Request) -> reason.Requested:
        observed = self._journal.scene.ids.get("sense.observed")
        return reason.Requested(
            endpoint=self._host,
            model=request.model,
            parameters=request.parameters,
            seed=request.seed,
            prompt=request.prompt,
            context=() if observed is None else (observed,),
        )

    def _unanswered(self, model: str, nothing: Nothing) -> reason.Unanswered:
        return reason.Unanswered(
            endpoint=self._host,
            model=model,
            kind=nothing.kind,
            status=nothing.status,
            error=nothing.error,
            text=nothing.text,
            usage=nothing.usage,
        )

    def _decide(self, number: int) -> None:
        """The agent's own choice among the answers, which the gateway can only see."""
        proposals = self._journal.scene.proposals
        if not proposals:
            wait = Wait()
            self._record("decide", (reason.Decided(action=wait, arguments=digest_of(wait), why="nothing was said"),))
            return
        chosen = proposals[number]
        decided = reason.Decided(
            proposal=chosen.proposal, action=chosen.action, arguments=chosen.arguments, why="observed"
        )
        self._record("decide", (decided,))
        self._record("intend", intents(decided, stream=self._stream, cycle=self._journal.state.cycle))

    def _settle(self, told: Sequence[Message], choice: int | None, why: str) -> Sequence[Message]:
        """Ends the open cycle by what is told of its calls, and returns the rest of what is told. A call that nothing
        is told of has an unknown outcome, `why`."""
        scene = self._journal.scene
        if not scene.answers and not scene.unanswered:
            cut = Nothing("cut", None, "the gateway stopped before the answer ended")
            self._record("answer", (self._unanswered(scene.requests[0].model, cut),))
        elif scene.decided is None and choice is not None:
            self._decide(choice)
        rest = list(told)
        outcomes = tuple(self._outcome(intended, rest, why) for intended in self._intents())
        self._record("outcome", outcomes)
        self._close()
        return rest

    def _outcome(self, intended: execute.Intended, told: list[Message], why: str) -> Event:
        """What is told of a call, which is taken out of `told`."""
        assert isinstance(intended.action, ToolCalls)
        (call,) = intended.action.calls
        for place, message in enumerate(told):
            if message.role == "tool" and message.tool_call_id == call.id:
                del told[place]
                answer = result(message, call.tool, self._put_blob)
                return execute.Succeeded(effect=intended.effect, ordinal=intended.ordinal, result=answer)
        return execute.UnknownOutcome(effect=intended.effect, ordinal=intended.ordinal, why=why)

    def _intents(self) -> tuple[execute.Intended, ...]:
        """Of the open cycle; made again from the decision, of which they are a function."""
        decided = self._journal.scene.decided
        if decided is None:
            return ()
        return intents(decided, stream=self._stream, cycle=self._journal.state.cycle)

    def _close(self) -> None:
        journal = self._journal
        cycle = journal.state.cycle
        closing = session.CycleClosed(cycle=cycle, state_hash="0" * 64, reducer=REDUCER, usage=self._usage())
        # without a bound: nothing acts on this state, and calls that nobody answers stay in it
        closed = closing.model_copy(update={"state_hash": state_hash(apply(journal.state, closing))})
        self._record("close", (closed,))

    def _usage(self) -> Usage:
        scene = self._journal.scene
        spent = [*(a.usage for a in scene.answers), *(u.usage for u in scene.unanswered)]
        return Usage(
            model_calls=sum(usage.model_calls for usage in spent),
            input_tokens=sum(usage.input_tokens for usage in spent),
            output_tokens=sum(usage.output_tokens for usage in spent),
        )

    def _record(self, name: str, events: Sequence[Event]) -> None:
        self._journal.record(f"{self._journal.state.cycle}.{name}", events)


def ends_of(request: Request, ending: Ending) -> tuple[bytes, ...]:
    """Where the conversation can go on after `request` ended so: behind each answer that holds something, or where
    nothing was answered, where it stood, for the request may be made again."""
    if isinstance(ending, Nothing):
        return request.prefixes[-1:]
    spoken = [said.message for said in ending.choices if said.message.plain or said.message.calls]
    before = request.prefixes[-1] if request.prefixes else b""
    return tuple(end for message in spoken for end in onward(before, (message,)))
