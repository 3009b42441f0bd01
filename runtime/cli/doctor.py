"""`aether doctor`: what is installed, what is set and by whom, and whether the log can be used."""

from __future__ import annotations

import os
import platform
import shutil
import sqlite3
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated

import typer

from runtime.cli.output import Json, LogUrl, command, document

LIBRARIES = (
    "ray",
    "torch",
    "numpy",
    "pydantic",
    "safetensors",
    "scipy",
    "matplotlib",
    "qdrant-edge-py",
    "qdrant-client",
    "openai",
    "mcp",
    "psycopg",
    "aiohttp",
    "sqlmodel",
    "opentelemetry-sdk",
    "gymnasium",
    "gymnasium-robotics",
    "minigrid",
)


@command
def doctor(
    log: LogUrl = None,
    address: Annotated[str | None, typer.Option(metavar="ADDRESS", help="Ray cluster to attach to.")] = None,
    as_json: Json = False,
) -> None:
    """Print each setting with where it came from, the versions in use, and the state of the log.

    Example: aether doctor
    """
    from loops.environments.tools.isolation import isolation
    from runtime import __version__
    from runtime.models.registry.urls import shown as models_shown
    from runtime.settings import flat, log_url, read_settings, secret
    from telemetry.log import shown

    resolved = read_settings({"log": log, "address": address})
    hiding = {"models": models_shown, "telemetry.otlp": models_shown, "telemetry.parquet": models_shown}
    settings = {
        name: {"value": hiding.get(name, shown)(str(value)), "from": resolved.sources[name]}
        for name, value in flat(resolved.settings.model_dump()).items()
    }
    url = log_url(resolved.settings)
    report: dict[str, dict[str, object]] = {
        "machine": {
            "python": platform.python_version(),
            "system": platform.platform(),
            "cpus": os.cpu_count(),
            "sqlite": sqlite3.sqlite_version,
            "aetherloop": __version__,
            "sandbox": isolation().words,
            "OPENAI_API_KEY": "set" if secret("OPENAI_API_KEY") else "not set",
        },
        "libraries": {name: _version(name) for name in LIBRARIES},
        "settings": dict(settings),
        "log": _log(url),
    }
    if as_json:
        document(report)
        return
    for part, values in report.items():
        typer.echo(part)
        for name, value in values.items():
            text = f"{value['value']}  ({value['from']})" if isinstance(value, dict) else value
            typer.echo(f"  {name:<20} {text}")


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "missing"


def _log(url: str) -> dict[str, object]:
    """How the log stands: there or not, its last position, who writes it, the room left beside a file."""
    from telemetry.errors import LogError
    from telemetry.log import is_postgres, open_log, shown

    found: dict[str, object] = {"url": shown(url)}
    if not is_postgres(url):
        folder = next((p for p in Path(url).parents if p.exists()), Path("/"))
        found["free_mib"] = shutil.disk_usage(folder).free // 2**20
    try:
        log = open_log(url, mode="read")
    except LogError as error:
        return {**found, "state": str(error)}
    try:
        return {
            **found,
            "state": "readable",
            "position": log.position(),
            "size_mib": round(log.size_bytes() / 2**20, 1),
            "writer": ", ".join(log.writers()) or "nobody",
        }
    finally:
        log.close()
