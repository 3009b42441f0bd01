"""Ray: a local one of our own, or the cluster that is there.

Knows how Ray is started, attached to and left; knows nothing of what runs on it. Invariant: nothing is ended that was
not started here."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import ray
from ray.exceptions import RayError

from runtime.errors import Unavailable
from runtime.hosting.orders import ONE_THREAD
from runtime.settings import Settings

KNOCK_TIMEOUT_S = 5.0
LEAVE_TIMEOUT_S = 10.0
LEAVE_POLL_S = 0.05
SHORT_FOLDER_CHARACTERS = 24
"""Ray adds up to 80 characters to its folder's path for its sockets, and a socket's path may hold 104 (macOS)."""


@contextmanager
def connected(settings: Settings) -> Iterator[None]:
    """Attaches to `settings.address` or the job's cluster, else starts a local Ray in a folder of its own.

    SIGTERM, which stops a Ray job, interrupts inside it as Ctrl-C does. Raises `Unavailable` when the cluster
    cannot be reached."""
    address, folder = settings.address, None
    try:
        with _interrupts_later():
            folder = None if address else _folder()
            _start(address, folder)
        signal.signal(signal.SIGTERM, _interrupt)
        yield
    finally:
        ray.shutdown()
        if folder is not None:
            remove(folder)


@contextmanager
def _interrupts_later() -> Iterator[None]:
    """Ctrl-C inside takes effect at the end, so that what was begun there is whole and can be ended; a second one at
    once. Python's own word would also come from the middle of a fork, as a traceback of the child's."""
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield  # who started this process wants something else
        return
    came: list[int] = []

    def take(number: int, frame: FrameType | None) -> None:
        if came:
            _interrupt(number, frame)
        came.append(number)

    signal.signal(signal.SIGINT, take)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if came:
            raise KeyboardInterrupt


def _start(address: str | None, folder: str | None) -> None:
    try:
        if address:
            _knock(address)
            ray.init(address, runtime_env={"env_vars": ONE_THREAD}, logging_level=logging.ERROR, log_to_driver=False)
        else:
            ray.init(
                num_cpus=max(2, os.cpu_count() or 1),
                include_dashboard=False,
                runtime_env={"env_vars": ONE_THREAD},
                logging_level=logging.ERROR,
                log_to_driver=False,
                _temp_dir=folder,
            )
    except (OSError, RuntimeError, ValueError, RayError) as error:
        raise Unavailable(f"Ray {'at ' + address if address else 'on this machine'} cannot be used: {error}") from error


def _knock(address: str) -> None:
    """Raises OSError where nobody listens at once; Ray would try for a minute."""
    host, _, port = address.rpartition(":")
    if port.isdigit() and "/" not in host:
        socket.create_connection((host.strip("[]"), int(port)), timeout=KNOCK_TIMEOUT_S).close()


def _folder() -> str:
    usual = tempfile.gettempdir()
    return tempfile.mkdtemp(prefix="aether-", dir=usual if len(usual) <= SHORT_FOLDER_CHARACTERS else "/tmp")


def remove(folder: str) -> None:
    """Until it is gone: Ray's processes may outlive it for a moment, and write there still."""
    until = time.monotonic() + LEAVE_TIMEOUT_S
    shutil.rmtree(folder, ignore_errors=True)
    while Path(folder).exists() and time.monotonic() < until:
        time.sleep(LEAVE_POLL_S)
        shutil.rmtree(folder, ignore_errors=True)


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
