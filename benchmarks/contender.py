"""A contender in a process of its own, so that its threads and imports slow nobody else down.

A contender's module has a context manager `serving(folder, *settings)` that yields a function; `Contender.call` calls
it over there. Invariant: one call at a time, and none is answered twice."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from contextlib import AbstractContextManager
from importlib import import_module
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

FORKS = multiprocessing.get_context("forkserver")
START_S = 60.0
LONG_S = 600.0

Answer = Any
Serving = Callable[..., AbstractContextManager[Callable[..., Answer]]]


def preload(*modules: str) -> None:
    """Has `modules` loaded before anything is forked, so that a killed contender is back in milliseconds."""
    FORKS.set_forkserver_preload(list(modules))


class Contender:
    """Close it. `settings` go to the module's `serving` after the folder."""

    def __init__(self, module: str, folder: Path, *settings: str) -> None:
        self._port, theirs = FORKS.Pipe()
        self._process: ForkServerProcess = FORKS.Process(
            target=_serve, args=(theirs, module, str(folder), settings), daemon=True
        )
        self._process.start()
        theirs.close()
        self.answer(START_S)

    @property
    def pid(self) -> int:
        assert self._process.pid is not None, "it was started"
        return self._process.pid

    def call(self, *arguments: object) -> Answer:
        self.begin(*arguments)
        return self.answer(LONG_S)

    def begin(self, *arguments: object) -> None:
        """Has it work while nobody waits for it; `answer` waits then."""
        self._port.send(arguments)

    def answered(self, timeout_s: float) -> bool:
        """Whether the answer is there, or the process is gone."""
        return self._port.poll(timeout_s)

    def answer(self, timeout_s: float = LONG_S) -> Answer:
        """Raises TimeoutError, and EOFError when the process died; what it died of is on stderr."""
        if not self._port.poll(timeout_s):
            raise TimeoutError(f"a contender did not answer within {timeout_s:g} s")
        return self._port.recv()

    def kill(self) -> None:
        """SIGKILL; returns when it is gone."""
        self._process.kill()
        self._process.join()
        self._port.close()

    def close(self) -> None:
        """Lets it end in order."""
        self._port.close()
        self._process.join(START_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


def _serve(port: Connection, module: str, folder: str, settings: tuple[str, ...]) -> None:
    serving: Serving = import_module(module).serving
    with serving(Path(folder), *settings) as answer:
        port.send(None)
        while True:
            try:
                arguments = port.recv()
            except EOFError:
                return
            port.send(answer(*arguments))
