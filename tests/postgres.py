"""A PostgreSQL server of the tests' own: made, started, stopped and killed here, with Debian's programs or PATH's.

Without them a test that needs a server skips with the reason (`owned`); under AETHER_REQUIRE_POSTGRES=1 that is a
failure. Invariant: fsync is on, it listens on loopback alone, and nothing of it outlives `close`."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Literal

import psycopg
import pytest

from tests.aether import end_with_parent, free_ports, wait_until

PASSWORD = "hush-7f3a9c01"
"""Of the only user; it must appear in nothing that anybody is shown."""
START_TIMEOUT_S = 120.0
OWNER = "postgres"
"""The system's user that a server started by root runs as: PostgreSQL refuses root."""

Stop = Literal["fast", "immediate", "kill"]
_SIGNALS = {"fast": signal.SIGINT, "immediate": signal.SIGQUIT, "kill": signal.SIGKILL}


def programs() -> Path | None:
    """The folder of the newest installed server's programs."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    on_path = shutil.which("initdb")
    candidates = [*reversed(found), *([Path(on_path).resolve()] if on_path else [])]
    return next((path.parent for path in candidates if (path.parent / "postgres").exists()), None)


class NoServer(Exception):
    """There are no programs to make one with."""


@contextmanager
def owned(*settings: str) -> Iterator[Server]:
    """A server for a test, or a reason to skip it."""
    try:
        running = Server(*settings)
    except NoServer as error:
        if os.environ.get("AETHER_REQUIRE_POSTGRES") == "1":
            pytest.fail(str(error))
        pytest.skip(str(error))
    try:
        yield running
    finally:
        running.close()


class Server:
    """Runs from construction to `close`."""

    def __init__(self, *settings: str) -> None:
        """`settings` are lines of postgresql.conf. Raises `NoServer`."""
        folder = programs()
        if folder is None:
            raise NoServer("no PostgreSQL server is installed: no initdb under /usr/lib/postgresql/*/bin or on PATH")
        self._programs = folder
        self._folder = Path(tempfile.mkdtemp(prefix="aether-pg-", dir="/tmp")).resolve()  # short, for a socket's path
        self._user = OWNER if os.geteuid() == 0 else None
        if self._user is not None:
            shutil.chown(self._folder, self._user, self._user)
        (self.port,) = free_ports(1)
        self._names = count(1)
        self._process: subprocess.Popen[bytes] | None = None
        self._make(settings)
        self.start()

    def _make(self, settings: tuple[str, ...]) -> None:
        secret = self._folder / "password"
        secret.write_text(PASSWORD)
        if self._user is not None:
            shutil.chown(secret, self._user)
        data = self._folder / "data"
        command = [str(self._programs / "initdb"), f"--pgdata={data}", "--username=aether", f"--pwfile={secret}"]
        command += ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]
        subprocess.run(command, check=True, capture_output=True, user=self._user, cwd=self._folder)
        secret.unlink()
        with (data / "postgresql.conf").open("a") as file:
            file.write(
                f"port = {self.port}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = '{self._folder}'\n"
                "fsync = on\nmax_connections = 200\nshared_buffers = 64MB\nmax_wal_size = 2GB\n"
                "autovacuum_naptime = 10min\n"
            )
            file.writelines(f"{line}\n" for line in settings)

    def start(self) -> None:
        """Returns when it takes connections."""
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._programs / "postgres", "-D", self._folder / "data"],
                stdout=log,
                stderr=subprocess.STDOUT,
                user=self._user,
                group=self._user,
                extra_groups=[] if self._user else None,
                cwd=self._folder,
                preexec_fn=end_with_parent,
            )
        until = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                psycopg.connect(self.url("postgres")).close()
            except psycopg.OperationalError as error:
                if self._process.poll() is not None or time.monotonic() > until:
                    raise RuntimeError(f"the server did not start: {self.said()}") from error
            else:
                return

    def stop(self, how: Stop = "fast") -> None:
        """`fast` ends connections and then the server; `immediate` and `kill` leave recovery to the next start."""
        assert self._process is not None
        self._process.send_signal(_SIGNALS[how])
        self._process.wait(timeout=START_TIMEOUT_S)
        self._process = None
        if how == "kill":
            wait_until(self._nothing_left, timeout_s=START_TIMEOUT_S, what="the end of what a killed server left")

    def _nothing_left(self) -> bool:
        """Kills what a killed server left at work, which keeps the next one from starting, until nothing is there."""
        left = 0
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # it ended meanwhile, or is not ours
                if (process / "cwd").readlink() == self._folder / "data":
                    left += 1
                    os.kill(int(process.name), signal.SIGKILL)
        return not left

    def restart(self, how: Stop = "fast") -> None:
        self.stop(how)
        self.start()

    def url(self, database: str, *, schema: str | None = None, password: str = PASSWORD) -> str:
        options = "" if schema is None else f"?options=-csearch_path%3D{schema}"
        return f"postgresql://aether:{password}@127.0.0.1:{self.port}/{database}{options}"

    def schema(self) -> str:
        """The URL of a new, empty place in one database: quick to make and to throw away."""
        name = f"log{next(self._names)}"
        with self.admin() as connection:
            connection.execute(f"CREATE SCHEMA {name}")
        return self.url("postgres", schema=name)

    def database(self) -> str:
        """The URL of a new, empty database."""
        name = f"logs{next(self._names)}"
        with self.admin() as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def admin(self, url: str | None = None) -> psycopg.Connection[tuple[object, ...]]:
        """A connection of the test's own; every statement is a transaction."""
        return psycopg.connect(url or self.url("postgres"), autocommit=True)

    def said(self) -> str:
        return (self._folder / "server.log").read_text(errors="replace")[-4000:]

    def close(self) -> None:
        if self._process is not None:
            self.stop("immediate")
        shutil.rmtree(self._folder)


def drop(url: str) -> None:
    """Removes what `Server.schema` made."""
    found = re.search(r"search_path%3D(\w+)", url)
    assert found is not None
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"SET client_min_messages = warning; DROP SCHEMA {found[1]} CASCADE")
