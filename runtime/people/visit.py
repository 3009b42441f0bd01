"""One attended session on a host of this process: ordered, watched, spoken to, and taken up again when its host
died.

Knows the host, its mailbox and Ray's way of ending; shows nothing. Invariant: what was told is told again under the
same id until it is on disk, and nothing of Ray is called once the visit is over."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Self, TypeVar

from runtime.errors import NotFound
from runtime.hosting.hosts import START_TIMEOUT_S, Hosts
from runtime.hosting.orders import RunStatus, SessionOrder
from runtime.people.desk import Notice
from runtime.people.mailbox import Mailbox, NobodyThere, Watching
from runtime.settings import Settings
from telemetry.events.values import EventId, Feedback, Message

T = TypeVar("T")

RETRY_S = 0.05
END_TIMEOUT_S = 5.0
"""The host is asked about its sessions four times a second, so its thread ends well within this."""
LEAVE_TIMEOUT_S = 60.0
"""And once nobody waits for the session any more: a call of that thread after Ray has ended would start another Ray."""


class _Left(Exception):
    """Nobody waits for the session any more."""


class Visit:
    """Starts the session; leaving the block ends it."""

    def __init__(self, settings: Settings, order: SessionOrder) -> None:
        """Raises what `Hosts` does."""
        self.session = order.session
        self._host = Hosts(settings, [order], near=True)
        self._left = threading.Event()
        self._mailbox = Mailbox(self._host.url)
        self._watching: Watching | None = None
        """Begun, and not yet looked at."""
        self._over = threading.Event()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, args=(order,), daemon=True, name="session host")
        self._thread.start()

    def _run(self, order: SessionOrder) -> None:
        try:
            for _, error in self._host.run([order], watch=self._look):
                self._error = error
        except _Left:
            pass
        except Exception as error:  # noqa: BLE001  it is raised again where somebody waits for the session
            self._error = error
        finally:
            self._over.set()

    def _look(self, _: RunStatus) -> None:
        if self._left.is_set():  # a call after Ray was shut down would start another Ray
            raise _Left

    @property
    def over(self) -> bool:
        """Whether the session ended, rests, or cannot be gone on with."""
        return self._over.is_set()

    def notices(self) -> Iterator[Notice]:
        """What the session shows until it is closed or rests. Raises what kept it from its end."""
        while not self._over.is_set():
            if self._watching is None:
                self._watching = self._reach(lambda: self._mailbox.watch(self.session))
            watching, self._watching = self._watching, None
            with watching, suppress(NobodyThere):
                yield from watching
                return
        if self._error is not None:
            raise self._error

    def tell(self, said: Message | Feedback) -> EventId:
        """As `Desk.tell`; again when the host died meanwhile."""
        try:
            return self._mailbox.tell(self.session, said)
        except NobodyThere:
            self._watching = self._reach(lambda: self._mailbox.watch(self.session))  # before anything is answered
            return self._reach(lambda: self._mailbox.tell(self.session, said))

    def decide(self, effect: str, *, granted: bool, by: str, why: str) -> EventId:
        """As `Desk.decide`. Raises `NobodyThere` when the host died: the question is then shown again."""
        return self._mailbox.decide(self.session, effect, granted=granted, by=by, why=why)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Lets the session finish its cycle and rest, then ends the host. A Ctrl-C meanwhile does not wait for that:
        the host then ends with Ray, and the session rests at its last commit."""
        try:
            if kind is None or issubclass(kind, KeyboardInterrupt):
                with suppress(NobodyThere, NotFound):  # the session is over, or its host is: the log is whole
                    self._mailbox.rest(self.session)
                self._thread.join(END_TIMEOUT_S)
            self._host.close()
        finally:
            self._left.set()
            self._thread.join(LEAVE_TIMEOUT_S)

    def _reach(self, call: Callable[[], T]) -> T:
        """What `call` answers once a host lives that runs the session. Raises what ended the session instead."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                return call()
            except (NobodyThere, NotFound) as error:
                if self._over.wait(RETRY_S):
                    raise self._error or error from None
                if time.monotonic() > deadline:
                    raise
