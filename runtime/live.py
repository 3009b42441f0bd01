"""The sessions of one host that are under way.

Knows runners and their tasks; knows neither the log nor Ray. Invariant: a session has at most one runner."""

from __future__ import annotations

import asyncio

from runtime.errors import NotFound
from runtime.runner import SessionRunner
from runtime.sessions import PREFIX, SessionRow, stream_of


class Live:
    def __init__(self) -> None:
        self.runners: dict[str, SessionRunner] = {}
        self.running: dict[str, asyncio.Task[SessionRow]] = {}
        self.resting: set[str] = set()
        """Those that are to rest at their next closed cycle."""
        self.stopping = False
        """Whether all of them are."""

    def of(self, session: str) -> SessionRunner:
        """The session's runner. Raises `NotFound` where it has none."""
        runner = self.runners.get(stream_of(session))
        if runner is None:
            name = session.removeprefix(PREFIX)
            raise NotFound(f"session {name} is not live here; try: aether session resume {name}")
        return runner

    def token(self, stream: str, text: str) -> None:
        """Shows a piece of an answer to whoever watches. From any thread."""
        runner = self.runners.get(stream)
        if runner is not None:
            runner.talk.token(text)

    def stop(self, stream: str) -> bool:
        """Whether the session is to rest at its next closed cycle."""
        return self.stopping or stream in self.resting
