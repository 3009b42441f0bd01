"""Settings of this machine: defaults < aether.toml < AETHER_* < flags. Read once, then frozen.

The only place that reads the environment. Invariant: `Settings` is whole and checked before anything is started."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Collection
from pathlib import Path

from platformdirs import user_data_path
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from loops.reasoners.language.settings import ModelDefaults, Price
from runtime.errors import UsageError
from runtime.explain import explain_validation, nearest

PREFIX = "AETHER_"
FILE = "aether.toml"
BORROWED = {
    "RAY_ADDRESS": "address",
    "OPENAI_BASE_URL": "openai_base_url",
    "OTEL_METRICS_EXPORTER": "metrics",
    "OTEL_EXPORTER_PROMETHEUS_HOST": "prometheus_host",
    "OTEL_EXPORTER_PROMETHEUS_PORT": "prometheus_port",
}
"""Variables of others that mean a setting of ours; the one with our prefix comes before them."""
UPLOAD_MARK = "working_dir_files"
"""A folder in the path of every working directory that Ray uploads, and deletes with its job."""


class Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    home: Path = Field(default_factory=lambda: user_data_path("aetherloop"))
    """Where logs lie that are named by no absolute path, and trained models that are named by no folder."""
    models: str | None = None
    """Folder or URL (`s3://`, `gs://`, `file://`, and what else fsspec has a driver for) that trained models are kept
    in; `models` in `home` when there is none. Models at a URL are fetched to that folder when they are needed."""
    log: str | None = None
    """URL or path of the log; `aether.db` in `home` when there is none."""
    address: str | None = None
    """Ray cluster to attach to; a local one is started when there is none."""
    hosts: int | None = Field(default=None, ge=1)
    """Session hosts that a run spreads its sessions over. Left out: one on SQLite; on PostgreSQL as many as the cluster
    has CPUs for, with the pools that each starts, and no more than sessions."""
    host_cpus: float = Field(default=1, ge=0)
    """CPUs each session host asks Ray for."""
    max_sessions: int = Field(default=2000, ge=1)
    """Sessions a host runs at once; a further one is answered with back-pressure."""
    disk_patience_s: float = Field(default=30, ge=0)
    """How long a session waits for room on the disk before it stops."""
    growth_patience_s: float = Field(default=0, ge=0)
    """How long a pool waits for an autoscaling cluster to bring CPUs or GPUs that it does not have yet."""
    idle_patience_s: float = Field(default=300, ge=0)
    """How long a session that waits for people is kept in memory while nobody watches it or speaks to it. Then it
    rests on the log, and is revived from there when somebody does."""
    training: str | None = None
    """Folder or URL where a training keeps its states until it has ended, so that it can go on; every machine with a
    worker must reach it. `training` in `home` when there is none."""
    metrics: str = "none"
    """Where metrics of sessions and trainings go: none, console (stderr), otlp, prometheus, or several with commas
    between. The standard OTEL_ variables say the rest, such as OTEL_EXPORTER_OTLP_ENDPOINT."""
    prometheus_host: str = "localhost"
    """Address that Prometheus finds metrics at; whoever can reach it can read them."""
    prometheus_port: int = Field(default=9464, ge=0, le=65535)
    """Port of it; 0 takes a free one, which is told."""
    model: str | None = None
    """Language model of endpoints whose scenario names none."""
    openai_base_url: str = "https://api.openai.com/v1"
    """Address of endpoints whose scenario names none, up to and with `/v1`."""
    prices: dict[str, Price] = {}
    """What models cost, by their names; a model that is not in it costs nothing."""

    @property
    def prometheus(self) -> tuple[str, int]:
        """Where metrics are served, if they are."""
        return self.prometheus_host, self.prometheus_port

    @property
    def model_defaults(self) -> ModelDefaults:
        return ModelDefaults(base_url=self.openai_base_url, model=self.model, prices=self.prices)


class Resolved:
    """The settings and, for each, where its value came from."""

    def __init__(self, settings: Settings, sources: dict[str, str]) -> None:
        self.settings = settings
        self.sources = sources


def read_settings(flags: dict[str, object] | None = None, *, folder: Path | None = None) -> Resolved:
    """Raises `UsageError` for an unknown or invalid setting, with where it stands and the nearest name."""
    known = tuple(Settings.model_fields)
    file = (folder or Path.cwd()) / FILE
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    try:
        from_file = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{file} is not TOML: {error}") from error
    from_env = {name.removeprefix(PREFIX).lower(): value for name, value in os.environ.items() if _ours(name)}
    for name in from_env.keys() - set(known):
        raise UsageError(f"environment variable {PREFIX}{name.upper()} is no setting{nearest(name, known)}")
    for name, setting in BORROWED.items():
        if name in os.environ:
            from_env.setdefault(setting, os.environ[name])
    given = {name: value for name, value in (flags or {}).items() if value is not None}
    try:
        Settings.model_validate(from_file)
    except ValidationError as error:
        raise UsageError(explain_validation(error, Settings, text=text, source=str(file))) from error
    try:
        settings = Settings.model_validate({**from_file, **from_env, **given})
    except ValidationError as error:
        raise UsageError("\n".join(_say(str(p["loc"][0]), p["msg"], given) for p in error.errors())) from error
    sources = dict.fromkeys(known, "default")
    for origin, values in ((str(file), from_file), ("environment", from_env), ("flag", given)):
        sources |= dict.fromkeys(values, origin)
    return Resolved(settings, sources)


def _say(name: str, message: str, flags: Collection[str]) -> str:
    """What is wrong with a setting that did not come from the file."""
    origin = f"--{name.replace('_', '-')}" if name in flags else f"environment variable {PREFIX}{name.upper()}"
    return f"{origin}: {message}"


def _ours(name: str) -> bool:
    return name.startswith(PREFIX) and not name.startswith(f"{PREFIX}REQUIRE_")


def secret(name: str) -> str | None:
    """A secret of this process, such as an endpoint's key; None where it is not set. Never for an event or a log."""
    return os.environ.get(name)


def in_upload(path: Path) -> bool:
    """Whether `path` lies in a working directory that Ray uploaded and will delete."""
    return UPLOAD_MARK in path.parts


def log_url(settings: Settings) -> str:
    """Absolute path or URL of the log. Raises `UsageError` for one that Ray would delete with the job's upload."""
    wanted = settings.log
    if wanted is None:
        return str(settings.home.expanduser() / "aether.db")
    if "://" in wanted and not wanted.startswith("sqlite:///"):
        return wanted
    path = Path(wanted.removeprefix("sqlite:///")).expanduser()
    here = Path.cwd()
    if in_upload(here / path):
        raise UsageError(
            f"the log {wanted!r} would lie in this job's upload ({here}), which Ray deletes with the job. "
            f"Leave --log out for {settings.home / 'aether.db'}, or give an absolute path outside the upload"
        )
    return str(here / path)
