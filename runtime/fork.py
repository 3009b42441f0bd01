"""A fork: a session that goes on from another's closed cycle and shares all before it by pointer.

Knows where a session may be cut; what a shared event is, the log knows. Invariant: one event is written, however
long the parent is, and nothing of the parent is touched."""

from __future__ import annotations

from contextlib import closing
from itertools import islice

from runtime.errors import UsageError
from runtime.people.mailbox import Mailbox, NobodyThere
from runtime.sessions import PREFIX, new_session, opened, stream_of
from telemetry.events import Draft, session
from telemetry.log import EventLog, open_log
from telemetry.log.lineage import Origin

CUT = "session.cycle_closed"

OPENED_AT = 1
"""Before the first cycle a session may be cut too, right after it was opened."""

SEARCHED = 4096
"""Events that are looked through to each side for where a fork may begin: a cycle has 10 to 25, one with a thousand
calls at once 3,000."""


def fork_in(url: str, session_id: str, *, at: int) -> str:
    """As `fork`, of a session in the log at `url`: by its live host where there is one, else as the writer of the log
    for that moment. Raises `LogHeld` as well, when another process writes the log and does not answer."""
    new = new_session()
    try:
        Mailbox(url).fork(session_id, at=at, new=new)
    except NobodyThere:
        with closing(open_log(url, create=False)) as log:
            return fork(log, session_id, at=at, new=new)
    return new


def fork(log: EventLog, session_id: str, *, at: int, new: str | None = None) -> str:
    """Forks the session at version `at`, into the session `new` or one of a fresh id, which is returned.

    The same fork into the same `new` again changes nothing. Raises `UsageError` when `at` is neither a closed cycle
    nor the session's opening, or when `new` is another session; `NotFound` when there is no such parent."""
    parent = stream_of(session_id)
    opened(log, parent)
    cut = next(log.read(parent, after=at - 1, to=at), None) if at >= OPENED_AT else None
    if cut is None or not (at == OPENED_AT or cut.type == CUT):
        raise UsageError(_elsewhere(log, session_id, at))
    origin = Origin(parent, at, cut.hash.hex())
    stream = stream_of(new or new_session())
    if log.head(stream) is not None and log.origin(stream) != origin:
        raise UsageError(
            f"there is a session {stream.removeprefix(PREFIX)!r} already. Nothing was written; name another."
        )
    forked = session.Forked(parent=parent, at_version=at, at_hash=origin.at_hash)
    log.append(stream, [Draft(event=forked, command="fork", cause=cut.id)], expected_version=at, epoch=1)
    return stream.removeprefix(PREFIX)


def cut_before(log: EventLog, session_id: str, version: int) -> int:
    """The last version up to `version` at which the session may be forked. Raises `NotFound` when there is no such
    session, `UsageError` for a version before its first."""
    stream = stream_of(session_id)
    opened(log, stream)
    if version < OPENED_AT:
        raise UsageError(f"a session's versions count from {OPENED_AT}; {version} is before them")
    back = log.read_back(stream, before=version + 1)  # of all types: rows of one are no nearer, as nothing indexes them
    return next((recorded.version for recorded in back if recorded.type == CUT), OPENED_AT)


def _elsewhere(log: EventLog, session_id: str, at: int) -> str:
    """Why not there, and where instead."""
    stream, name = stream_of(session_id), session_id.removeprefix(PREFIX)
    back = islice(log.read_back(stream, before=max(at, OPENED_AT) + 1), SEARCHED)
    on = islice(log.read(stream, after=max(at, OPENED_AT)), SEARCHED)
    below = next((r.version for r in back if r.type == CUT or r.version == OPENED_AT), None)
    above = next((r.version for r in on if r.type == CUT), None)
    near = [version for version in (below, above) if version is not None] or [OPENED_AT]
    return (
        f"session {name} cannot be forked at version {at}: a fork begins at a closed cycle. Nothing was written. "
        f"The nearest: version {' or '.join(map(str, near))}; try: aether session fork {name} --at {near[0]}"
    )
