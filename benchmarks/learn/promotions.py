"""How often the rule promotes what is no better, and misses what is.

Knows the maze and how many trials are made; the rule, the pairs and the sessions are the product's. One linear model of
the maze stands; the others are trained on the same sessions under another seed, and each is really judged. What their
episodes and those of the scenario's own policy came to is what the simulated trials draw from: as it was, where nothing
is to be gained, and shorter by a fifth, where something is."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.report import ROOT, figure, progress, short
from benchmarks.world_model.kept import Row, once
from benchmarks.world_model.trained import code
from runtime.learning.fleet import Fleet
from runtime.learning.judging.evaluate import Evaluation, evaluate
from runtime.learning.judging.outcomes import first_episode
from runtime.learning.judging.sequential import Design
from runtime.learning.judging.trial import ARMS, Trial
from runtime.learning.judging.verdict import HeldOut, Outcome, Pair, judge
from runtime.models.registry.store import Registry, registry_of
from runtime.models.training.sources import sources
from runtime.models.training.train import Order, Watch, train
from runtime.models.training.unfinished import Storage
from runtime.run import new_orders
from runtime.scenario import parse_scenario
from runtime.sessions import stream_of
from runtime.settings import read_settings
from telemetry.events.values import ModelId
from telemetry.log import open_log

AREA = "bench-learn"
SESSIONS = 160
"""Of the scenario's own policy, one episode each: what the models learn from, and its outcomes."""
LIKE = 5
"""Models that are trained as the one that stands (issue 6: "real for 5")."""
TRIALS = 100
"""Simulated ones of a figure (issue 6: "of 100")."""
MOST_FALSE = 5
SHORTER = 0.8
"""A true gain of 20 %: every episode takes four fifths of its steps."""
SHORT_LOOK = 40
"""With PROFILE=short real trials end there, decided or not."""
DESIGN = Design()
EQUAL = HeldOut(0.5, 0.5)


class Real(NamedTuple):
    """What was measured."""

    played: list[Outcome]
    """Of like models."""
    base: list[Outcome]
    """Of the scenario's policy."""
    decisions: list[str]
    budget: int


def measure() -> Real:
    """Kept under the code that made it."""
    text = (ROOT / "examples" / "maze.toml").read_text(encoding="utf-8")
    made_by = ("loops", "world_model", "runtime/learning", "runtime/models", "benchmarks/learn/promotions.py")
    key: Row = {"scenario": text, "sessions": SESSIONS, "like": LIKE, "short": short(), "code": code(*made_by)}
    rows = once("promotions", key, lambda: _lived(text), folder=ROOT / "build" / "learn")
    found = Real([], [], [], budget=int(str(rows[0]["budget"])))
    for row in rows:
        match row["what"]:
            case "model":
                found.played.append(_outcome(row))
            case "base":
                found.base.append(_outcome(row))
            case "decision":
                found.decisions.append(str(row["decision"]))
    return found


def _lived(text: str) -> list[Row]:
    file = parse_scenario(text, source="examples/maze.toml")
    with tempfile.TemporaryDirectory(prefix="learn-") as home:
        settings = read_settings({"log": str(Path(home) / "aether.db")}).settings
        settings = settings.model_copy(update={"home": Path(home)})
        registry, storage = registry_of(settings), Storage.of(settings)
        with Fleet(settings) as fleet:
            orders = new_orders(file, sessions=SESSIONS)
            progress(AREA, f"{SESSIONS} sessions to learn from")
            fleet.run(orders)
            incumbent, *like = [_trained(fleet.url, registry, storage, seed) for seed in range(LIKE + 1)]
            trials = [Trial(file, candidate=candidate, incumbent=incumbent) for candidate in like]
            budget = trials[0].budget()
            rows: list[Row] = [{"what": "budget", "budget": budget}]
            rows += [_row("base", one) for one in _outcomes(fleet.url, [order.session for order in orders], budget)]
            for trial in trials:
                found = _judged(fleet, registry, trial)
                progress(AREA, f"{trial.candidate}: {found.judgement.decision}. {found.judgement.why}")
                rows.append({"what": "decision", "decision": found.judgement.decision})
                names = [trial.session(pair, arm) for pair in range(found.looks[-1].pairs) for arm in ARMS]
                rows += [_row("model", one) for one in _outcomes(fleet.url, names, budget)]
    return rows


def _trained(url: str, registry: Registry, storage: Storage, seed: int) -> ModelId:
    order = Order(name=f"seed-{seed}", kind="linear", seed=seed)
    with closing(open_log(url, mode="read")) as log:
        made = train(log, sources(log), order, registry=registry, storage=storage, watch=Watch())
    return made.kept.model


def _judged(fleet: Fleet, registry: Registry, trial: Trial) -> Evaluation:
    most = SHORT_LOOK if short() else None
    return evaluate(trial, url=fleet.url, registry=registry, run=fleet.run, design=DESIGN, most=most)


def _outcomes(url: str, sessions: Sequence[str], budget: int) -> list[Outcome]:
    with closing(open_log(url, mode="read")) as log:
        found = [first_episode(log, stream_of(name), budget=budget) for name in sessions]
    return [one.outcome for one in found if one is not None and one.outcome is not None]


def _row(what: str, outcome: Outcome) -> Row:
    return {"what": what, "steps": outcome.steps, "success": outcome.success}


def _outcome(row: Row) -> Outcome:
    return Outcome(success=bool(row["success"]), steps=int(str(row["steps"])))


Draw = Callable[[np.random.Generator], Pair]


class Simulated(NamedTuple):
    promoted_at: int | None
    """The look that promoted it."""
    pairs: int
    """Those that it took to be decided."""


def simulated(draw: Draw, *, budget: int, seed: int) -> Simulated:
    """One trial by the rule itself, on drawn outcomes; foresight is equal."""
    rng = np.random.default_rng(seed)
    pairs = [draw(rng) for _ in range(DESIGN.looks[-1])]
    for look in DESIGN.looks:
        found = judge(pairs[:look], DESIGN, look=look, budget=budget, held_out=EQUAL, seed=seed)
        if found.decision != "go_on":
            return Simulated(look if found.decision == "promote" else None, look)
    raise AssertionError("the last look decides")


def report() -> None:
    real = measure()
    promoted = [float(decision == "promote") for decision in real.decisions]
    figure("false_promotions_real", value=sum(promoted), unit=f"of {LIKE}", op="<=", samples=promoted)
    _false(real)
    for name, outcomes in (("policy", real.base), ("models", real.played)):
        _missed(name, outcomes, real.budget)


def _false(real: Real) -> None:
    """Half of the trials are the scenario's policy against itself, half a model against its like; both arms draw by
    themselves, which says less of a pair than a seed that they share, and so errs more."""
    pools = (real.base, real.played)

    def alike(outcomes: Sequence[Outcome]) -> Draw:
        def draw(rng: np.random.Generator) -> Pair:
            one, other = rng.integers(len(outcomes), size=2)
            return Pair(outcomes[one], outcomes[other])

        return draw

    each = [simulated(alike(pools[trial % 2]), budget=real.budget, seed=trial) for trial in range(TRIALS)]
    promoted = [float(one.promoted_at is not None) for one in each]
    figure("false_promotions", value=sum(promoted), unit=f"of {TRIALS}", op="<=", floor=MOST_FALSE, samples=promoted)


def _missed(name: str, outcomes: Sequence[Outcome], budget: int) -> None:
    def shorter(rng: np.random.Generator) -> Pair:
        one, other = rng.integers(len(outcomes), size=2)
        quick = round(outcomes[one].steps * SHORTER)
        return Pair(Outcome(success=quick < budget, steps=quick), outcomes[other])

    each = [simulated(shorter, budget=budget, seed=trial) for trial in range(TRIALS)]
    for look in DESIGN.looks:
        missed = [float(one.promoted_at is None or one.promoted_at > look) for one in each]
        last = "" if look == DESIGN.looks[-1] else f"_at_{look}"
        figure(f"missed_promotions_{name}{last}", value=sum(missed), unit=f"of {TRIALS}", op="<=", samples=missed)
    pairs = [float(one.pairs) for one in each]
    figure(f"pairs_to_promote_{name}", value=float(np.mean(pairs)), unit="pairs", op="<=", samples=pairs)
