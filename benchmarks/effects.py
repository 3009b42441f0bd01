"""Effects across kill -9: a contender puts items into a target, one after the other, and is killed right after one
became visible there, before its answer came back; a new process takes up what was under way, and goes on.

A session is EFFECTS items of one kind, and one session runs at a time. What counts is the target's own table at the
end. The contenders' modules are `effects_ours`, `effects_langgraph` and `effects_dbos`: the first calls tools of each
class, the peers call the target from a node or a step, and each recovers as its pages say."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from benchmarks.contender import Contender
from benchmarks.target import made, target

Kind = Literal["keyed", "probeable", "unsafe"]

OURS = "benchmarks.effects_ours"
LANGGRAPH = "benchmarks.effects_langgraph"
DBOS = "benchmarks.effects_dbos"

PRELOADED = (
    OURS,
    LANGGRAPH,
    DBOS,
    "loops.environments.tools.environment",
    "loops.reasoners.language.reasoner",
    "telemetry.log.schema",
    "telemetry.log.sqlite.database",
)
"""What a contender would load while it is waited for."""

EFFECTS = 10
"""Items a session."""
LOOK_S = 0.0005
"""Between two looks at the target; an answer takes forty times as long."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How often each item stands in the target at the end, and whose process was killed right after it came there."""

    made: dict[str, int]
    killed: tuple[str, ...]

    @property
    def twice(self) -> list[int]:
        """Of each item, how often it was put beyond the first time."""
        return [max(0, times - 1) for times in self.made.values()]

    @property
    def missing(self) -> list[int]:
        """Of each item, 1 where it was never put."""
        return [int(times == 0) for times in self.made.values()]


def sessions(kinds: Sequence[Kind], *, effects: int) -> list[tuple[str, Kind]]:
    """Names and kinds of sessions that put `effects` items in all, the kinds in turn."""
    return [(f"{kinds[i % len(kinds)]}-{i:02d}", kinds[i % len(kinds)]) for i in range(effects // EFFECTS)]


def items(session: str) -> list[str]:
    return [f"{session}-{number:02d}" for number in range(EFFECTS)]


def marked(names: Sequence[str], *, kills: int) -> tuple[str, ...]:
    """`kills` of the names, evenly spread and never the first."""
    return tuple(names[(2 * i + 1) * len(names) // (2 * kills)] for i in range(kills))


def measure(module: str, folder: Path, *settings: str, kinds: Sequence[Kind], effects: int, kills: int) -> Outcome:
    """Has the contender put `effects` items of `kinds` with `kills` kills between them."""
    folder.mkdir(parents=True, exist_ok=True)
    planned = sessions(kinds, effects=effects)
    names = [name for session, _ in planned for name in items(session)]
    path, due = folder / "target.db", list(marked(names, kills=kills))
    with target(path):
        pass  # it is there before anybody looks
    contender = Contender(module, folder, *settings)
    try:
        with closing(sqlite3.connect(path, timeout=30)) as looking:
            for session, kind in planned:
                while not _carried(contender, session, kind, due, looking):
                    contender.kill()
                    contender = Contender(module, folder, *settings)
    finally:
        contender.close()
    found = made(path)
    return Outcome({name: found.get(name, 0) for name in names}, marked(names, kills=kills))


def _carried(contender: Contender, session: str, kind: Kind, due: list[str], looking: sqlite3.Connection) -> bool:
    """True when the session came to its end; False once an item of it that is due became visible."""
    contender.begin(session, kind)
    while not contender.answered(LOOK_S):
        if due and looking.execute("SELECT 1 FROM effects WHERE item = ?", (due[0],)).fetchone() is not None:
            del due[0]
            return False
    contender.answer()
    return True
