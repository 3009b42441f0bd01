"""What a live host does for people outside it: takes what they say and answer, and shows what its sessions do.

Knows the words of that traffic; knows neither the socket they come through (`runtime.people.mailbox`) nor Ray."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field

from telemetry.events.learn import Entry
from telemetry.events.values import Action, Digest, EventId, Feedback, Message, Playbook


class _Closed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Token(_Closed):
    """A piece of an answer as it comes. Shown, never recorded; the whole answer follows as `Said`."""

    kind: Literal["token"] = "token"
    text: str


class Said(_Closed):
    """The agent said something; the same `effect` again is the same saying."""

    kind: Literal["said"] = "said"
    effect: Digest
    text: str


class Doing(_Closed):
    """Tools were called, or answered: a line for people."""

    kind: Literal["doing"] = "doing"
    text: str


class Asks(_Closed):
    """The session waits until a person allows or refuses exactly this."""

    kind: Literal["asks"] = "asks"
    effect: Digest
    action: Action
    why: str


class Idle(_Closed):
    """The agent has nothing more to do until somebody speaks. `problem` says what kept it from answering, if
    anything did."""

    kind: Literal["idle"] = "idle"
    problem: str | None = None


class Ended(_Closed):
    """The session was closed or suspended; nothing more comes."""

    kind: Literal["ended"] = "ended"
    status: str
    reason: str


Notice = Annotated[Token | Said | Doing | Asks | Idle | Ended, Field(discriminator="kind")]


class Desk(Protocol):
    async def tell(self, session: str, said: Message | Feedback) -> EventId:
        """Hands over what a person said and returns the event that holds it, once that is on disk. The same message
        id again is heard once. Raises `NotFound` when no such conversation is live here, `Backpressure`."""
        ...

    async def decide(self, session: str, effect: str, *, granted: bool, by: str, why: str) -> EventId:
        """Answers the question for leave whose effect begins with `effect`; on disk when it returns, and the
        session goes on. Raises `NotFound` when nothing such is asked, `UsageError` when it was answered before."""
        ...

    async def reconcile(
        self, session: str, effect: str, *, happened: bool, by: str, why: str, result: str | None
    ) -> EventId:
        """Settles the unknown effect that begins with `effect`; on disk when it returns, and the agent is told at its
        next cycle. `result` is the JSON that the call answered. The same again returns the first. Raises `NotFound`
        when nothing such is unknown, `UsageError` when it was settled otherwise before, `Unavailable` while the
        session is taken up."""
        ...

    async def fork(self, session: str, *, at: int, new: str) -> EventId:
        """Forks the session at its version `at` into the session `new`, and returns that one's first own event, on
        disk. The same again returns the first. Raises `UsageError` where it cannot be cut or `new` is another session,
        `NotFound` when there is no such parent."""
        ...

    async def lay_down(self, playbook: Playbook, *, why: str) -> EventId:
        """Writes a version of a playbook and returns the event that holds it, on disk. The newest again is not
        written again."""
        ...

    async def enter(self, entry: Entry, *, refs: tuple[EventId, ...], run: str) -> EventId:
        """Records what is said of a model or a dataset, on disk when it returns. The same `run` again returns the
        first."""
        ...

    def watch(self, session: str) -> AsyncIterator[Notice]:
        """What the session shows from now on, first how it stands (`Asks` or `Idle`) where it rests."""
        ...

    def check_live(self, session: str) -> None:
        """Raises `NotFound` when the session does not run here."""
        ...

    async def rest(self, session: str) -> None:
        """Suspends the session at its next closed cycle and returns when it rests."""
        ...
