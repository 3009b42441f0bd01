"""A PostgreSQL server that is restarted, and connections that are lost, under appends."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, suppress

import pytest

from telemetry.errors import LogUnreachable, LogUnwritable
from telemetry.events import Recorded
from telemetry.log import EventLog, open_log
from tests.contract.stores import fill, note, notes
from tests.postgres import PASSWORD, Server, Stop, owned

WRITERS = 4
BETWEEN = 40
"""Acknowledged appends between two restarts."""


@pytest.fixture(scope="module")
def own() -> Iterator[Server]:
    """A server that may be restarted."""
    with owned() as running:
        yield running


def test_a_server_restarted_under_load_loses_nothing_that_was_acknowledged_and_doubles_nothing(
    own: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("writer", "connect"):  # a busy machine restarts it late
        monkeypatch.setattr(f"telemetry.log.postgres.{module}.PATIENCE_S", 120.0)
    url = own.schema()
    acknowledged: list[Recorded] = []
    counted = threading.Semaphore(0)
    done = threading.Event()

    def write(number: int) -> None:
        with closing(open_log(url)) as log:
            version = 0
            while not done.is_set():
                kept = log.append(f"s{number}", notes(2, command=f"{version}"), expected_version=version, epoch=1)
                version = kept[-1].version
                acknowledged.extend(kept)
                counted.release()

    followed: list[int] = []
    ended = threading.Event()

    def follow() -> None:
        with closing(open_log(url, mode="read")) as log:
            subscription = log.subscribe()
            while not ended.is_set() or subscription.position < log.position():
                followed.extend(event.position for event in subscription.next(timeout_s=0.5).events)

    open_log(url).close()
    following = threading.Thread(target=follow)
    threads = [threading.Thread(target=write, args=(number,)) for number in range(WRITERS)]
    for thread in (following, *threads):
        thread.start()
    ways: tuple[Stop, ...] = ("fast", "immediate", "kill")
    for how in ways:
        for _ in range(BETWEEN):
            assert counted.acquire(timeout=120), "appends go on"
        own.restart(how)
    for _ in range(BETWEEN):
        assert counted.acquire(timeout=120), "appends go on"
    done.set()
    for thread in threads:
        thread.join()
    ended.set()
    following.join()
    with closing(open_log(url, mode="read")) as log:
        assert list(log.read_all()) == sorted(acknowledged, key=lambda event: event.position)
        assert log.verify().ok
        assert followed == list(range(1, log.position() + 1))


class Cutting:
    """Loopback to the server; cuts the first connection that commits after `arm`, before the server heard of the
    COMMIT or when it has answered (`heard`), and that the client never hears."""

    def __init__(self, port: int, *, heard: bool) -> None:
        self._server = port
        self._heard = heard
        self._armed = threading.Event()
        self.cut = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def arm(self) -> None:
        self._armed.set()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._join, args=(client,), daemon=True).start()

    def _join(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self._server)) as server:
            down = threading.Thread(target=self._down, args=(server, client), daemon=True)
            down.start()
            self._up(client, server)
            down.join()  # neither is closed, and its number given to another, while anybody reads it

    def _up(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while said := client.recv(1 << 20):
                if not self._heard and self._cut_here(said):
                    break
                server.sendall(said)
        _hang_up(client, server)

    def _down(self, server: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while said := server.recv(1 << 20):
                if self._heard and self._cut_here(said):
                    break
                client.sendall(said)
        _hang_up(client, server)

    def _cut_here(self, said: bytes) -> bool:
        if not self._armed.is_set() or b"COMMIT\0" not in said:
            return False
        self._armed.clear()
        self.cut.set()
        return True

    def close(self) -> None:
        self._listener.close()


def _hang_up(*sockets: socket.socket) -> None:
    for side in sockets:
        with suppress(OSError):  # the other thread was first
            side.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("heard", [True, False])
@pytest.mark.parametrize("known", [True, False])
def test_a_connection_lost_while_it_commits_leaves_the_append_there_once_and_answers_it(
    server: Server, heard: bool, known: bool
) -> None:
    """`known`: the stream's end is remembered, so that one way there and back is all there is."""
    url = server.schema()
    with closing(Cutting(server.port, heard=heard)) as way, closing(open_log(url)) as other:
        with closing(open_log(url.replace(str(server.port), str(way.port)))) as log:
            before = fill(log, "a", 2)
            fill(other, "b", 1)
            way.arm()
            stream, version = ("a", 2) if known else ("new", 0)
            kept = log.append(stream, notes(3, command="x"), expected_version=version, epoch=1)
            assert way.cut.is_set()
            assert [event.position for event in kept] == [4, 5, 6]
            assert list(other.read_all())[3:] == list(kept)
            (more,) = log.append(stream, [note(command="y")], expected_version=version + 3, epoch=1)
            assert more.position == 7
        assert list(other.read("a", to=2)) == list(before)
        assert other.verify().ok


def test_a_server_that_stays_away_stalls_appends_and_says_so(own: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    url = own.schema()
    with closing(open_log(url)) as log:
        fill(log, "a", 2)
        own.stop()
        with monkeypatch.context() as impatient:
            impatient.setattr("telemetry.log.postgres.writer.PATIENCE_S", 0.5)
            impatient.setattr("telemetry.log.postgres.connect.PATIENCE_S", 0.5)
            with pytest.raises(LogUnreachable) as caught:
                log.append("a", [note(command="x")], expected_version=2, epoch=1)
            assert "takes no more events" in str(caught.value)
            assert "its command again tells" in str(caught.value), "it went out, and nothing came back"
            assert PASSWORD not in str(caught.value)
            with pytest.raises(LogUnreachable, match="does not answer"):
                log.head("a")
        own.start()
        assert appended(log).id == "a@3"
        assert [event.version for event in log.read("a")] == [1, 2, 3]


def appended(log: EventLog) -> Recorded:
    return log.append("a", [note(command="x")], expected_version=2, epoch=1)[0]


def test_a_full_disk_refuses_at_once_and_takes_the_append_when_there_is_room(server: Server) -> None:
    url = server.schema()
    with closing(open_log(url)) as log:
        fill(log, "a", 2)
        with server.admin(url) as admin:
            admin.execute(
                "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS "
                "$$BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'; END$$"
            )
            admin.execute("CREATE TRIGGER fills BEFORE INSERT ON events EXECUTE FUNCTION full_disk()")
            with pytest.raises(LogUnwritable, match="could not extend file") as caught:
                appended(log)
            assert not isinstance(caught.value, LogUnreachable)
            admin.execute("DROP TRIGGER fills ON events")
        assert appended(log).id == "a@3"
