"""Aetherloop's public API: run sessions, replay and rerun them, open their log, ask what stands in it.

    from aetherloop import open_log, query, replay, rerun, run

Importing it loads neither Ray nor torch; each function loads what it needs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from telemetry.log import EventLog, open_log

if TYPE_CHECKING:
    from runtime.replay import ReplayReport
    from runtime.rerun.values import RerunReport
    from runtime.run import RunResult
    from runtime.telemetry.query import QueryResult

__all__ = ["EventLog", "open_log", "query", "replay", "rerun", "run"]


def run(
    scenario: str | Path,
    *,
    sessions: int | None = None,
    cycles: int | None = None,
    seed: int | None = None,
    log: str | None = None,
    address: str | None = None,
) -> RunResult:
    """Runs the sessions of a scenario file on Ray and returns their rows and a summary.

    What is left out comes from the scenario, and for `log` and `address` from the settings of this machine.
    Raises the errors of `runtime.errors`, `loops.errors` and `telemetry.errors`; what was recorded is kept."""
    from runtime.run import check_scenario, new_orders, run_orders
    from runtime.scenario import read_scenario
    from runtime.settings import read_settings

    settings = read_settings({"log": log, "address": address}).settings
    file = read_scenario(Path(scenario))
    check_scenario(file, settings)
    orders = new_orders(file, sessions=sessions, cycles=cycles, seed=seed)
    return run_orders(settings, orders, watch=lambda _: None)


def replay(session: str, *, log: str | EventLog, to: int | None = None) -> ReplayReport:
    """Folds a session's record up to version `to` and compares it with its recorded state hashes.

    Raises `NotFound` when `log` has no such session."""
    from runtime.replay import replay as fold

    if not isinstance(log, str):
        return fold(log, session, to=to)
    opened = open_log(log, mode="read")
    try:
        return fold(opened, session, to=to)
    finally:
        opened.close()


def rerun(
    *sessions: str,
    log: str | EventLog,
    reasoner: str | Path | None = None,
    heart: str | Path | None = None,
    world_model: str | Path | None = None,
    cycles: int | None = None,
    live: bool = False,
) -> RerunReport:
    """What another policy would have decided in the recorded situations of `sessions`, of all when none is named.

    An organ that is given replaces the session's own: by the name of a kind, by a TOML file that is a scenario or holds
    the organ's table, or a world model by the name or folder of a trained one. No tool and no simulator is called, and
    no model unless `live`. Raises `NotFound` for a session that `log` does not have, `UsageError` for what cannot be
    meant or does not fit a session."""
    from runtime.models.registry.store import registry_of
    from runtime.rerun.many import chosen
    from runtime.rerun.many import rerun as compare
    from runtime.rerun.policy import read_policy
    from runtime.settings import read_settings

    given = {"reasoner": reasoner, "heart": heart, "world_model": world_model}
    replaced = {organ: str(what) for organ, what in given.items() if what is not None}
    settings = read_settings().settings
    policy = read_policy(replaced, live=live, models=settings.model_defaults, registry=registry_of(settings))
    opened = open_log(log, mode="read") if isinstance(log, str) else log
    try:
        return compare(opened, sessions or chosen(opened), policy, cycles=cycles)
    finally:
        if opened is not log:
            opened.close()


def query(
    sql: str,
    *,
    parameters: Mapping[str, str | int | float | bool | date | datetime | None] | None = None,
    log: str | EventLog | None = None,
    traces: str | Path | None = None,
    as_of: int | None = None,
    memory: str | int | None = None,
) -> QueryResult:
    """Answers one SELECT over the views of a log (`aether trace query --list`), or the saved query of that name.

    Views hold what lies in Parquet in `traces`, a folder or fsspec URL (`LOG.traces` when left out, if there), and what
    came onto the log since. `parameters` are values of the query's `$name`; `as_of` is a position of the log that it is
    answered as of; `memory`, such as "4GB", what it may take. The result gives `.arrow()`, `.pandas()`, `.polars()`,
    or `.batches()` as they are found.

    Raises `InvalidQuery`, `QueryRefused` for what is not one SELECT over the views, and `QueryTooLarge`."""
    from runtime.telemetry.query import query as ask

    return ask(sql, parameters=parameters, log=log, traces=traces, as_of=as_of, memory=memory)
