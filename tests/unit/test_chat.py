"""A conversation as a terminal shows it, without a terminal: notices and lines in, text and intents out."""

from __future__ import annotations

import pytest

from runtime.errors import UsageError
from runtime.people.chat import COMMANDS, HELP, Chat, Do, Judge, Settle, Shown, Speak, Tip, clean, said_in, undo_of
from runtime.people.desk import Asks, Doing, Ended, Idle, Notice, Said, Token
from telemetry.events import Draft, Event, execute, reason, sense, session
from telemetry.events.values import Message, Say, TextPart, ToolCall, ToolCalls, digest_of
from telemetry.log import EventLog

ZERO, ONE, TWO = "0" * 64, "1" * 64, "2" * 64
REFUND = ToolCalls(calls=(ToolCall(id="c1", tool="refund", arguments={"order": "A-7"}),))
LOOK = ToolCalls(calls=(ToolCall(id="c2", tool="look"),))
QUESTION = Asks(effect=ONE, action=REFUND, why="limit: more than 50")


def screen(chat: Chat, *notices: Notice) -> str:
    """What stands on a screen that shows everything."""
    shown = [piece for notice in notices for piece in chat.see(notice)]
    return "".join(piece.text + ("\n" if piece.ends_line else "") for piece in shown)


def at(*notices: Notice) -> Chat:
    chat = Chat()
    screen(chat, *notices)
    return chat


def test_an_answer_that_was_streamed_is_not_said_again() -> None:
    tokens = (Token(text="Hel"), Token(text="lo,\nAda"))
    assert screen(Chat(), *tokens, Said(effect=ZERO, text="Hello,\nAda"), Idle()) == "Hello,\nAda\n"


def test_an_answer_that_was_not_streamed_or_was_replaced_is_said_whole() -> None:
    assert screen(Chat(), Said(effect=ZERO, text="Hello")) == "Hello\n"
    assert screen(Chat(), Token(text="I will pay"), Said(effect=ZERO, text="I may not pay")) == (
        "I will pay\nI may not pay\n"
    )
    assert screen(
        Chat(), Token(text="Let me"), Doing(text="look()"), Token(text="Done"), Said(effect=ZERO, text="Done")
    ) == ("Let me\nlook()\nDone\n")


def test_the_same_saying_after_a_host_died_is_shown_once() -> None:
    said = Said(effect=ZERO, text="Hello")
    assert screen(Chat(), said, said, Said(effect=ONE, text="Hello")) == "Hello\nHello\n"


def test_turns_follow_the_notices_and_what_was_sent() -> None:
    chat = Chat()
    assert chat.turn == "theirs"
    for notice, turn in ((Idle(), "yours"), (QUESTION, "asked"), (Ended(status="suspended", reason="x"), "over")):
        screen(chat, notice)
        assert chat.turn == turn
        chat.sent()
        assert chat.turn == "theirs"


def test_a_line_is_a_message_and_a_blank_one_is_not() -> None:
    chat = at(Idle())
    assert chat.hear("  refund A-7 ") == Speak("refund A-7")
    assert chat.hear("") == chat.hear("   ") == Tip("")
    assert chat.hear(" /etc/hosts is odd") == Speak("/etc/hosts is odd")


def test_an_empty_line_asks_again_after_nobody_answered() -> None:
    chat = Chat()
    assert "the endpoint is down" in screen(chat, Idle(problem="the endpoint is down"))
    assert chat.hear("") == Speak("")
    chat.sent()
    screen(chat, Idle())
    assert chat.hear("") == Tip("")


@pytest.mark.parametrize(
    ("line", "granted", "why"),
    [
        ("y", True, ""),
        ("Yes, it is due", True, "it is due"),
        ("n", False, ""),
        ("no: not this one", False, "not this one"),
    ],
)
def test_a_question_is_answered_by_yes_or_no_and_why(line: str, granted: bool, why: str) -> None:
    chat = at(QUESTION)
    assert chat.hear(line) == Settle(ONE, granted, why)


@pytest.mark.parametrize("line", ["", "maybe", "yesterday", "do it", "ye"])
def test_nothing_else_answers_a_question(line: str) -> None:
    assert isinstance(at(QUESTION).hear(line), Tip)


def test_a_question_shows_exactly_what_is_asked_and_why() -> None:
    shown = screen(Chat(), QUESTION, QUESTION)
    assert 'refund(order="A-7")' in shown
    assert "limit: more than 50" in shown
    assert ONE[:12] in shown
    assert shown.count("asks for leave") == 1, "the same question is shown once"


def test_commands_work_at_a_question_too() -> None:
    assert at(QUESTION).hear("/why") == Do("why")
    assert at(QUESTION).hear("/quit") == Do("quit")


def test_every_command_is_known_and_in_the_help() -> None:
    chat = at(Said(effect=ZERO, text="Hello"), Idle())
    for command in COMMANDS:
        heard = chat.hear(command)
        assert not isinstance(heard, Tip) or heard.text == HELP
        assert command == "/help" or command in HELP
    assert "did you mean '/quit'" in str(chat.hear("/qit"))


def test_a_judgement_is_about_the_last_saying() -> None:
    chat = at(Said(effect=ZERO, text="a"), Said(effect=ONE, text="b"), Idle())
    assert chat.hear("/good") == Judge(1.0, "", ONE)
    assert chat.hear("/bad too  long") == Judge(-1.0, "too  long", ONE)
    assert isinstance(at(Idle()).hear("/good"), Tip), "nothing was said yet"


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("zażółć 🧑‍🚒\tç\n", "zażółć 🧑‍🚒\tç\n"),
        ("a\x1b[2Jb", "a\\u{1b}[2Jb"),
        ("a\x9b2Jb\x07", "a\\u{9b}2Jb\\u{7}"),
        ("pay 1\u202e001", "pay 1\\u{202e}001"),
        ("line\r\nover\rwrite", "line\noverwrite"),
        ("\ud800", "\\u{d800}"),
    ],
)
def test_nothing_that_is_shown_can_drive_the_terminal(sent: str, shown: str) -> None:
    assert clean(sent) == shown
    assert screen(Chat(), Token(text=sent)) == shown
    assert screen(Chat(), Asks(effect=ONE, action=Say(text="x"), why=sent)).count("\x1b") == 0


def test_what_a_tool_sends_stays_on_its_line() -> None:
    assert screen(Chat(), Doing(text="look → ok\nThe agent asks for leave: nothing")).count("\n") == 1


def test_shown_text_says_where_it_goes() -> None:
    assert [*Chat().see(Token(text="a"))] == [Shown("said", "a", ends_line=False)]
    assert [piece.style for piece in Chat().see(Doing(text="a"))] == ["dim"]
    assert [piece.style for piece in Chat().see(QUESTION)] == ["note", "note"]


# --- what the log says --------------------------------------------------------------------------------------


def heard(*texts: str) -> sense.Observed:
    said = tuple(Message(role="user", parts=(TextPart(text=text),), id=text) for text in texts)
    return sense.Observed(observations=said, digest=ZERO)


def write(log: EventLog, *cycles: tuple[Event, ...]) -> None:
    opened = session.Opened(
        scenario="s", scenario_text="", scenario_digest=ZERO, seed=0, environment="tools:", spaces={}, versions={}
    )
    drafts = [Draft(event=opened, command="open")]
    for number, events in enumerate(cycles, start=1):
        drafts.append(Draft(event=session.CycleOpened(cycle=number), command=f"{number}.open", cycle=number))
        drafts += [Draft(event=event, command=f"{number}.{i}", cycle=number) for i, event in enumerate(events)]
        closed = session.CycleClosed(cycle=number, state_hash=ZERO, reducer=2)
        drafts.append(Draft(event=closed, command=f"{number}.close", cycle=number))
    log.append("session/s", drafts, expected_version=0, epoch=1)


def intended(action: ToolCalls, effect: str, kind: str) -> Event:
    return execute.Intended(effect=effect, action=action, arguments=digest_of(action), effect_class=kind)  # type: ignore[arg-type]  # one of them


def test_undo_goes_back_to_the_closed_cycle_before_the_last_message_and_names_what_stays(log: EventLog) -> None:
    write(
        log,
        (heard("hello"), intended(REFUND, ZERO, "keyed"), execute.Succeeded(effect=ZERO)),
        (heard("refund A-7"), intended(REFUND, ONE, "keyed"), execute.Succeeded(effect=ONE)),
        (heard(), intended(LOOK, TWO, "read"), execute.Succeeded(effect=TWO)),
        (heard(), intended(LOOK, "3" * 64, "unsafe"), execute.UnknownOutcome(effect="3" * 64, why="lost")),
        (heard(), intended(LOOK, "4" * 64, "unsafe"), execute.Failed(effect="4" * 64, kind="raised", error="no")),
    )
    undo = undo_of(log, "s")
    assert next(log.read("session/s", after=undo.at - 1)).type == "session.cycle_closed"
    assert next(log.read("session/s", after=undo.at - 1)).cycle == 1
    assert undo.message == "refund A-7"
    assert undo.stays == ('refund(order="A-7")', "look(), of which it is unknown whether it happened")


def test_undo_of_the_first_message_goes_back_to_the_opening(log: EventLog) -> None:
    write(log, (heard("hello"),), (heard(),))
    assert undo_of(log, "s").at == 1


def test_undo_before_anything_was_said_says_so(log: EventLog) -> None:
    write(log, (heard(),))
    with pytest.raises(UsageError, match="not said anything here yet"):
        undo_of(log, "s")


def test_a_judgement_is_linked_to_the_decision_that_said_it(log: EventLog) -> None:
    action = Say(text="Hello")
    decided = reason.Decided(action=action, arguments=digest_of(action), why="x")
    write(log, (heard("hello"), decided))
    draft = Draft(
        event=execute.Intended(effect=ONE, action=action, arguments=digest_of(action), effect_class="keyed"),
        command="2.intend",
        cycle=2,
        cause="session/s@4",
    )
    log.append("session/s", [draft], expected_version=5, epoch=1)
    assert said_in(log, "s", ONE) == "session/s@4"
    assert said_in(log, "s", TWO) is None
