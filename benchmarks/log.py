"""The log's figures (`make bench-log`), each part alone with `python -m benchmarks.log PART`. Knows their bounds and
how long each is measured; the modules beside it know how.

    one      steps a second of one session, beside LangGraph's and DBOS's
    many     the same of 100 sessions in one process
    bytes    bytes on disk that a step costs, in short sessions and in long ones
    effects  effects done twice or lost across kills right after they became visible, and what was honestly unknown

`benchmarks.steps` says what a step is. Everything lies under build/, so on the disk that holds the checkout: a
temporary folder may lie in memory, where fsync costs nothing."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from statistics import median

from benchmarks import effects
from benchmarks.contender import Contender, preload
from benchmarks.report import ROOT, figure, short
from benchmarks.steps import CONTENDERS, DBOS, LANGGRAPH, OURS

STEPS_RATIO_1 = 10.0
STEPS_RATIO_100 = 50.0
BYTES_PER_STEP = 650.0
BYTES_SPREAD_PERCENT = 5.0
TWICE = 0
MISSING = 0
"""Floors and ceilings of issue "The log keeps its promises", section "Figures"."""

SESSIONS = 100
STORED_STEPS = 50 * 100
"""Steps in the file of each `bytes` figure: as one session of so many, or as 50 of 100."""
LONG_STEPS = 100_000
EFFECTS, KILLS = 200, 25
UNSAFE, UNSAFE_KILLS = 100, 10

Rates = Mapping[str, float]
"""Steps a second of each row in one block, by the row's name in its figure."""
Part = Callable[[Path], None]


def main() -> int:
    parts: dict[str, Part] = {"one": _one, "many": _many, "bytes": _bytes, "effects": _effects}
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
    blocks, steps = (6 if short() else 12), 1000
    rows: dict[str, tuple[str, tuple[object, ...]]] = {
        "steps_per_s_1": (OURS, ("cycle", 1)),
        "steps_per_s_langgraph_sync_1": (LANGGRAPH, ("history", "threads", 1)),
        "steps_per_s_dbos_1": (DBOS, ("threads", 1)),
        "steps_per_s_commit_a_step_1": (OURS, ("commit", 1)),
        "steps_per_s_langgraph_sync_small_1": (LANGGRAPH, ("small", "threads", 1)),
        "full_loop_events_per_s_1": (OURS, ("loop", 1)),
    }
    with _contenders(folder) as contenders:
        measured = _interleaved("one session", contenders, rows, blocks=blocks, steps=steps, warm=200)
    _rates(measured)
    _ratio("steps_vs_langgraph_sync_1", measured, "steps_per_s_1", "steps_per_s_langgraph_sync_1", floor=STEPS_RATIO_1)
    _ratio("steps_vs_dbos_1", measured, "steps_per_s_1", "steps_per_s_dbos_1", floor=STEPS_RATIO_1)
    _ratio("steps_vs_langgraph_sync_small_1", measured, "steps_per_s_1", "steps_per_s_langgraph_sync_small_1")
    each = "steps_per_s_commit_a_step_1"
    _ratio("steps_commit_a_step_vs_langgraph_sync_1", measured, each, "steps_per_s_langgraph_sync_1")
    _ratio("steps_commit_a_step_vs_dbos_1", measured, each, "steps_per_s_dbos_1")


def _many(folder: Path) -> None:
    """A peer is counted by the faster of its two ways in each block."""
    blocks, steps = (2, 20) if short() else (6, 50)
    rows: dict[str, tuple[str, tuple[object, ...]]] = {
        "steps_per_s_100": (OURS, ("cycle", SESSIONS)),
        "steps_per_s_langgraph_threads_100": (LANGGRAPH, ("history", "threads", SESSIONS)),
        "steps_per_s_langgraph_async_100": (LANGGRAPH, ("history", "async", SESSIONS)),
        "steps_per_s_dbos_threads_100": (DBOS, ("threads", SESSIONS)),
        "steps_per_s_dbos_async_100": (DBOS, ("async", SESSIONS)),
        "steps_per_s_commit_a_step_100": (OURS, ("commit", SESSIONS)),
        "full_loop_events_per_s_100": (OURS, ("loop", SESSIONS)),
    }
    with _contenders(folder) as contenders:
        measured = _interleaved(f"{SESSIONS} sessions", contenders, rows, blocks=blocks, steps=steps, warm=5)
    for rates in measured:
        for peer in ("langgraph", "dbos"):
            rates[peer] = max(rates[f"steps_per_s_{peer}_threads_100"], rates[f"steps_per_s_{peer}_async_100"])
    _rates([{name: rates[name] for name in rows} for rates in measured])
    ours, each = "steps_per_s_100", "steps_per_s_commit_a_step_100"
    _ratio("steps_vs_langgraph_sync_100", measured, ours, "langgraph", floor=STEPS_RATIO_100)
    _ratio("steps_vs_dbos_100", measured, ours, "dbos", floor=STEPS_RATIO_100)
    _ratio("steps_commit_a_step_vs_langgraph_sync_100", measured, each, "langgraph")
    _ratio("steps_commit_a_step_vs_dbos_100", measured, each, "dbos")


def _bytes(folder: Path) -> None:
    contender = Contender("benchmarks.stored", folder)
    try:
        ours = {}
        for sessions, steps in ((50, STORED_STEPS // 50), (1, STORED_STEPS), (1, LONG_STEPS)):
            _say(f"bytes a step of a session of {steps:,}")
            ours[steps] = contender.call("ours", sessions, steps)
            bound = BYTES_PER_STEP if steps == STORED_STEPS else None
            _stored(f"bytes_per_step_{steps}", ours[steps], floor=bound)
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
            _stored(f"bytes_per_step_{name}_{steps}", contender.call(whose, sessions, steps))
    finally:
        contender.close()


def _stored(name: str, value: float, *, floor: float | None = None) -> None:
    figure(name, value=value, unit="bytes", op="<=", floor=floor, samples=[value])


def _effects(folder: Path) -> None:
    from benchmarks.effects_ours import answer, unknown
    from benchmarks.scripted import model

    kinds: tuple[effects.Kind, ...] = ("keyed", "probeable")
    with model(answer) as scripted:
        _say(f"{EFFECTS} effects and {KILLS} kills")
        ours = effects.measure(effects.OURS, folder / "ours", scripted.url, kinds=kinds, effects=EFFECTS, kills=KILLS)
        _say(f"{UNSAFE} unsafe effects and {UNSAFE_KILLS} kills")
        unsafe = effects.measure(
            effects.OURS, folder / "unsafe", scripted.url, kinds=("unsafe",), effects=UNSAFE, kills=UNSAFE_KILLS
        )
        surfaced = unknown(folder / "unsafe")
    _outcome("effects", "", ours, twice=TWICE, missing=MISSING)
    told = [int(item in surfaced) for item in unsafe.killed]
    figure("unknown_surfaced", value=sum(told), unit="effects", op=">=", floor=len(unsafe.killed), samples=told)
    made_up = sorted(surfaced - set(unsafe.killed))
    figure("unknown_made_up", value=len(made_up), unit="effects", op="<=", floor=0, samples=[len(made_up)])
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


@contextmanager
def _contenders(folder: Path) -> Iterator[dict[str, Contender]]:
    with ExitStack() as stack:
        contenders = {}
        for module in CONTENDERS:
            contenders[module] = Contender(module, folder / module.rpartition("_")[2])
            stack.callback(contenders[module].close)
        yield contenders


def _interleaved(
    what: str,
    contenders: Mapping[str, Contender],
    rows: Mapping[str, tuple[str, tuple[object, ...]]],
    *,
    blocks: int,
    steps: int,
    warm: int,
) -> list[dict[str, float]]:
    """The rates of every row, block after block: each block runs each row once. A first, shorter block goes before
    those that count: it imports, connects and makes the tables."""
    measured = []
    for block in range(blocks + 1):
        _say(f"{what}, block {block} of {blocks}")
        length = steps if block else warm
        rates = {}
        for name, (module, way) in rows.items():
            sessions = SESSIONS if name.endswith(f"_{SESSIONS}") else 1
            rates[name] = sessions * length / contenders[module].call(*way, length)
        measured.append(rates)
    return measured[1:]


def _rates(measured: Sequence[Rates]) -> None:
    for name in measured[0]:
        samples = [rates[name] for rates in measured]
        unit = "events/s" if "_events_" in name else "steps/s"
        figure(name, value=median(samples), unit=unit, op=">=", samples=samples)


def _ratio(name: str, measured: Sequence[Rates], ours: str, theirs: str, *, floor: float | None = None) -> None:
    ratios = [rates[ours] / rates[theirs] for rates in measured]
    figure(name, value=median(ratios), unit="×", op=">=", floor=floor, samples=ratios)


def _say(what: str) -> None:
    print(f"bench-log: {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
