"""Questions to a log, answered whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from telemetry.log import EventLog
from telemetry.query.engine import Limits, ask
from telemetry.query.statement import Scalar


def told(
    log: EventLog,
    sql: str,
    parameters: Mapping[str, Scalar] | None = None,
    *,
    traces: str | None = None,
    as_of: int | None = None,
    limits: Limits | None = None,
) -> list[dict[str, Any]]:
    with ask(log, sql, parameters, traces=traces, as_of=as_of, limits=limits) as answer:
        rows: list[dict[str, Any]] = answer.read().to_pylist()
        return rows
