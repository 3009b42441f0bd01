"""The log's figures (`make bench-log`), each part alone with `python -m benchmarks.log PART`. Knows their bounds and
how long each is measured; the modules beside it know how.

    one      steps a second of one session, beside LangGraph's and DBOS's
    many     the same of 100 sessions in one process
    bytes    bytes on disk that a step costs, in short sessions and in long ones
    rebuild  taking a session up, from its history and from a snapshot, and replaying it beside eventsourcing's library
    fork     time and bytes of a fork of a short session, of a long one, and of a fork of forks
    effects  effects done twice or lost across kills right after they became visible, and what was honestly unknown
    postgres events that a live subscriber of a log on PostgreSQL missed beside writers that hold transactions open
    takeover how long the sessions of a killed host stand still before another has them

`benchmarks.steps` says what a step is. Everything lies under build/, so on the disk that holds the checkout: a
temporary folder may lie in memory, where fsync costs nothing."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import TypeVar

from benchmarks import effects, paces
from benchmarks.contender import Contender, preload
from benchmarks.report import ROOT, figure, progress, short
from benchmarks.steps import CONTENDERS

STEPS_RATIO_1 = 10.0
STEPS_RATIO_100 = 50.0
BYTES_PER_STEP = 650.0
BYTES_SPREAD_PERCENT = 5.0
REBUILD_MS, REBUILD_MS_AIM = 50.0, 25.0
SNAPSHOT_MS = 150.0
REPLAY_RATIO, REPLAY_RATIO_AIM = 2.5, 5.0
FORK_MS = 5.0
TAKEOVER_S = 2.0
PG_MISSED = 0
TWICE = 0
MISSING = 0
"""Floors and ceilings of issue "The log keeps its promises", section "Figures"."""

STORED_STEPS = 50 * 100
"""Steps in the file of each `bytes` figure: as one session of so many, or as 50 of 100."""
LONG_STEPS = 100_000
SHORT_EVENTS, EVENTS, LONG_EVENTS = 10, 5_000, 100_000
FORKS, FORKS_DEEP = 100, 5
EFFECTS, KILLS = 200, 25
UNSAFE, UNSAFE_KILLS = 100, 10
MOVED, MOVED_KILLS = 20, 12

Part = Callable[[Path], None]
T = TypeVar("T")


def main() -> int:
    parts: dict[str, Part] = {
        "one": _one,
        "many": _many,
        "bytes": _bytes,
        "rebuild": _rebuild,
        "fork": _fork,
        "effects": _effects,
        "postgres": _postgres,
        "takeover": _takeover,
    }
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", nargs="?", choices=tuple(parts), help="all of them when it is left out")
    part = parser.parse_args().part
    _check_peers()
    preload(*CONTENDERS, *effects.PRELOADED)
    build = ROOT / "build"
    build.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=build) as folder:
        for name, measure in parts.items():
            if part in (None, name):
                measure(Path(folder) / name)
    return 0


def _check_peers() -> None:
    peers = ("dbos", "eventsourcing", "langgraph")
    if missing := [name for name in peers if find_spec(name) is None]:
        raise SystemExit(
            f"the peers {', '.join(missing)} are not installed, and the figures are measured beside them. "
            "Try: pip install -e '.[dev,interop,bench]'"
        )


def _one(folder: Path) -> None:
    paces.one(folder, floor=STEPS_RATIO_1)


def _many(folder: Path) -> None:
    paces.many(folder, floor=STEPS_RATIO_100)


def _bytes(folder: Path) -> None:
    with closing(Contender("benchmarks.stored", folder)) as contender:
        ours = {}
        for sessions, steps in ((50, STORED_STEPS // 50), (1, STORED_STEPS), (1, LONG_STEPS)):
            _say(f"bytes a step of a session of {steps:,}")
            ours[steps], snapshots = contender.call("ours", sessions, steps)
            bound = BYTES_PER_STEP if steps == STORED_STEPS else None
            _stored(f"bytes_per_step_{steps}", ours[steps], floor=bound)
            _stored(f"bytes_per_step_snapshots_{steps}", snapshots)
        middle = ours[STORED_STEPS]
        apart = [abs(value / middle - 1) * 100 for steps, value in ours.items() if steps != STORED_STEPS]
        figure("bytes_per_step_spread", value=max(apart), unit="%", op="<=", floor=BYTES_SPREAD_PERCENT, samples=apart)
        for whose, sessions, steps in (
            ("langgraph history", 50, STORED_STEPS // 50),
            ("langgraph history", 1, STORED_STEPS),
            ("langgraph small", 1, STORED_STEPS),
            ("dbos", 1, STORED_STEPS),
        ):
            _say(f"bytes a step of {whose}, a session of {steps:,}")
            name = whose.removesuffix(" history").replace(" ", "_")
            _stored(f"bytes_per_step_{name}_{steps}", contender.call(whose, sessions, steps).file)


def _stored(name: str, value: float, *, floor: float | None = None) -> None:
    figure(name, value=value, unit="bytes", op="<=", floor=floor, samples=[value])


def _effects(folder: Path) -> None:
    from benchmarks.effects_ours import answer, fates
    from benchmarks.scripted import model

    kinds: tuple[effects.Kind, ...] = ("keyed", "probeable")
    with model(answer) as scripted:
        _say(f"{EFFECTS} effects and {KILLS} kills")
        ours = effects.measure(effects.OURS, folder / "ours", scripted.url, kinds=kinds, effects=EFFECTS, kills=KILLS)
        _say(f"{UNSAFE} unsafe effects and {UNSAFE_KILLS} kills")
        unsafe = effects.measure(
            effects.OURS, folder / "unsafe", scripted.url, kinds=("unsafe",), effects=UNSAFE, kills=UNSAFE_KILLS
        )
        fate = {kind: fates(folder / kind) for kind in ("ours", "unsafe")}
    _outcome("effects", "", ours, twice=TWICE, missing=MISSING)
    cut = [int(fate["ours"][item] != "seen") for item in ours.killed]
    figure("effects_cut_off", value=sum(cut), unit="effects", op=">=", samples=cut)
    told = [int(fate["unsafe"][item] == "cut off, unknown") for item in unsafe.killed if fate["unsafe"][item] != "seen"]
    figure("unknown_surfaced", value=sum(told), unit="effects", op=">=", floor=len(told), samples=told)
    made_up = sum(said == "cut off, unknown" for item, said in fate["unsafe"].items() if item not in unsafe.killed)
    figure("unknown_made_up", value=made_up, unit="effects", op="<=", floor=0, samples=[made_up])
    _outcome("unsafe", "", unsafe, twice=TWICE, missing=MISSING)
    for peer, module in (("langgraph", effects.LANGGRAPH), ("dbos", effects.DBOS)):
        _say(f"{EFFECTS} effects and {KILLS} kills of {peer}")
        theirs = effects.measure(module, folder / peer, kinds=kinds, effects=EFFECTS, kills=KILLS)
        _outcome("effects", f"_{peer}", theirs)


def _outcome(
    what: str, whose: str, outcome: effects.Outcome, *, twice: float | None = None, missing: float | None = None
) -> None:
    for count, samples, floor in (("twice", outcome.twice, twice), ("missing", outcome.missing, missing)):
        figure(f"{what}_{count}{whose}", value=sum(samples), unit="effects", op="<=", floor=floor, samples=samples)


def _rebuild(folder: Path) -> None:
    turns = 10 if short() else 30
    with closing(Contender("benchmarks.rebuild", folder)) as contender:
        _say(f"taking up a session of {EVENTS:,} events")
        whole = contender.call("rebuild", EVENTS, turns)["rebuild"]
        _say(f"taking up a session of {LONG_EVENTS:,} events by its snapshot")
        snapshot = contender.call("snapshot", LONG_EVENTS, turns)
        _say(f"replaying a session of {EVENTS:,} events beside eventsourcing")
        replayed = contender.call("replay", EVENTS, turns)
    _ms("rebuild_5000_ms", whole, floor=REBUILD_MS, aim=REBUILD_MS_AIM)
    _ms("rebuild_100k_snapshot_ms", snapshot["snapshot"], floor=SNAPSHOT_MS)
    (tail,) = snapshot["tail_events"]
    figure("rebuild_100k_snapshot_tail", value=tail, unit="events", op="<=", samples=[tail])
    peer = replayed["eventsourcing"]
    _ms("replay_5000_ms", replayed["replay"])
    _ms("replay_unchecked_5000_ms", replayed["replay_unchecked"])
    _ms("replay_eventsourcing_5000_ms", peer)
    for name, floor, aim in (("replay", REPLAY_RATIO, REPLAY_RATIO_AIM), ("replay_unchecked", None, None)):
        ratios = [theirs / ours for ours, theirs in zip(replayed[name], peer, strict=True)]
        figure(
            f"{name}_vs_eventsourcing", value=median(ratios), unit="×", op=">=", floor=floor, aim=aim, samples=ratios
        )


def _ms(name: str, samples: list[float], *, floor: float | None = None, aim: float | None = None) -> None:
    figure(name, value=median(samples), unit="ms", op="<=", floor=floor, aim=aim, samples=samples)


def _fork(folder: Path) -> None:
    forked = {}
    with closing(Contender("benchmarks.forking", folder)) as contender:
        for name, events, depth in (
            ("fork_10", SHORT_EVENTS, 0),
            ("fork_100k", LONG_EVENTS, 0),
            ("fork_100k_deep", LONG_EVENTS, FORKS_DEEP),
        ):
            _say(f"forks of a session of {events:,} events, {depth} forks deep")
            forked[name] = contender.call(events, FORKS, depth)
    for name, (spent_ms, added) in forked.items():
        bound = FORK_MS if name == "fork_100k" else None
        _ms(f"{name}_ms", spent_ms, floor=bound)
        figure(f"{name}_bytes", value=added, unit="bytes", op="<=", samples=[added])


def _postgres(_: Path) -> None:
    from benchmarks.postgres_log import measure

    measured = _served(lambda: measure(say=_say))
    if measured is None:
        return
    figure("pg_missed", value=measured.missed, unit="events", op="<=", floor=PG_MISSED, samples=[measured.missed])
    figure("pg_twice", value=measured.twice, unit="events", op="<=", floor=0, samples=[measured.twice])
    figure("pg_events", value=measured.events, unit="events", op=">=", samples=[measured.events])
    inverted = measured.inverted
    figure("pg_neighbours_inverted", value=inverted, unit="events", op=">=", samples=[inverted])
    rate = measured.events_per_s
    figure("pg_events_per_s", value=rate, unit="events/s", op=">=", samples=[rate])


def _takeover(folder: Path) -> None:
    from benchmarks.takeover import measure_takeover
    from tests.postgres import Server

    kills = 3 if short() else MOVED_KILLS

    def measure() -> list[float]:
        with closing(Server()) as server:
            _say(f"{MOVED} sessions on two hosts, {kills} kills")
            return measure_takeover(folder, server.schema(), sessions=MOVED, kills=kills)

    spent_s = _served(measure)
    if spent_s is not None:
        figure("takeover_s_p50", value=median(spent_s), unit="s", op="<=", floor=TAKEOVER_S, samples=spent_s)


def _served(measure: Callable[[], T]) -> T | None:
    """What is measured on a PostgreSQL server; None, and why on stderr, where it is not installed."""
    from tests.postgres import NoServer

    try:
        return measure()
    except NoServer as error:
        _say(f"PostgreSQL is not measured: {error}")
        return None


def _say(what: str) -> None:
    progress("bench-log", what)


if __name__ == "__main__":
    sys.exit(main())
