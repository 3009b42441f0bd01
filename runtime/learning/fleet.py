"""Ray and the session hosts, up for as long as something is learnt: sessions, trainings and judgements take turns on
them.

Knows hosts and rows; knows nothing of what is learnt. Invariant: what was begun here is ended here, and sessions that
are cut short rest at a closed cycle."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Self

from runtime.errors import DONE, FAILED, Unavailable, exit_code_of
from runtime.hosting.orders import RunStatus, SessionOrder
from runtime.sessions import SessionRow, row_of, stream_of
from runtime.settings import Settings, log_url
from runtime.telemetry.following import makers
from telemetry.log import EventLog, open_log

if TYPE_CHECKING:
    from runtime.hosting.hosts import Ended, Hosts

Watch = Callable[[RunStatus], None]
"""Is told about four times a second how the hosts stand. Its sums are over all that these hosts ran."""


class Ran(NamedTuple):
    """What became of orders."""

    rows: tuple[SessionRow, ...]
    """In their order; none of a session that is not on the log."""
    errors: tuple[str, ...]
    """What kept a session from ending, with its id."""
    exit_code: int


class Fleet:
    """A context. On SQLite its host holds the log: what is read is read beside it, and `runtime.entry.enter`
    says through it what the log is to say."""

    def __init__(self, settings: Settings, orders: Sequence[SessionOrder] = ()) -> None:
        """`orders` are those that will be run, as far as they are known: their number and their pools say how many
        hosts there are on PostgreSQL; none of them is begun here."""
        self.settings = settings
        self.url = log_url(settings)
        self._orders = orders
        self._stack = ExitStack()
        self._hosts: Hosts | None = None

    def __enter__(self) -> Self:
        """Raises `Unavailable` where Ray or a host finds no room, `UsageError` for several hosts on SQLite, and what
        opening the log raises."""
        from runtime.hosting.cluster import connected  # loads Ray
        from runtime.hosting.hosts import Hosts

        makers(self.settings)
        with ExitStack() as stack:
            stack.enter_context(connected(self.settings))
            self._hosts = stack.enter_context(closing(Hosts(self.settings, self._orders)))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Lets every session finish its cycle and rest, and releases the log."""
        self._stack.__exit__(kind, error, trace)

    @property
    def hosts(self) -> Hosts:
        assert self._hosts is not None, "a fleet is up inside its context"
        return self._hosts

    @property
    def telemetry(self) -> tuple[str, ...]:
        """What of it waits for the next run, and why; known once the fleet was left."""
        return self.hosts.telemetry

    def ending(self, orders: Sequence[SessionOrder], *, watch: Watch = lambda _: None) -> Iterator[Ended]:
        """Runs the orders and yields each session's id as it ends, with what kept it from its end, if anything did.
        As `Hosts.run`."""
        return self.hosts.run(orders, watch=watch)

    def run(self, orders: Sequence[SessionOrder], *, watch: Watch = lambda _: None) -> Ran:
        """Runs the orders to their ends and says what became of them.

        Ctrl-C leaves it at once; the sessions come to rest as the fleet is left. Raises `Unavailable` when no host
        comes back."""
        errors: list[str] = []
        exit_code = DONE
        for session, error in self.ending(orders, watch=watch):
            if error is not None:
                errors.append(f"{session}: {error}")
                exit_code = max(exit_code, exit_code_of(error))
        with closing(open_log(self.url, mode="read")) as log:
            return ran(log, orders, errors=errors, exit_code=exit_code)


def ran(log: EventLog, orders: Sequence[SessionOrder], *, errors: Sequence[str], exit_code: int) -> Ran:
    """What became of orders, as the log says. `exit_code` is that of what is known otherwise."""
    rows = tuple(row_of(log, head) for order in orders if (head := log.head(stream_of(order.session))))
    if exit_code == DONE and any(row.outcome == "failed" for row in rows):
        exit_code = FAILED
    if exit_code == DONE and any(row.status == "suspended" and row.error for row in rows):
        exit_code = Unavailable.exit_code
    return Ran(rows, tuple(errors), exit_code)
