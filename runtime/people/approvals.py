"""Questions for leave: what a session asks a person, and how the answer gets onto its stream.

Knows the log and the mailbox of its live host. Invariant: an answer is bound to the effect and the arguments that
were asked about, and a question is answered once."""

from __future__ import annotations

import getpass
import os
import time
from contextlib import closing
from datetime import UTC, datetime

from runtime.errors import NotFound, UsageError
from runtime.people.mailbox import Mailbox, NobodyThere
from runtime.sessions import PREFIX, check_rests, opened, stream_of
from telemetry.events import Draft, Recorded, execute
from telemetry.events.values import Digest, EventId
from telemetry.log import EventLog, open_log

PREFIX_CHARACTERS = 6
"""An effect is named by the first digits of its key: 24 bits, and only one is ever asked about at a time."""

_TELLING = (
    "execute.approval_asked",
    "execute.approval_given",
    "execute.cancelled",
    "session.cycle_closed",
    "session.closed",
)


def open_question(log: EventLog, session: str) -> execute.ApprovalAsked | None:
    """What the session waits to be allowed; None where it waits for nothing."""
    found = _open(log, session)
    return None if found is None else found[1]


def answer(url: str, session: str, effect_prefix: str, *, granted: bool, by: str, why: str = "") -> EventId:
    """Answers the session's open question, by its live host where there is one, else as the writer of the log for
    that moment. Returns the event that holds the answer, on disk.

    Raises `NotFound` when nothing that begins so is asked, `UsageError` when it was answered before or came too
    late, `LogHeld` when another process writes the log and does not answer."""
    try:
        return Mailbox(url).decide(session, effect_prefix, granted=granted, by=by, why=why)
    except NobodyThere:
        pass
    with closing(open_log(url, create=False)) as log:
        return append_answer(log, session, effect_prefix, granted=granted, by=by, why=why)


def append_answer(
    log: EventLog, session: str, effect_prefix: str, *, granted: bool, by: str, why: str, now_ns: int | None = None
) -> EventId:
    """As `answer`, for a session that does not run, by whoever writes the log. `now_ns` is UTC, the clock's when
    it is None."""
    found = _open(log, session)
    if found is None:
        raise _nothing_is_asked(log, session, effect_prefix)
    recorded, asked = found
    given = given_for(asked, effect_prefix, granted=granted, by=by, why=why, now_ns=now_ns)
    stream = stream_of(session)
    check_rests(log, stream)
    head = log.head(stream)
    assert head is not None, "a stream with a question has a head"
    draft = Draft(
        event=given,
        command=f"{recorded.cycle}.approval",
        cycle=recorded.cycle,
        cause=recorded.id,
    )
    return log.append(stream, [draft], expected_version=head.version, epoch=head.epoch)[0].id


def given_for(
    asked: execute.ApprovalAsked, effect_prefix: str, *, granted: bool, by: str, why: str, now_ns: int | None = None
) -> execute.ApprovalGiven:
    """The answer to exactly this question. Raises `UsageError` and `NotFound` as `answer` does."""
    check_prefix(effect_prefix)
    if not asked.effect.startswith(effect_prefix.lower()):
        raise NotFound(f"nothing that begins with {effect_prefix} is asked; what is asked is {asked.effect[:12]}")
    if asked.until is not None and (time.time_ns() if now_ns is None else now_ns) > asked.until:
        raise UsageError(
            f"the question {asked.effect[:12]} timed out at {moment(asked.until)}; the answer came too late and was "
            "not recorded. The session goes on without it when it is resumed"
        )
    return execute.ApprovalGiven(
        effect=asked.effect, ordinal=asked.ordinal, arguments=asked.arguments, granted=granted, by=by, why=why
    )


def whoami() -> str:
    """The name of this process' user, as the system knows it."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without a name, as containers have
        return f"uid {os.getuid()}"


def moment(at_ns: int) -> str:
    """A time in words, UTC, to the second."""
    return datetime.fromtimestamp(at_ns // 1_000_000_000, UTC).isoformat(sep=" ").replace("+00:00", " UTC")


def _open(log: EventLog, session: str) -> tuple[Recorded, execute.ApprovalAsked] | None:
    stream = stream_of(session)
    opened(log, stream)
    answered: set[Digest] = set()
    for recorded in log.read_back(stream, types=_TELLING):
        match recorded.event:
            case execute.ApprovalGiven(arguments=arguments):
                answered.add(arguments)  # an answer for other arguments is no answer
            case execute.ApprovalAsked() as asked:
                return None if asked.arguments in answered else (recorded, asked)
            case _:
                return None
    return None


def _nothing_is_asked(log: EventLog, session: str, effect_prefix: str) -> NotFound | UsageError:
    check_prefix(effect_prefix)
    name = session.removeprefix(PREFIX)
    for recorded in log.read_back(stream_of(session), types=("execute.approval_given",)):
        given = recorded.event
        if isinstance(given, execute.ApprovalGiven) and given.effect.startswith(effect_prefix.lower()):
            said = "allowed" if given.granted else "refused"
            return UsageError(
                f"{given.effect[:12]} was {said} by {given.by} already ({recorded.id}); an answer stands. "
                f"Go on with: aether session resume {name}"
            )
    return NotFound(f"session {name} asks nothing now. Try: aether session show {name}")


def check_prefix(effect_prefix: str) -> None:
    """Raises `UsageError` for a prefix too short to name an effect."""
    if len(effect_prefix) < PREFIX_CHARACTERS:
        raise UsageError(
            f"{effect_prefix!r} is too short to mean one effect; give at least {PREFIX_CHARACTERS} digits of it"
        )
