"""The figures of language sessions (`make bench-language`), each part alone with `python -m benchmarks.language PART`.
Knows their bounds and how long each is measured; the modules beside it know how.

    gateway    what the recording gateway adds to a first token, and the streams it carries at once
    kills      refunds across 50 kills of the host around the effect
    overhead   a cycle's time beyond its model and its tool
    langgraph  the same agent on LangGraph: steps a second beside ours, and its refunds across the same kills

Everything runs against the example's scripted endpoint on loopback. Our logs and LangGraph's checkpoints lie under
build/, so on the disk that holds the checkout: a temporary folder may lie in memory, where fsync costs nothing."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.report import ROOT, figure, progress, short

# Each part loads what it needs where it begins: LangGraph's processes import this module and must not load Ray.
if TYPE_CHECKING:
    from benchmarks.kills import Kills
    from benchmarks.scripted import Model

GATEWAY_ADDED_MS = 3.0
GATEWAY_STREAMS = 200
DUPLICATES = 0
MISSING = 0
OVERHEAD_MS = 5.0
"""Floors and ceilings of issue "Language sessions", section "Figures"."""

KILLS = 50
SEED = 7
"""Of the delays between an intent and its kill, ours and the peer's."""
LOOKS = 60
"""Look-ups a session; a figure's samples are sessions."""
PEER = ("langgraph", "langchain_openai", "langgraph.checkpoint.sqlite")


def main() -> int:
    parts: dict[str, Callable[[Path], None]] = {
        "gateway": _gateway,
        "kills": _kills,
        "overhead": _overhead,
        "langgraph": _langgraph,
    }
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", nargs="?", choices=tuple(parts), help="all of them when it is left out")
    part = parser.parse_args().part
    build = ROOT / "build"
    build.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=build) as folder:
        for name, measure in parts.items():
            if part in (None, name):
                measure(Path(folder) / name)
    return 0


def _gateway(folder: Path) -> None:
    from benchmarks.gateway import measure_added, measure_streams

    _say("the gateway's first token")
    pairs = measure_added(folder / "added", pairs=200 if short() else 1000)
    added_ms = [pair.through_ms - pair.direct_ms for pair in pairs]
    figure("gateway_added_ms_p50", value=median(added_ms), unit="ms", op="<=", floor=GATEWAY_ADDED_MS, samples=added_ms)
    ratios = [pair.through_ms / pair.direct_ms for pair in pairs]
    figure("gateway_over_direct", value=median(ratios), unit="×", op="<=", samples=ratios)
    _say(f"{GATEWAY_STREAMS} streams through the gateway")
    streams = measure_streams(folder / "streams", streams=GATEWAY_STREAMS)
    whole = streams.without_loss
    figure("gateway_streams", value=whole, unit="streams", op=">=", floor=GATEWAY_STREAMS, samples=[whole])


def _kills(folder: Path) -> None:
    from benchmarks.refund_kills import measure_kills

    _say(f"{KILLS} kills around a refund")
    with _ours(folder) as model:
        kills = measure_kills(folder / "log", model.url, kills=KILLS, seed=SEED)
    _refunds("refund", kills, duplicates=DUPLICATES, missing=MISSING)


def _overhead(folder: Path) -> None:
    from benchmarks.overhead import measure_overhead

    _say("a cycle beside its model and its tool")
    with _ours(folder) as model:
        blocks = measure_overhead(folder / "log", model, blocks=8 if short() else 20, looks=LOOKS)
    overheads = [median(spent.overhead_ms for spent in block) for block in blocks]
    figure("session_overhead_ms_p50", value=median(overheads), unit="ms", op="<=", floor=OVERHEAD_MS, samples=overheads)
    models = [median(spent.model_ms for spent in block) for block in blocks]
    figure("session_model_ms_p50", value=median(models), unit="ms", op="<=", samples=models)


def _langgraph(folder: Path) -> None:
    if missing := [name for name in PEER if not _there(name)]:
        _say(
            f"LangGraph is not measured: {', '.join(missing)} is not installed. Try: pip install -e '.[interop,bench]'"
        )
        return
    from benchmarks import langgraph_peer as peer
    from benchmarks import overhead

    def rate(seconds: list[float]) -> float:
        return len(seconds) / sum(seconds)

    blocks = 4 if short() else 12
    with (
        _ours(folder) as model,
        closing(overhead.Looking(folder / "log", model.url, stream=False)) as ours,
        closing(peer.Looking(folder / "steps", model.url)) as theirs,
    ):
        _say("steps a second beside LangGraph")
        paces = [(rate(ours.cycles_s(LOOKS)), rate(theirs.steps_s(LOOKS))) for _ in range(blocks + 1)][1:]
        names: dict[peer.Key, str] = {"call": "langgraph", "none": "langgraph_unkeyed"}
        for key, name in names.items():
            _say(f"{KILLS} kills of LangGraph around a refund, the tool keyed by: {key}")
            kills = peer.measure_kills(folder / name, model.url, kills=KILLS, seed=SEED, key=key)
            _refunds(name, kills)
    _pace(paces)


def _pace(paces: list[tuple[float, float]]) -> None:
    for name, rates in zip(("steps_per_s", "steps_per_s_langgraph"), zip(*paces, strict=True), strict=True):
        figure(name, value=median(rates), unit="steps/s", op=">=", samples=rates)
    ratios = [ours / theirs for ours, theirs in paces]
    figure("steps_ratio_langgraph", value=median(ratios), unit="×", op=">=", samples=ratios)


def _refunds(name: str, kills: Kills, *, duplicates: int | None = None, missing: int | None = None) -> None:
    for what, counts, floor in (("duplicates", kills.duplicates, duplicates), ("missing", kills.missing, missing)):
        figure(f"{name}_{what}", value=sum(counts), unit="refunds", op="<=", floor=floor, samples=counts)
    cut = kills.counted("before the refund", "before its outcome")
    figure(f"{name}_kills_before_outcome", value=sum(cut), unit="kills", op=">=", samples=cut)
    risky = kills.counted("before its outcome")
    figure(f"{name}_kills_after_refund_before_outcome", value=sum(risky), unit="kills", op=">=", samples=risky)


@contextmanager
def _ours(folder: Path) -> Iterator[Model]:
    """The model, the shop and a Ray of our own."""
    from benchmarks.scripted import model, settings, surroundings
    from runtime.hosting.cluster import connected

    folder.mkdir(parents=True)
    with surroundings(folder / "shop.db"), model() as scripted, connected(settings(folder, scripted.url)):
        yield scripted


def _there(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # of the package that it lies in
        return False


def _say(what: str) -> None:
    progress("bench-language", what)


if __name__ == "__main__":
    sys.exit(main())
