"""Word of commits between the processes of one log: NOTIFY after the commit, from a connection of its own.

Knows nothing that must be right: a notice that is lost costs a moment until the next poll.
Invariant: neither a writer nor a subscriber ever waits for it."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Callable
from contextlib import suppress

import psycopg

from telemetry.errors import LogError
from telemetry.log.postgres.connect import Connection, Server

PACE_S = 0.01
"""At most a hundred notices a second from a writer, however many groups it commits."""
AGAIN_S = 1.0
"""After an error."""


def channel_of(log_id: str) -> str:
    """Several logs may stand in one database, each in a schema of its own."""
    return f"aether_{log_id.replace('-', '')}"


class Announcer:
    """Tells other processes how far the log goes."""

    def __init__(self, server: Server, log_id: str) -> None:
        self._server = server
        self._channel = channel_of(log_id)
        self._changed = threading.Condition()
        self._position = self._told = 0
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="log-announcer", daemon=True)
        self._thread.start()

    def committed(self, position: int) -> None:
        with self._changed:
            self._position = position
            self._changed.notify_all()

    def close(self) -> None:
        """Tells what is untold, and ends."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()

    def _run(self) -> None:
        connection: Connection | None = None
        while (position := self._next()) is not None:
            try:
                if connection is None:
                    connection = self._server.connect()
                    connection.execute("SET synchronous_commit = off")  # a notice is nothing that must be on disk
                connection.execute("SELECT pg_notify(%s, %s)", (self._channel, str(position)))
                pause_s = PACE_S
            except (psycopg.Error, LogError):
                if connection is not None:
                    connection.close()
                connection, pause_s = None, AGAIN_S
            with self._changed:
                if not self._closed:
                    self._changed.wait_for(lambda: self._closed, pause_s)
        if connection is not None:
            connection.close()

    def _next(self) -> int | None:
        """The next position to tell of; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._position > self._told)
            if self._position <= self._told:
                return None
            self._told = self._position
            return self._told


class Listener:
    """Calls `heard` with a position that another process committed."""

    def __init__(self, server: Server, log_id: str, heard: Callable[[int], None]) -> None:
        self._server = server
        self._channel = channel_of(log_id)
        self._heard = heard
        self._closed = threading.Event()
        self._wake, self._woken = socket.socketpair()
        self._thread = threading.Thread(target=self._run, name="log-listener", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._closed.set()
        self._wake.send(b".")
        self._thread.join()
        self._wake.close()
        self._woken.close()

    def _run(self) -> None:
        while not self._closed.is_set():
            with suppress(psycopg.Error, LogError):
                self._listen()
            self._closed.wait(AGAIN_S)

    def _listen(self) -> None:
        with self._server.connect() as connection:
            connection.execute(f"LISTEN {self._channel}")
            waiting = select.poll()  # takes descriptors of any number, which select does not
            for descriptor in (connection.fileno(), self._woken.fileno()):
                waiting.register(descriptor, select.POLLIN)
            while not self._closed.is_set():
                waiting.poll()
                for notice in connection.notifies(timeout=0):
                    self._heard(int(notice.payload))
