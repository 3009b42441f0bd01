"""The lines that cross between a live host and other processes, and where they cross.

Knows words, paths and their bounds; opens no socket. Invariant: the addresses follow from the log alone, so that
whoever can name it finds its hosts on this machine: the one of a file by its path, each of a shared log by its id."""

from __future__ import annotations

import hashlib
import os
import stat
from contextlib import closing
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from runtime.errors import (
    Backpressure,
    NotFound,
    Refused,
    RuntimeFailure,
    Unavailable,
    UsageError,
    VerificationFailed,
    exit_code_of,
)
from runtime.people.desk import Notice
from telemetry.errors import LogNotFound
from telemetry.events.learn import Entry
from telemetry.events.values import EventId, Feedback, Message, Playbook
from telemetry.log import EventLog, is_postgres, open_log, sqlite_path

ROOT = Path("/tmp")
"""Not TMPDIR: a host on a cluster has the cluster's, its callers have theirs. Short, as a path of a socket holds at
most 104 characters (macOS)."""
MAX_COMMAND_BYTES = 1024 * 1024
"""A command is what a person typed; a page of text is 4 KiB."""
MAX_ANSWER_BYTES = 64 * 1024 * 1024
"""A notice holds at most what one event holds, 16 MiB; escapes in JSON can lengthen it."""
COMMAND_TIMEOUT_S = 10.0
"""Within this a caller that connected has said what it wants."""


class NobodyThere(Unavailable):
    """No live host answers for this log, or it went away before it answered."""


class _Closed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Tell(_Closed):
    command: Literal["tell"] = "tell"
    session: str
    said: Annotated[Message | Feedback, Field(discriminator="kind")]


class Decide(_Closed):
    command: Literal["decide"] = "decide"
    session: str
    effect: str
    granted: bool
    by: str
    why: str


class Reconcile(_Closed):
    command: Literal["reconcile"] = "reconcile"
    session: str
    effect: str
    happened: bool
    by: str
    why: str
    result: str | None = None
    """The JSON that the call answered, as text."""


class Fork(_Closed):
    command: Literal["fork"] = "fork"
    session: str
    at: int
    new: str
    """Id of the session that begins there; the caller's, so that the same fork can be asked for again."""


class LayDown(_Closed):
    command: Literal["lay_down"] = "lay_down"
    playbook: Playbook
    why: str


class Enter(_Closed):
    """What a log is to say of a model or a dataset."""

    command: Literal["enter"] = "enter"
    entry: Entry
    refs: tuple[EventId, ...]
    run: str
    """The training's, judgement's or building's own name, so that it is entered once however often it is said."""


class Watch(_Closed):
    command: Literal["watch"] = "watch"
    session: str


class Rest(_Closed):
    command: Literal["rest"] = "rest"
    session: str


class Holds(_Closed):
    """Whether the session is live at this one of several hosts."""

    command: Literal["holds"] = "holds"
    session: str


Written = Tell | Decide | Reconcile | Fork | LayDown | Enter
"""What is answered with the event that came of it."""
Command = Annotated[Written | Watch | Rest | Holds, Field(discriminator="command")]
COMMAND: TypeAdapter[Command] = TypeAdapter(Command)


class Error(_Closed):
    type: str
    message: str
    exit_code: int

    @classmethod
    def of(cls, error: Exception) -> Error:
        return cls(type=type(error).__name__, message=str(error), exit_code=exit_code_of(error))

    def again(self) -> RuntimeFailure:
        """As an error of ours: of its own type, or of the one with its exit code."""
        return _KINDS.get(self.type, _BY_CODE.get(self.exit_code, RuntimeFailure))(self.message)


_KINDS: dict[str, type[RuntimeFailure]] = {
    kind.__name__: kind
    for kind in (RuntimeFailure, UsageError, NotFound, VerificationFailed, Refused, Unavailable, Backpressure)
}
_BY_CODE = {kind.exit_code: kind for kind in reversed(_KINDS.values())}


class Answer(_Closed):
    """`ok`, with the event where there is one, or `error`. A watch is answered when it begins, and where it goes
    wrong later."""

    ok: EventId | None = None
    error: Error | None = None


SEEN: TypeAdapter[Notice | Answer] = TypeAdapter(Notice | Answer)


def address_of(log_url: str) -> Path:
    """Where the one host of a log in a file listens, however its path is spelt."""
    log = str(sqlite_path(log_url).resolve())
    return _folder() / f"{_digest(log)}.sock"


def host_address(log: EventLog) -> Path:
    """Where this process listens as a host of the open `log`."""
    if is_postgres(log.url):
        return _folder() / f"{_digest(log.id)}-{os.getpid()}.sock"
    return address_of(log.url)


def host_addresses(log_url: str) -> list[Path]:
    """Where hosts of the log may listen on this machine. Raises what opening a shared log for reading does, unless it
    is not there."""
    if not is_postgres(log_url):
        return [address_of(log_url)]
    try:
        with closing(open_log(log_url, mode="read")) as log:
            return sorted(_folder().glob(f"{_digest(log.id)}-*.sock"))
    except LogNotFound:
        return []


def _folder() -> Path:
    return ROOT / f"aether-{os.getuid()}"


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:16]


def check_folder(folder: Path) -> None:
    """Raises FileNotFoundError where there is none, `Unavailable` where others could have a hand in it."""
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) != 0o700:
        raise Unavailable(
            f"{folder} is not a folder of yours that is closed to others (mode 0700), so nothing is said through it. "
            "Look at what it is, remove it, and try again"
        )
