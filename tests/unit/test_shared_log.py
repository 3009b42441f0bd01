"""Several hosts of one log on one machine: which of them a caller reaches, and what nobody but them may write."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from runtime.errors import NotFound, Unavailable
from runtime.hosting.executors import named, this_process
from runtime.people import letters
from runtime.people.approvals import answer, append_answer
from runtime.people.letters import host_address, host_addresses
from runtime.people.mailbox import Mailbox, NobodyThere
from runtime.sessions import check_rests
from telemetry.events import Draft, session
from telemetry.log import EventLog, open_log
from tests.contract.stores import note
from tests.desks import SESSION, PlayedDesk, served
from tests.local import Local
from tests.postgres import PASSWORD, Server, drop
from tests.unit.test_approvals import ASKS, asked_in


@pytest.fixture(autouse=True)
def _own_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sockets lie in a folder of the test's own."""
    monkeypatch.setattr(letters, "ROOT", tmp_path_factory.mktemp("m"))


@pytest.fixture
def url(server: Server) -> Iterator[str]:
    place = server.schema()
    open_log(place).close()
    yield place
    drop(place)


@pytest.fixture
def log(url: str) -> Iterator[EventLog]:
    store = open_log(url)
    yield store
    store.close()


def addressed(log: EventLog, pid: int) -> Path:
    """Where the host of that process would listen."""
    address = host_address(log)
    return address.with_name(address.name.replace(f"-{os.getpid()}.", f"-{pid}."))


class Elsewhere(PlayedDesk):
    """A desk that has another session."""

    def _check(self, session: str) -> None:
        raise NotFound(f"no conversation {session} is live here")


def test_of_several_hosts_the_one_that_has_the_session_is_spoken_to(url: str, log: EventLog) -> None:
    here, there = PlayedDesk(), Elsewhere()
    with served(there, addressed(log, 1)), served(here, addressed(log, 2)):
        assert len(host_addresses(url)) == 2
        mailbox = Mailbox(url)
        assert mailbox.anybody()
        assert mailbox.decide(SESSION, "abcdef01", granted=True, by="ann", why="") == f"session/{SESSION}@99"
        assert here.decisions == [("abcdef01", True, "ann", "")]
        assert there.decisions == []
        mailbox.rest(SESSION)
        assert here.rested


def test_a_session_that_none_has_goes_to_any_that_lives(url: str, log: EventLog) -> None:
    with served(Elsewhere(), addressed(log, 1)), pytest.raises(NotFound):
        Mailbox(url).rest("nobody's")
    with pytest.raises(NobodyThere) as caught:
        Mailbox(url).rest("nobody's")
    assert PASSWORD not in str(caught.value)
    assert not Mailbox(url).anybody()


def test_hosts_of_another_log_are_not_spoken_to(url: str, log: EventLog, server: Server) -> None:
    other = server.schema()
    with closing(open_log(other)), served(PlayedDesk(), addressed(log, 1)):
        assert host_addresses(other) == []
        assert len(host_addresses(url.replace("127.0.0.1", "localhost"))) == 1, "however it is spelt"
    drop(other)


def test_a_log_that_is_not_there_has_no_hosts(server: Server) -> None:
    place = server.schema()
    assert host_addresses(place) == []
    drop(place)


def test_the_sockets_that_dead_hosts_left_are_swept_up_by_the_next(url: str, log: EventLog) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    with ExitStack() as stack:
        living = stack.enter_context(served(PlayedDesk(), addressed(log, 1)))
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(addressed(log, ended.pid)))
        assert len(host_addresses(url)) == 2
        mine = stack.enter_context(served(PlayedDesk(), host_address(log)))
        assert set(host_addresses(url)) == {living.path, mine.path}


# --- who may append to a session -----------------------------------------------------------------


def waiting(log: EventLog) -> None:
    """The session `s`, which rests and waits for leave."""
    with closing(Local(log)) as local:
        assert local.run("s", ASKS, cycles=1).status == "waiting"


def taken(log: EventLog, owner: str) -> None:
    """`owner` has taken it up since."""
    resumed = session.Resumed(after="suspended", owner=owner, verified_to=1)
    with closing(Local(log)) as local:
        local.append("s", Draft(event=resumed, command="resume.2"))


def test_a_session_that_rests_is_answered_by_whoever_comes(url: str, log: EventLog) -> None:
    waiting(log)
    event = answer(url, "s", asked_in(url).effect, granted=True, by="ann")
    assert [recorded.id for recorded in log.read("session/s")][-1] == event


def test_a_session_in_the_hands_of_a_live_host_is_left_to_it(url: str, log: EventLog) -> None:
    waiting(log)
    effect = asked_in(url).effect
    taken(log, this_process())
    before = log.position()
    with pytest.raises(Unavailable, match="aether session resume s") as caught:
        answer(url, "s", effect, granted=True, by="ann")
    assert this_process() in str(caught.value)
    with pytest.raises(Unavailable, match="does not rest"):
        append_answer(log, "s", effect, granted=True, by="ann", why="")
    assert log.position() == before


def test_a_session_whose_host_is_dead_is_answered_on_its_log(url: str, log: EventLog) -> None:
    waiting(log)
    effect = asked_in(url).effect
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    owner = str(named(process.pid))
    process.kill()
    process.communicate()
    taken(log, owner)
    assert answer(url, "s", effect, granted=False, by="ann", why="no").startswith("session/s@")


def test_who_writes_a_file_is_the_only_one_and_asks_nobody(tmp_path: Path) -> None:
    with closing(open_log(tmp_path / "log.db")) as log:
        waiting(log)
        taken(log, this_process())
        check_rests(log, "session/s")
        log.append("session/other", [note()], expected_version=0, epoch=1)
