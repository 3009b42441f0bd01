"""The mailbox over a real socket: what crosses, what is refused, and what happens when a side goes away."""

from __future__ import annotations

import os
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.errors import Backpressure, NotFound, Refused, RuntimeFailure, Unavailable, UsageError
from runtime.people import letters, serving
from runtime.people.desk import Asks, Ended, Idle, Notice, Said, Token
from runtime.people.letters import MAX_COMMAND_BYTES, NobodyThere, address_of
from runtime.people.mailbox import Mailbox
from telemetry.errors import LogUnwritable
from telemetry.events.learn import DatasetBuilt
from telemetry.events.values import Feedback, Message, Say, TextPart
from tests.aether import wait_until
from tests.desks import SESSION, PlayedDesk, Served, served

ZERO = "0" * 64
PATIENCE_S = 60.0


@pytest.fixture(autouse=True)
def _own_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sockets lie in a folder of the test's own."""
    monkeypatch.setattr(letters, "ROOT", tmp_path_factory.mktemp("m"))


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Served]:
    with served(PlayedDesk(), tmp_path / "log.db") as up:
        yield up


@pytest.fixture
def mailbox(tmp_path: Path) -> Mailbox:
    return Mailbox(str(tmp_path / "log.db"))


def message(text: str, name: str = "m1") -> Message:
    return Message(role="user", parts=(TextPart(text=text),), id=name)


def test_what_is_told_arrives_as_it_was_said_and_its_event_comes_back(desk: Served, mailbox: Mailbox) -> None:
    feedback = Feedback(rating=-1, text="änderbar 🙂", about=f"session/{SESSION}@7")
    assert mailbox.tell(SESSION, message("line one\nline two")) == f"session/{SESSION}@1"
    assert mailbox.tell(SESSION, feedback) == f"session/{SESSION}@2"
    assert desk.desk.heard == [message("line one\nline two"), feedback]


def test_a_decision_arrives_with_who_made_it_and_why(desk: Served, mailbox: Mailbox) -> None:
    assert mailbox.decide(SESSION, "abcdef", granted=False, by="ann", why="too much") == f"session/{SESSION}@99"
    assert desk.desk.decisions == [("abcdef", False, "ann", "too much")]


def test_a_dataset_that_was_built_is_entered_by_the_host_on_the_datasets_own_stream(
    desk: Served, mailbox: Mailbox
) -> None:
    built = DatasetBuilt(recipe="talks@0123456789ab", pinned_position=7, rows=3, digest=ZERO)
    assert mailbox.enter(built, refs=(), run="once") == "dataset/talks@1"


def test_what_is_watched_comes_in_order_until_the_session_ends(desk: Served, mailbox: Mailbox) -> None:
    shown: list[Notice] = [
        Asks(effect=ZERO, action=Say(text="hello"), why="a rule"),
        Token(text="he"),
        Said(effect=ZERO, text="hello"),
        Idle(problem="the endpoint is down"),
        Ended(status="suspended", reason="asked to stop"),
    ]
    desk.desk.first = shown[:1]
    with mailbox.watch(SESSION) as watching:
        first = next(watching)
        desk.show(*shown[1:])
        assert [first, *watching] == shown
        assert list(watching) == [], "nothing comes after the end"


def test_watching_ends_where_another_thread_closes_it(desk: Served, mailbox: Mailbox) -> None:
    watching = mailbox.watch(SESSION)
    seen: list[list[Notice]] = []
    waiting = threading.Thread(target=lambda: seen.append(list(watching)))
    waiting.start()
    wait_until(lambda: desk.desk.watchers == 1, timeout_s=PATIENCE_S, what="somebody watches")
    watching.close()
    waiting.join(PATIENCE_S)
    assert seen == [[]]
    wait_until(lambda: desk.desk.watchers == 0, timeout_s=PATIENCE_S, what="the host lets go of who left")


def test_a_host_that_goes_away_is_told_from_a_session_that_ended(tmp_path: Path, mailbox: Mailbox) -> None:
    with served(PlayedDesk(first=[Idle()]), tmp_path / "log.db"):
        watching = mailbox.watch(SESSION)
        assert next(watching) == Idle()
    with pytest.raises(NobodyThere):
        next(watching)


def test_resting_returns_when_the_session_rests(desk: Served, mailbox: Mailbox) -> None:
    mailbox.rest(SESSION)
    assert desk.desk.rested


@pytest.mark.parametrize("error", [UsageError("a"), NotFound("b"), Backpressure("c"), Refused("d"), Unavailable("e")])
def test_what_the_host_raises_is_raised_again_as_itself(desk: Served, mailbox: Mailbox, error: RuntimeFailure) -> None:
    desk.desk.raises = error
    with pytest.raises(type(error), match=f"^{error}$") as raised:
        mailbox.tell(SESSION, message("hello"))
    assert type(raised.value) is type(error)
    with pytest.raises(type(error)):
        next(mailbox.watch(SESSION))


def test_an_error_of_a_lower_room_keeps_its_exit_code(desk: Served, mailbox: Mailbox) -> None:
    desk.desk.raises = LogUnwritable("the disk is full")
    with pytest.raises(Unavailable, match="the disk is full"):
        mailbox.tell(SESSION, message("hello"))


def test_a_mistake_of_ours_is_answered_too_and_the_host_lives_on(desk: Served, mailbox: Mailbox) -> None:
    desk.desk.raises = ZeroDivisionError("never meant to happen")
    with pytest.raises(RuntimeFailure, match="never meant to happen"):
        mailbox.tell(SESSION, message("hello"))
    desk.desk.raises = None
    assert mailbox.tell(SESSION, message("hello")) == f"session/{SESSION}@1"


def test_nobody_there_is_said_before_during_and_after_a_host(tmp_path: Path, mailbox: Mailbox) -> None:
    with pytest.raises(NobodyThere):
        mailbox.tell(SESSION, message("no folder yet"))
    with served(PlayedDesk(), tmp_path / "log.db") as up:
        path = up.path
    assert not path.exists(), "a host that ends takes its socket with it"
    with pytest.raises(NobodyThere):
        mailbox.tell(SESSION, message("no socket"))


def test_the_socket_of_a_dead_host_is_replaced(tmp_path: Path, mailbox: Mailbox) -> None:
    with served(PlayedDesk(), tmp_path / "other.db"):
        path = address_of(str(tmp_path / "log.db"))
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(path))
    assert path.exists()
    with pytest.raises(NobodyThere):
        mailbox.tell(SESSION, message("nobody listens on it"))
    with served(PlayedDesk(), tmp_path / "log.db"):
        assert mailbox.tell(SESSION, message("hello")) == f"session/{SESSION}@1"


def test_one_log_has_one_short_address_however_it_is_spelt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(letters, "ROOT", Path("/tmp"))
    deep = tmp_path / ("deep" * 40) / "log.db"
    (tmp_path / "link").symlink_to(deep.parent)
    monkeypatch.chdir(tmp_path)
    ways = {str(deep), f"sqlite:///{deep}", os.path.relpath(deep), str(tmp_path / "link" / "log.db")}
    (address,) = {address_of(way) for way in ways}
    assert len(str(address)) < 60
    assert address != address_of(str(tmp_path / "log.db"))


def test_folder_and_socket_are_closed_to_others(desk: Served) -> None:
    assert stat.S_IMODE(desk.path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(desk.path.stat().st_mode) == 0o600


@pytest.mark.parametrize("make", ["open", "link"])
def test_a_folder_that_others_could_have_made_is_refused_by_both_sides(
    tmp_path: Path, mailbox: Mailbox, make: str
) -> None:
    folder = address_of(str(tmp_path / "log.db")).parent
    if make == "open":
        folder.mkdir()
        folder.chmod(0o755)
    else:
        folder.symlink_to(tmp_path)
    with pytest.raises(Unavailable, match="not a folder of yours"), served(PlayedDesk(), tmp_path / "log.db"):
        pass
    with pytest.raises(Unavailable, match="not a folder of yours") as raised:
        mailbox.tell(SESSION, message("hello"))
    assert not isinstance(raised.value, NobodyThere), "a caller must not take this for an empty house"


def test_a_message_above_the_bound_is_refused_before_it_is_sent(desk: Served, mailbox: Mailbox) -> None:
    with pytest.raises(UsageError, match="nothing was sent"):
        mailbox.tell(SESSION, message("x" * MAX_COMMAND_BYTES))
    assert mailbox.tell(SESSION, message("x" * (MAX_COMMAND_BYTES // 2))) == f"session/{SESSION}@1"


@pytest.mark.parametrize(
    "line",
    [
        b"GET / HTTP/1.1\r\n",
        b"{}\n",
        b'{"command": "grant_everything"}\n',
        b'{"command": "rest", "session": "0123456789ab", "more": 1}\n',
        b"\xff\xfe\n",
        b"[" * 100_000 + b"\n",
        b"x" * (MAX_COMMAND_BYTES + 1),
    ],
)
def test_what_is_no_command_is_answered_with_usage(desk: Served, line: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as caller:
        caller.settimeout(PATIENCE_S)
        caller.connect(str(desk.path))
        caller.sendall(line)
        answer = caller.makefile("rb").readline()
    assert b'"UsageError"' in answer
    assert b'"exit_code":2' in answer


def test_a_caller_that_leaves_mid_word_leaves_the_others_be(desk: Served, mailbox: Mailbox) -> None:
    for said in (b"", b'{"command": "re'):
        with socket.socket(socket.AF_UNIX) as caller:
            caller.connect(str(desk.path))
            caller.sendall(said)
    assert mailbox.tell(SESSION, message("hello")) == f"session/{SESSION}@1"


def test_more_callers_than_the_bound_are_told_to_try_again(
    desk: Served, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "COMMAND_TIMEOUT_S", PATIENCE_S)  # none of the first has left when the last one comes
    idle: list[socket.socket] = []
    try:
        for _ in range(256):
            idle.append(socket.socket(socket.AF_UNIX))
            idle[-1].connect(str(desk.path))
        with pytest.raises(Backpressure):
            mailbox.tell(SESSION, message("one too many"))
    finally:
        for one in idle:
            one.close()

    def heard() -> bool:
        try:
            return mailbox.tell(SESSION, message("hello")) == f"session/{SESSION}@1"
        except Backpressure:
            return False

    wait_until(heard, timeout_s=PATIENCE_S, what="there is room again")
