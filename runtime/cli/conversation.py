"""A conversation held in a terminal: lines become what is sent, notices become what is shown.

Knows the terminal, the visit and the log; what lines and notices mean is decided in `runtime.people.chat`.
Invariant: it ends with the session at rest, or closed, and says how to go on."""

from __future__ import annotations

import secrets
from contextlib import closing
from typing import TYPE_CHECKING

from runtime.cli.terminal import Terminal
from runtime.errors import DONE, EXPECTED, FAILED, NotFound, Unavailable, UsageError
from runtime.fork import fork
from runtime.hosting.orders import SessionOrder
from runtime.people.approvals import whoami
from runtime.people.chat import Chat, Do, Intent, Judge, Settle, Speak, Tip, Undo, clean, going_on, said_in, undo_of
from runtime.people.letters import NobodyThere
from runtime.settings import Settings, log_url
from runtime.why import why
from telemetry.events.values import EventId, Feedback, Message, TextPart
from telemetry.log import open_log

if TYPE_CHECKING:
    from runtime.people.visit import Visit


def converse(settings: Settings, order: SessionOrder) -> int:
    """Talks until the person or the session ends it; the exit code."""
    from runtime.hosting.cluster import connected  # loads Ray

    with Terminal(history=settings.home.expanduser() / "chat.history") as terminal:
        terminal.say("dim", "Starting…")
        with connected(settings):
            held = Conversation(settings, terminal, order)
            try:
                while held.on():
                    pass
            finally:
                held.say_goodbye()
            return held.exit_code


class Conversation:
    """A conversation over its sessions: the first one, and a fork of it for each /undo."""

    def __init__(self, settings: Settings, terminal: Terminal, order: SessionOrder) -> None:
        self._settings = settings
        self._terminal = terminal
        self._order = order
        self._url = log_url(settings)
        self._chat = Chat()
        self._begun = False
        """Whether a session showed anything, so that there is something to go on with."""

    def on(self) -> bool:
        """Talks with one session until it rests or ends; whether there is another to go on with."""
        from runtime.people.visit import Visit

        self._terminal.say("note", f"Session {self._order.session}; /help lists what there is beside talking.")
        self._chat = Chat()
        with Visit(self._settings, self._order) as visit:
            undo = self._until_left(visit)
        if undo is None:
            return False
        self._fork(undo)
        return True

    def _until_left(self, visit: Visit) -> Undo | None:
        chat, terminal, notices = self._chat, self._terminal, visit.notices()
        while True:
            for notice in notices:
                self._begun = True
                for shown in chat.see(notice):
                    terminal.show(shown)
                if chat.turn != "theirs":
                    break
            if chat.turn in ("theirs", "over"):
                return None
            while chat.turn in ("yours", "asked"):
                line = terminal.line(chat.prompt, keep=chat.turn == "yours")
                intent = Do("quit") if line is None else chat.hear(line)
                if intent == Do("quit"):
                    return None
                undo = self._do(visit, intent)
                if undo is not None:
                    return undo

    def _do(self, visit: Visit, intent: Intent) -> Undo | None:
        """Does what was typed; what to go back to where that is an undo. A mistake is said and changes nothing."""
        try:
            match intent:
                case Do("undo"):
                    with closing(open_log(self._url, mode="read")) as log:
                        return undo_of(log, visit.session)
                case Do("why"):
                    with closing(open_log(self._url, mode="read")) as log:
                        for line in why(log, visit.session).lines():
                            self._terminal.say("said", clean(line))
                case Do("session"):
                    self._terminal.say("said", visit.session)
                case Tip(text=text):
                    self._terminal.say("note", text)
                case Speak() | Judge() | Settle():
                    self._send(visit, intent)
        except EXPECTED as error:
            if visit.over:
                raise
            self._terminal.say("note", clean(str(error)))
        return None

    def _send(self, visit: Visit, intent: Speak | Judge | Settle) -> None:
        """Afterwards the session shows how it stands, whatever became of what was sent."""
        try:
            match intent:
                case Speak(text=text):
                    parts = (TextPart(text=text),) if text else ()
                    visit.tell(Message(role="user", parts=parts, id=secrets.token_hex(8)))
                case Judge():
                    visit.tell(Feedback(rating=intent.rating, text=intent.text, about=self._about(intent)))
                    self._terminal.say("dim", "Noted.")
                case Settle(effect=effect, granted=granted, why=reason):
                    visit.decide(effect, granted=granted, by=whoami(), why=reason)
        except NobodyThere:
            pass  # the host is being restarted
        except NotFound as error:  # it was answered elsewhere, or the session rests
            self._terminal.say("note", clean(str(error)))
        except UsageError as error:
            if not isinstance(intent, Settle):
                raise  # it was not sent
            self._terminal.say("note", clean(str(error)))
        self._chat.sent()

    def _about(self, judged: Judge) -> EventId | None:
        with closing(open_log(self._url, mode="read")) as log:
            return said_in(log, self._order.session, judged.effect)

    def _fork(self, undo: Undo) -> None:
        """The next session, from before the last message."""
        with closing(open_log(self._url)) as log:
            session = fork(log, self._order.session, at=undo.at)
        say = self._terminal.say
        say("note", f"Session {self._order.session} rests as it is. This goes on from before: {clean(undo.message)}")
        for effect in undo.stays:
            say("note", f"Not undone: {clean(effect)}")
        self._order = SessionOrder(session=session, attended=True)

    def say_goodbye(self) -> None:
        """How to go on."""
        session, ended, say = self._order.session, self._chat.ended, self._terminal.say
        if ended is not None and ended.status == "closed":
            say("note", f"Session {session} is closed: {clean(ended.reason)}")
        elif self._begun:
            if ended is not None and ended.status == "open":
                say("note", f"It was cut off: {clean(ended.reason)}")
            if self._chat.turn == "asked":
                say("note", f"It waits for leave: aether session approve {session} {self._chat.effect[:12]}")
            say("note", f"Go on with: {going_on(session)}")

    @property
    def exit_code(self) -> int:
        ended = self._chat.ended
        if ended is not None and ended.status == "closed":
            return FAILED if ended.reason.startswith("failed") else DONE
        if ended is not None and ended.status == "open":
            return Unavailable.exit_code
        return DONE if self._chat.problem is None else Unavailable.exit_code
