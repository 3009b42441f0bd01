"""How other processes of the same user on the same machine reach the live host of a log: a Unix socket.

Knows plain sockets; loads neither asyncio's nor Ray. One command a connection, one JSON line each way; what is
watched comes as one line a notice. Invariant: a host that is gone raises `NobodyThere`, so that callers can do the
work themselves."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Self

from runtime.errors import Backpressure, NotFound, Unavailable, UsageError
from runtime.people.desk import Ended, Notice
from runtime.people.letters import (
    COMMAND_TIMEOUT_S,
    MAX_ANSWER_BYTES,
    MAX_COMMAND_BYTES,
    SEEN,
    Answer,
    Command,
    Decide,
    Enter,
    Fork,
    Holds,
    LayDown,
    NobodyThere,
    Reconcile,
    Rest,
    Tell,
    Watch,
    Written,
    check_folder,
    host_addresses,
)
from telemetry.events.learn import Entry
from telemetry.events.values import EventId, Feedback, Message, Playbook
from telemetry.log import is_postgres, shown

__all__ = ["Mailbox", "NobodyThere", "Watching"]

ANSWER_TIMEOUT_S = 120.0
"""A host that waits for room on its disk answers late; longer means that it hangs."""


class Mailbox:
    """Speaks with the live hosts of a log on this machine. Every call connects anew; it raises what the host raised,
    `NobodyThere` where no host lives, and `Unavailable` where one does not answer."""

    def __init__(self, log_url: str) -> None:
        self._url = log_url
        self._log = shown(log_url)

    def anybody(self) -> bool:
        """Whether a host lives."""
        for address in host_addresses(self._url):
            with suppress(NobodyThere):
                self._connected(address).close()
                return True
        return False

    def tell(self, session: str, said: Message | Feedback) -> EventId:
        """See `Desk.tell`."""
        return self._event(Tell(session=session, said=said))

    def decide(self, session: str, effect: str, *, granted: bool, by: str, why: str = "") -> EventId:
        """See `Desk.decide`."""
        return self._event(Decide(session=session, effect=effect, granted=granted, by=by, why=why))

    def reconcile(
        self, session: str, effect: str, *, happened: bool, by: str, why: str = "", result: str | None = None
    ) -> EventId:
        """See `Desk.reconcile`."""
        return self._event(Reconcile(session=session, effect=effect, happened=happened, by=by, why=why, result=result))

    def fork(self, session: str, *, at: int, new: str) -> EventId:
        """See `Desk.fork`."""
        return self._event(Fork(session=session, at=at, new=new))

    def lay_down(self, playbook: Playbook, *, why: str = "") -> EventId:
        """See `Desk.lay_down`."""
        return self._event(LayDown(playbook=playbook, why=why))

    def enter(self, entry: Entry, *, refs: tuple[EventId, ...], run: str) -> EventId:
        """See `Desk.enter`."""
        return self._event(Enter(entry=entry, refs=refs, run=run))

    def rest(self, session: str, *, timeout_s: float | None = None) -> None:
        """See `Desk.rest`. A cycle ends when its model and its tools answer: without `timeout_s` as long as that."""
        self._ask(Rest(session=session), timeout_s=timeout_s)

    def watch(self, session: str) -> Watching:
        """See `Desk.watch`. When this returns nothing more can be missed."""
        command = Watch(session=session)
        watching = Watching(self._say(self._address(command), command), self._gone)
        watching.begin()
        return watching

    def _event(self, command: Written) -> EventId:
        event = self._ask(command, timeout_s=ANSWER_TIMEOUT_S).ok
        assert event is not None, "what was heard stands in an event"
        return event

    def _ask(self, command: Written | Rest, *, timeout_s: float | None) -> Answer:
        return self._ask_at(self._address(command), command, timeout_s=timeout_s)

    def _ask_at(self, address: Path, command: Command, *, timeout_s: float | None) -> Answer:
        with closing(self._say(address, command)) as connection, connection.makefile("rb") as lines:
            connection.settimeout(timeout_s)
            try:
                line = lines.readline(MAX_ANSWER_BYTES)
            except TimeoutError as error:
                raise Unavailable(
                    f"the host of {self._log} did not answer within {timeout_s:g} s; whether it heard is not known. "
                    "Nothing is lost: try again, the same command is heard once"
                ) from error
            except OSError as error:
                raise self._gone() from error
        if not line.endswith(b"\n"):
            raise self._gone()
        answer = Answer.model_validate_json(line)
        if answer.error is not None:
            raise answer.error.again()
        return answer

    def _address(self, command: Command) -> Path:
        """The host to say `command` to: of several the one at which its session is live, else any that lives."""
        addresses = host_addresses(self._url)
        if not is_postgres(self._url):
            return addresses[0]
        living: list[Path] = []
        for address in addresses:
            with suppress(NobodyThere):
                if isinstance(command, LayDown | Enter):
                    self._connected(address).close()
                    return address
                try:
                    self._ask_at(address, Holds(session=command.session), timeout_s=ANSWER_TIMEOUT_S)
                except NotFound:
                    living.append(address)
                else:
                    return address
        if not living:
            raise self._gone()
        return living[0]

    def _say(self, address: Path, command: Command) -> socket.socket:
        """A connection on which `command` was said."""
        line = command.model_dump_json().encode() + b"\n"
        if len(line) > MAX_COMMAND_BYTES:
            raise UsageError(
                f"this is {len(line):,} bytes long, at most {MAX_COMMAND_BYTES:,} can be said at once; nothing was sent"
            )
        connection = self._connected(address)
        try:
            with suppress(BrokenPipeError, ConnectionResetError):  # one that is full answers and hangs up at once
                connection.sendall(line)
            connection.settimeout(None)
        except OSError as error:
            connection.close()
            raise self._gone() from error
        return connection

    def _connected(self, address: Path) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            check_folder(address.parent)
            connection.settimeout(COMMAND_TIMEOUT_S)
            connection.connect(str(address))
        except BlockingIOError as error:
            connection.close()
            raise Backpressure(
                f"too many callers knock at the host of {self._log}; nothing was said. Try again"
            ) from error
        except OSError as error:
            connection.close()
            raise self._gone() from error
        except BaseException:
            connection.close()
            raise
        return connection

    def _gone(self) -> NobodyThere:
        return NobodyThere(f"no live host answers for {self._log}. The log is intact")


class Watching:
    """Notices as they come, until `Ended`. `close` may be called from another thread and ends it there."""

    def __init__(self, connection: socket.socket, gone: Callable[[], NobodyThere]) -> None:
        self._connection = connection
        self._lines = connection.makefile("rb")
        self._gone = gone
        self._over = False

    def begin(self) -> None:
        """Returns once the host shows this watcher everything. Raises what it says instead."""
        try:
            answer = Answer.model_validate_json(self._line())
            if answer.error is not None:
                raise answer.error.again()
        except BaseException:
            self.close()
            raise

    def __iter__(self) -> Iterator[Notice]:
        return self

    def __next__(self) -> Notice:
        if self._over:
            raise StopIteration
        try:
            seen = SEEN.validate_json(self._line())
        except NobodyThere:
            if self._over:  # closed meanwhile, by another thread
                raise StopIteration from None
            raise
        if isinstance(seen, Answer):
            self.close()
            assert seen.error is not None, "after its beginning a watch is only answered where it went wrong"
            raise seen.error.again()
        self._over = isinstance(seen, Ended)
        return seen

    def _line(self) -> bytes:
        try:
            line = self._lines.readline(MAX_ANSWER_BYTES)
        except (OSError, ValueError):  # ValueError: of a file that was closed meanwhile
            line = b""
        if not line.endswith(b"\n"):
            raise self._gone()
        return line

    def close(self) -> None:
        """Leaves. Whoever waits in `next` meets the end."""
        self._over = True
        with suppress(OSError):  # the other side left first
            self._connection.shutdown(socket.SHUT_RDWR)
        self._lines.close()
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
