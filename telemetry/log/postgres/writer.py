"""The PostgreSQL side of the writer's thread: a group is one transaction, and one statement inserts it.

Several hosts write one log. Each takes the log's advisory lock just before positions are given and holds it to COMMIT,
so positions are in the order of commits. An append is decided before it is inserted, so no conflict rolls back another.
Knows statements and how a server fails; what may be appended, `decide` knows.
Invariant: what `commit` acknowledges is committed, also where the connection was lost while it was."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

import psycopg
from psycopg import errors

from telemetry.errors import LogDamaged, LogError, LogUnreachable, LogUnwritable
from telemetry.log.decide import Group
from telemetry.log.postgres.connect import LOCK_TIMEOUT_MS, PASSING, PATIENCE_S, WRITER, Connection, Patience, Server
from telemetry.log.postgres.standing import (
    INSERT,
    MustLook,
    PostgresTables,
    Remembered,
    Seen,
    columns_of,
    execute,
)
from telemetry.log.rows import (
    COMMAND,
    HASH,
    HEAD,
    LAST_POSITION,
    ORDINAL,
    POSITION,
    SELECT,
    STREAM,
    VERSION,
    Row,
)
from telemetry.log.store import Head
from telemetry.log.verify import SYSTEM
from telemetry.log.writer import Outcome, Pending, Upkeep

BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"
"""Each statement sees what was committed before it began; the one that gives positions begins under the lock."""

MARK = 0x61657468
LOCK = f"SELECT pg_advisory_xact_lock({MARK}::bigint << 32 | 'events'::regclass::oid::bigint)"
"""A lock a log: several may stand in one database, each in a schema of its own."""

FREE = f"""SELECT pg_terminate_backend(holder.pid) FROM pg_locks AS held JOIN pg_stat_activity AS holder USING (pid)
WHERE held.locktype = 'advisory' AND held.granted AND held.classid = {MARK} AND held.objid = 'events'::regclass::oid
AND held.database = (SELECT oid FROM pg_database WHERE datname = current_database())
AND holder.wait_event = 'ClientRead' AND holder.query_start < now() - interval '{LOCK_TIMEOUT_MS} ms' / 2"""
"""Ends a writer that has sent nothing for so long while it holds the lock. The server's own time limit for an idle
transaction does not count in the middle of a pipeline, where a host can be stopped as well as anywhere else."""

HEADS = f"""SELECT head.* FROM unnest(%s::text[]) AS asked (name)
CROSS JOIN LATERAL ({HEAD.replace("stream = ?", "stream = asked.name")}) AS head"""

COMMANDS = f"""{SELECT} JOIN unnest(%s::text[], %s::text[], %s::bigint[]) AS asked (s, c, o)
ON stream = s AND command = c AND ordinal = o"""

KEPT = "SELECT position - 1 FROM events WHERE stream = %s AND version = %s AND hash = %s"


class _Kept(NamedTuple):
    """What a group comes to once it is committed: the first of its rows, how many they are, what is answered."""

    first: Row
    rows: int
    outcomes: list[Outcome]


class PostgresCommitter:
    """`committed` hears of the last position of each group that kept events."""

    def __init__(self, server: Server, connection: Connection, *, committed: Callable[[int], None]) -> None:
        self._server = server
        self._connection = connection
        self._committed = committed
        self._heads: dict[str, Head] = {}
        self._doubt: _Kept | None = None
        """A group whose COMMIT was sent and not answered."""

    def commit(self, group: list[Pending]) -> list[Outcome]:
        patience = Patience(PATIENCE_S)
        while True:
            try:
                return self._attempt(group)
            except Exception as error:  # noqa: BLE001 - whatever it is, no future may be lost
                self._heads.clear()
                lost = isinstance(error, psycopg.Error) and not self._rollback()
                if isinstance(error, errors.LockNotAvailable):
                    self._free_the_lock()
                again = lost or isinstance(error, (LogUnreachable, *PASSING))
                if not again or not patience.wait():
                    refusals: list[Outcome] = [self._refusal(error, append) for append in group]
                    self._doubt = None
                    return refusals

    def upkeep(self, upkeep: Upkeep) -> Outcome:
        """Tried once: an order that was carried out could not be carried out again."""
        committing = False
        try:
            if self._connection.closed:
                self._connection = self._server.connect(WRITER)
            execute(self._connection, BEGIN)
            execute(self._connection, LOCK)
            outcome = upkeep.order(PostgresTables(self._connection))
            if isinstance(outcome, LogError):
                self._rollback()
                return outcome
            committing = True
            execute(self._connection, "COMMIT")
        except Exception as error:  # noqa: BLE001 - whatever it is, no future may be lost
            answered = self._rollback()
            return self._not_carried_out(error, unknown=committing and not answered)
        finally:
            self._heads.clear()
        self._committed(outcome.position)
        return (outcome,)

    def _not_carried_out(self, error: Exception, *, unknown: bool) -> LogError:
        if isinstance(error, LogError):
            return error
        kept = "Whether the order was carried out is not known, and the stream `system` tells" if unknown else None
        return LogUnwritable(
            f"{self._server.name} did not carry out an order: {self._server.words(error)}. "
            f"{kept or 'Nothing was changed'}. All acknowledged events are intact."
        )

    def close(self) -> None:
        self._connection.close()

    def _attempt(self, group: list[Pending]) -> list[Outcome]:
        if self._connection.closed:
            self._connection = self._server.connect(WRITER)
        if self._doubt is None:
            try:
                return self._by_memory(group)
            except MustLook:
                pass
            except errors.UniqueViolation:  # somebody else wrote, and what is remembered is old
                self._rollback()
        return self._by_looking(group)

    def _by_memory(self, group: list[Pending]) -> list[Outcome]:
        """One way there and back, and what this host computes is computed before it takes the lock."""
        standing = Remembered()
        deciding = Group(self._heads, standing, position=0)
        outcomes = [deciding.take(append) for append in group]
        if standing.rows:
            self._insert(standing.rows, _Kept(standing.rows[0], len(standing.rows), outcomes), BEGIN, LOCK)
            deciding.committed()
        return outcomes

    def _by_looking(self, group: list[Pending]) -> list[Outcome]:
        """Reads under the lock what the group rests on, decides, and inserts."""
        streams = list({append.stream for append in group})
        events = [event.columns for append in group for event in append.events]
        asked = tuple([columns[place - 1] for columns in events] for place in (STREAM, COMMAND, ORDINAL))
        with self._connection.pipeline():
            execute(self._connection, BEGIN)
            execute(self._connection, LOCK)
            last = execute(self._connection, LAST_POSITION)
            heads = execute(self._connection, HEADS, ([*streams, SYSTEM],))
            commands = execute(self._connection, COMMANDS, asked)
        if self._doubt is not None and (stood := self._settled(self._doubt)) is not None:
            return stood
        for stream in streams:
            self._heads.pop(stream, None)
        standing = Seen(self._connection, heads.fetchall(), commands.fetchall())
        deciding = Group(self._heads, standing, position=int(last.fetchall()[0][0]))
        outcomes = [deciding.take(append) for append in group]
        if standing.rows:
            rest = standing.rows[standing.inserted :]
            self._insert(rest, _Kept(standing.rows[0], len(standing.rows), outcomes))
            deciding.committed()
        else:
            self._rollback()
        return outcomes

    def _settled(self, doubt: _Kept) -> list[Outcome] | None:
        """What became of the group in doubt, if it stands. The lock is ours, so whoever committed it has ended."""
        first = doubt.first
        found = execute(self._connection, KEPT, (first[STREAM], first[VERSION], first[HASH])).fetchone()
        self._doubt = None
        if found is None:
            return None
        self._rollback()
        return self._stands(doubt, after=int(found[0]))

    def _insert(self, rows: list[Row], group: _Kept, *before: str) -> None:
        """Inserts the last `rows` of a group, and commits."""
        self._doubt = group
        answered = False
        try:
            with self._connection.pipeline():
                for statement in before:
                    execute(self._connection, statement)
                after = execute(self._connection, INSERT, columns_of(rows))
                execute(self._connection, "COMMIT")
            answered = True
        finally:
            if answered or self._rollback():
                self._doubt = None
        position = after.fetchall()[0][0] if rows else int(group.first[POSITION]) - 1 + group.rows
        self._stands(group, after=int(position) - (group.rows - len(rows)))

    def _stands(self, group: _Kept, *, after: int) -> list[Outcome]:
        """A committed group's events have the positions above `after`, whatever they were counted from."""
        shift = after + 1 - int(group.first[POSITION])
        for outcome in group.outcomes if shift else ():
            if not isinstance(outcome, LogError):
                for event in outcome:
                    event.__dict__["position"] += shift  # frozen for others, who have not seen it yet
        self._committed(after + group.rows)
        return group.outcomes

    def _rollback(self) -> bool:
        """Whether that was answered; then nothing is left of a transaction that was not committed before."""
        try:
            self._connection.execute("ROLLBACK")
        except psycopg.Error:
            self._connection.close()  # the next attempt connects anew
            return False
        return True

    def _free_the_lock(self) -> None:
        with suppress(psycopg.Error):  # who waits on, says so
            self._connection.execute(FREE)

    def _refusal(self, error: Exception, append: Pending) -> LogError:
        name, kept = self._server.name, f"Nothing of this append to {append.stream} was kept"
        if self._doubt is not None:
            kept = f"Whether this append to {append.stream} was kept is not known, and its command again tells"
        if isinstance(error, errors.LockNotAvailable):
            return LogUnreachable(
                f"{name} takes no more events: another writer has held its lock for {PATIENCE_S:g} s. {kept}. Who it "
                "is stands in pg_locks (locktype advisory) and pg_stat_activity."
            )
        if isinstance(error, LogUnreachable) or (isinstance(error, psycopg.Error) and self._connection.closed):
            return LogUnreachable(f"{name} takes no more events: {self._server.words(error)}. {kept}.")
        if isinstance(error, LogError):
            return error
        if isinstance(error, psycopg.OperationalError | psycopg.InternalError | errors.InsufficientPrivilege):
            return LogUnwritable(
                f"{name} takes no more events: {self._server.words(error)}. {kept}; all acknowledged events are "
                "intact. Make room or give leave, then append again."
            )
        refusal = LogDamaged(
            f"{name} failed while appending to {append.stream}: {error!r}. {kept}. Try: aether log verify"
        )
        refusal.__cause__ = error
        return refusal
