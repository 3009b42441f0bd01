"""Which conversation a request goes on with: the one it names, or the one it begins with exactly.

Knows digests and names; knows no log. A conversation is found behind each answer it may go on from, and by nobody
while a request of it is under way, so a fork or a second request at a time is a conversation of its own. Invariant:
at most MAX_CONVERSATIONS are kept, the least recently heard of goes first."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from runtime.gateway.observed import ObservedSession

MAX_CONVERSATIONS = 2_000
"""As many as a session host runs at once; each keeps its conversation's text in memory."""


@dataclass(eq=False, slots=True)
class Conversation:
    """One observed session and where it can go on."""

    name: str
    session: ObservedSession
    named: bool
    """The agent names it, so it is not looked for by its messages."""
    ends: tuple[bytes, ...] = ()
    under_way: int = 0
    """Requests that are not recorded to their end."""
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held by the request that is being recorded: those of one name are recorded one after the other."""


class Conversations:
    def __init__(self) -> None:
        self._by_name: OrderedDict[str, Conversation] = OrderedDict()
        self._by_end: dict[bytes, list[Conversation]] = {}

    def __iter__(self) -> Iterator[Conversation]:
        return iter(tuple(self._by_name.values()))

    def __len__(self) -> int:
        return len(self._by_name)

    def named(self, name: str) -> Conversation | None:
        """The conversation of that name, which from now on goes by its name only."""
        found = self._by_name.get(name)
        if found is not None:
            found.named = True
            self._take(found)
        return found

    def going_on(self, prefixes: Sequence[bytes]) -> Conversation | None:
        """The conversation that the longest of `prefixes` is all of; of several alike the one that waits longest."""
        for prefix in reversed(prefixes):
            if waiting := self._by_end.get(prefix):
                found = waiting[0]
                self._take(found)
                return found
        return None

    def add(self, conversation: Conversation) -> Conversation | None:
        """Keeps a new one; returns the one that had to go for it."""
        self._by_name[conversation.name] = conversation
        if len(self._by_name) <= MAX_CONVERSATIONS:
            return None
        idle = next((c for c in self._by_name.values() if not c.under_way), None)
        if idle is not None:
            self.drop(idle)
        return idle

    def wait_at(self, conversation: Conversation, ends: tuple[bytes, ...]) -> None:
        """From now on it goes on behind any of `ends`."""
        if conversation.named or self._by_name.get(conversation.name) is not conversation:
            return
        self._leave(conversation)
        conversation.ends = ends
        for end in ends:
            self._by_end.setdefault(end, []).append(conversation)

    def drop(self, conversation: Conversation) -> None:
        """Forgets it; nothing happens where that was done before."""
        if self._by_name.get(conversation.name) is conversation:
            del self._by_name[conversation.name]
        self._leave(conversation)

    def _take(self, conversation: Conversation) -> None:
        self._by_name.move_to_end(conversation.name)
        self._leave(conversation)

    def _leave(self, conversation: Conversation) -> None:
        for end in conversation.ends:
            waiting = self._by_end[end]
            waiting.remove(conversation)
            if not waiting:
                del self._by_end[end]
        conversation.ends = ()
