"""Opening a PostgreSQL log: what is there, what is not, and that no password is told."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Iterator
from contextlib import closing

import psycopg
import pytest

from telemetry.errors import LogDamaged, LogError, LogNotFound, LogUnreachable, LogUnwritable
from telemetry.log import EventLog, open_log
from tests.contract.stores import fill
from tests.postgres import PASSWORD, Server, drop, owned


@pytest.fixture
def url(server: Server) -> Iterator[str]:
    place = server.schema()
    yield place
    drop(place)


def refused(url: str, *, mode: str = "write") -> LogError:
    """The error of opening, in which no password stands, nor in what it came from."""
    with pytest.raises(LogError) as caught:
        open_log(url, mode=mode)  # type: ignore[arg-type]  # one of the two literals
    said = "".join(traceback.format_exception(caught.value))
    assert PASSWORD not in said.replace(url, "")
    assert PASSWORD not in repr(caught.value)
    return caught.value


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_every_spelling_opens_the_same_log(url: str, scheme: str) -> None:
    with closing(open_log(url)) as log:
        fill(log, "a", 1)
    with closing(open_log(url.replace("postgresql", scheme), mode="read")) as log:
        assert log.position() == 1
        assert PASSWORD not in log.name
        assert "aether:***@127.0.0.1" in log.name


def test_the_password_is_taken_from_the_environment_as_libpq_does(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bare = url.replace(f":{PASSWORD}", "")
    assert "password" in str(refused(bare))
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    open_log(bare).close()
    assert isinstance(refused(bare.replace("/postgres?", "/nowhere?")), LogNotFound)


def test_a_wrong_password_is_told_from_a_missing_log(url: str) -> None:
    error = refused(url.replace(PASSWORD, f"not-{PASSWORD}"))
    assert not isinstance(error, LogNotFound | LogUnwritable)
    assert "PGPASSWORD" in str(error)


def test_a_server_that_is_not_there_is_unreachable(url: str) -> None:
    port = url.partition("127.0.0.1:")[2].partition("/")[0]
    for mode in ("read", "write"):
        error = refused(url.replace(port, "1"), mode=mode)
        assert isinstance(error, LogUnreachable)
        assert "Connection refused" in str(error)


def test_a_database_that_is_not_there_is_no_log(url: str) -> None:
    error = refused(url.replace("/postgres?", "/nowhere?"))
    assert isinstance(error, LogNotFound)
    assert "createdb" in str(error)


@pytest.mark.parametrize("table", ["events (x int)", "log (x int)", "log (id text, format int)"])
@pytest.mark.parametrize("mode", ["read", "write"])
def test_a_foreign_table_is_refused_and_not_touched(url: str, table: str, mode: str) -> None:
    with psycopg.connect(url) as admin:
        admin.execute(f"CREATE TABLE {table}")
    assert isinstance(refused(url, mode=mode), LogDamaged)
    with psycopg.connect(url) as admin:
        assert admin.execute("SELECT count(*) FROM pg_tables WHERE schemaname = current_schema()").fetchone() == (1,)


def test_a_log_of_a_newer_format_is_refused_as_intact(url: str) -> None:
    open_log(url).close()
    with psycopg.connect(url) as admin:
        admin.execute("UPDATE log SET format = 99")
    for mode in ("read", "write"):
        error = refused(url, mode=mode)
        assert not isinstance(error, LogDamaged)
        assert "upgrade" in str(error)


def test_a_server_that_acknowledges_what_is_not_on_disk_is_not_written_to() -> None:
    with owned("fsync = off") as careless:
        assert "fsync" in str(refused(careless.schema()))


def test_a_session_that_would_acknowledge_too_early_waits_for_the_disk(server: Server, url: str) -> None:
    lazy = url.replace("?options=", "?options=-csynchronous_commit%3Doff%20")
    from telemetry.log.postgres.connect import Server as Connecting

    with Connecting(lazy).connect() as connection:
        assert connection.execute("SHOW synchronous_commit").fetchone() == ("on",)


def test_hosts_that_make_one_log_at_once_make_one(url: str) -> None:
    opened: list[EventLog] = []
    ready = threading.Barrier(4)

    def begin() -> None:
        ready.wait()
        opened.append(open_log(url))

    threads = [threading.Thread(target=begin) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(opened) == 4
    assert len({log.id for log in opened}) == 1
    for log in opened:
        log.close()


def test_every_integer_column_holds_64_bits_and_text_is_in_the_order_of_its_bytes(url: str) -> None:
    open_log(url).close()
    with psycopg.connect(url) as admin:
        columns = admin.execute(
            "SELECT data_type, collation_name FROM information_schema.columns WHERE table_schema = current_schema()"
        ).fetchall()
    assert set(columns) == {("bigint", None), ("bytea", None), ("text", "C")}


def test_a_user_who_may_not_write_is_told_so_and_reads_on(server: Server) -> None:
    place = server.database()
    with closing(open_log(place)) as log:
        fill(log, "a", 2)
    with server.admin(place) as admin:
        admin.execute(f"CREATE ROLE guest LOGIN PASSWORD '{PASSWORD}'")
        admin.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO guest")
    guest = place.replace("aether:", "guest:")
    with closing(open_log(guest, mode="read")) as log:
        assert log.verify().ok
    with closing(open_log(guest)) as log, pytest.raises(LogUnwritable, match="permission denied"):
        fill(log, "b", 1)
