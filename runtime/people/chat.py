"""A conversation with a live session, as a terminal shows it: what each notice shows, what each typed line means.

Knows words and turns; reads no terminal, opens no socket. Invariant: nothing the agent said is shown twice, and
nothing that it or its tools send can move the cursor or hide text."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from runtime.errors import UsageError
from runtime.explain import nearest
from runtime.fork import cut_before
from runtime.people.desk import Asks, Doing, Ended, Idle, Notice, Said, Token
from runtime.sessions import PREFIX, stream_of
from runtime.why import shortened, told
from telemetry.events import execute, sense
from telemetry.events.values import Digest, EventId, Message, ToolCalls
from telemetry.log import EventLog

Style = Literal["said", "dim", "note"]

HELP = """\
/why        what the last decision rests on
/undo       go on in a fork from before your last message
/good       the last answer was good
/bad TEXT   the last answer was bad, and why
/session    the session's id
/quit       the session rests (as Ctrl-D)
A line that begins with a space is a message, whatever comes after it."""
COMMANDS = ("/why", "/undo", "/good", "/bad", "/session", "/help", "/quit")

YES, NO = ("y", "yes"), ("n", "no")


@dataclass(frozen=True, slots=True)
class Shown:
    """Text for the screen. `said` is what the agent says; without `ends_line` more of it comes."""

    style: Style
    text: str
    ends_line: bool = True


@dataclass(frozen=True, slots=True)
class Speak:
    """A message; an empty one asks again after nobody answered."""

    text: str


@dataclass(frozen=True, slots=True)
class Judge:
    """Feedback about what was said under `effect`."""

    rating: float
    text: str
    effect: Digest


@dataclass(frozen=True, slots=True)
class Settle:
    """The answer to the question for leave."""

    effect: Digest
    granted: bool
    why: str


@dataclass(frozen=True, slots=True)
class Do:
    what: Literal["why", "undo", "quit", "session"]


@dataclass(frozen=True, slots=True)
class Tip:
    """The line meant nothing that can be sent; this says what would."""

    text: str


Intent = Speak | Judge | Settle | Do | Tip


class Chat:
    """Whose turn it is: `theirs` while the agent works, `yours`, `asked` for leave, `over`."""

    def __init__(self) -> None:
        self.turn: Literal["theirs", "yours", "asked", "over"] = "theirs"
        self.problem: str | None = None
        """Why the agent could not answer last."""
        self.ended: Ended | None = None
        self._streamed = ""
        self._said: Said | None = None
        self._asks: Asks | None = None

    def see(self, notice: Notice) -> Iterator[Shown]:
        """What to show of `notice`."""
        if isinstance(notice, Token):
            self._streamed += notice.text
            yield Shown("said", clean(notice.text), ends_line=False)
            return
        streamed, self._streamed = self._streamed, ""
        if streamed and not streamed.endswith("\n"):
            yield Shown("said", "")
        match notice:
            case Said():
                known = self._said is not None and notice.effect == self._said.effect
                if not known and notice.text.strip() != streamed.strip():
                    yield Shown("said", clean(notice.text))
                self._said = notice
            case Doing():
                yield Shown("dim", clean(" ".join(notice.text.split())))
            case Asks():
                if notice != self._asks:
                    yield from _question(notice)
                self.turn, self._asks = "asked", notice
            case Idle():
                if notice.problem is not None:
                    yield Shown("note", f"No answer: {clean(notice.problem)}. An empty line asks again.")
                self.turn, self.problem = "yours", notice.problem
            case Ended():
                self.turn, self.ended = "over", notice

    @property
    def effect(self) -> Digest:
        """What leave is asked for; to be used while `asked`."""
        assert self._asks is not None, "asked means that there is a question"
        return self._asks.effect

    @property
    def prompt(self) -> str:
        return "allow? y/n › " if self.turn == "asked" else "› "

    def hear(self, line: str) -> Intent:
        """What a typed line means now."""
        if line.startswith("/"):
            return self._command(line)
        text = line.strip()
        if self.turn == "asked":
            return self._answer(text)
        if not text and self.problem is None:
            return Tip("")
        return Speak(text)

    def sent(self) -> None:
        """What was typed reached the agent: it is its turn."""
        self.turn, self.problem, self._asks = "theirs", None, None

    def _command(self, line: str) -> Intent:
        word, _, rest = line.partition(" ")
        match word:
            case "/why" | "/undo" | "/quit" | "/session":
                return Do(word.removeprefix("/"))  # type: ignore[arg-type]  # one of its words
            case "/help":
                return Tip(HELP)
            case "/good" | "/bad":
                return self._judgement(word, rest.strip())
        return Tip(f"There is no {word}{nearest(word, COMMANDS)}")

    def _judgement(self, word: str, text: str) -> Intent:
        if self._said is None:
            return Tip("There is nothing to judge yet: the agent has not said anything here.")
        if self.turn == "asked":
            return Tip("Answer the question first: y or n, and why if you like.")
        return Judge(1.0 if word == "/good" else -1.0, text, self._said.effect)

    def _answer(self, text: str) -> Intent:
        word, _, why = text.partition(" ")
        answer = word.lower().rstrip(",.:;")
        if answer in YES or answer in NO:
            return Settle(self.effect, granted=answer in YES, why=why.strip())
        return Tip("Answer y or n, and why if you like: y it is due")


def _question(asks: Asks) -> Iterator[Shown]:
    yield Shown("note", f"The agent asks for leave: {clean(told(asks.action))}")
    yield Shown("note", f"because {clean(asks.why)} (effect {asks.effect[:12]})")


def clean(text: str) -> str:
    """`text` without what a terminal would obey: control characters, and marks that turn the direction of writing.
    They are shown as their code points; carriage returns are left out."""
    return "".join(character if _is_harmless(character) else _escaped(character) for character in text)


def _is_harmless(character: str) -> bool:
    return character in "\n\t" or unicodedata.category(character) not in ("Cc", "Cf", "Cs") or character in JOINERS


def _escaped(character: str) -> str:
    return "" if character == "\r" else f"\\u{{{ord(character):x}}}"


JOINERS = "\u200c\u200d"
"""They stand inside words and emoji, and move nothing."""


# --- what the log says of the conversation ---------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Undo:
    """What going back before the last message means."""

    at: int
    """The version to fork at."""
    message: str
    stays: tuple[str, ...]
    """What tools did since, or may have done; it is not undone by a fork."""


def undo_of(log: EventLog, session: str) -> Undo:
    """Raises `UsageError` where nothing was said yet."""
    stream = stream_of(session)
    for recorded in log.read_back(stream, types=("sense.observed",)):
        message = _message(recorded.event) if isinstance(recorded.event, sense.Observed) else ""
        if message:
            at = cut_before(log, session, recorded.version)
            return Undo(at, shortened(message), tuple(_stays(log, stream, at)))
    raise UsageError("you have not said anything here yet, so there is nothing to undo")


def _message(observed: sense.Observed) -> str:
    return " ".join(o.text for o in observed.observations if isinstance(o, Message) and o.role == "user")


def _stays(log: EventLog, stream: str, after: int) -> Iterator[str]:
    done: dict[Digest, str] = {}
    for recorded in log.read(stream, after=after):
        match recorded.event:
            case execute.Intended(action=ToolCalls(), effect_class=kind) as intended if kind not in ("pure", "read"):
                done[intended.effect] = told(intended.action)
            case execute.Failed(effect=effect) | execute.Cancelled(effect=effect):
                done.pop(effect, None)
            case execute.UnknownOutcome(effect=effect) if effect in done:
                done[effect] += ", of which it is unknown whether it happened"
    yield from done.values()


def said_in(log: EventLog, session: str, effect: Digest) -> EventId | None:
    """The decision to say what was said under `effect`."""
    for recorded in log.read_back(stream_of(session), types=("execute.intended",)):
        if isinstance(recorded.event, execute.Intended) and recorded.event.effect == effect:
            return recorded.cause or recorded.id
    return None


def going_on(session: str) -> str:
    """The command that goes on with a conversation."""
    return f"aether chat --session {session.removeprefix(PREFIX)}"
