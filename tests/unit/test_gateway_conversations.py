"""Which conversation goes on, and which is let go."""

from __future__ import annotations

from runtime.gateway.conversations import MAX_CONVERSATIONS, Conversation, Conversations
from runtime.gateway.observed import ObservedSession
from telemetry.log import EventLog

A, B, C = b"a", b"b", b"c"


def kept(log: EventLog, known: Conversations, name: str, *ends: bytes) -> Conversation:
    session = ObservedSession(f"session/{name}", log=log, upstream="http://127.0.0.1/v1", host="127.0.0.1")
    conversation = Conversation(name, session, named=False)
    known.add(conversation)
    known.wait_at(conversation, ends)
    return conversation


def test_the_longest_prefix_decides_and_nobody_else_finds_it_meanwhile(log: EventLog) -> None:
    known = Conversations()
    short, long = kept(log, known, "short", A), kept(log, known, "long", B)
    assert known.going_on([A, B, C]) is long
    assert known.going_on([A, B, C]) is short
    assert known.going_on([A, B, C]) is None


def test_of_equal_conversations_each_is_found_once_the_one_that_waits_longest_first(log: EventLog) -> None:
    known = Conversations()
    both = [kept(log, known, name, A) for name in ("one", "two")]
    assert [known.going_on([A]), known.going_on([A]), known.going_on([A])] == [*both, None]


def test_a_conversation_waits_behind_each_of_its_answers_and_goes_on_behind_one(log: EventLog) -> None:
    known = Conversations()
    forked = kept(log, known, "forked", A, B)
    assert known.going_on([B]) is forked
    assert known.going_on([A]) is None


def test_what_is_named_is_found_by_its_name_only(log: EventLog) -> None:
    known = Conversations()
    named = kept(log, known, "named", A)
    assert known.named("named") is named
    known.wait_at(named, (A,))
    assert known.going_on([A]) is None


def test_the_idle_conversation_that_was_not_heard_of_longest_goes_first(log: EventLog) -> None:
    known = Conversations()
    first = kept(log, known, "first", A)
    second = kept(log, known, "second", B)
    busy = kept(log, known, "busy", C)
    for number in range(MAX_CONVERSATIONS - 3):
        kept(log, known, f"more-{number}")
    busy.under_way = first.under_way = 1
    session = ObservedSession("session/last", log=log, upstream="http://127.0.0.1/v1", host="127.0.0.1")
    assert known.add(Conversation("last", session, named=False)) is second
    assert known.going_on([B]) is None
    assert known.going_on([A]) is first
    assert len(known) == MAX_CONVERSATIONS
