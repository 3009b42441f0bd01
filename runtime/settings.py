"""Settings of this machine: defaults < aether.toml < AETHER_* < flags. Read once, then frozen.

The only place that reads the environment. Invariant: `Settings` is whole and checked before anything is started."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Literal

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
    "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL": "metrics_protocol",
    "OTEL_EXPORTER_OTLP_PROTOCOL": "metrics_protocol",
    "OTEL_EXPORTER_PROMETHEUS_HOST": "prometheus_host",
    "OTEL_EXPORTER_PROMETHEUS_PORT": "prometheus_port",
    "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "telemetry.content",
}
"""Variables of others that mean a setting of ours; the one with our prefix comes before them."""
TABLES = ("telemetry",)
"""Settings that stand in a table of the file, and whose variables begin with its name: AETHER_TELEMETRY_OTLP."""
UPLOAD_MARK = "working_dir_files"
"""A folder in the path of every working directory that Ray uploads, and deletes with its job."""


class Telemetry(BaseModel):
    """What goes out beside the sessions of a run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    otlp: str | None = None
    """Collector that events go to while sessions run: `http://machine:4318`, or `grpc://machine:4317` (`https` and
    `grpcs` under TLS). Its headers are those of OTEL_EXPORTER_OTLP_HEADERS, which is read where they are sent and
    nowhere else."""
    file: Path | None = None
    """Folder that they go to as OTLP files, beside a collector or alone."""
    spans: bool = True
    """Whether events go out as spans."""
    record: Literal["stored", "digest", "none"] | None = None
    """How each event goes out as a log record: with its stored bytes, with their digest, or not at all. Left out:
    stored to files, digest to a collector."""
    content: str = ""
    """What of messages spans hold, in the words of OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT. Left out:
    digests and references, no text."""
    interval_s: float = Field(default=1.0, ge=0, le=10)
    """At the log's end, how far apart requests are at least: what comes meanwhile goes along."""
    max_bytes: int = Field(default=4_000_000, ge=10_000)
    """Largest request that the collector takes, before compression. An event above it goes by reference."""
    parquet: str | None = None
    """Folder or URL (`s3://`, and what else fsspec has a driver for) that rows for queries are kept in while sessions
    run, of one log; `beside`: in the folder beside the log. Queries look there."""

    @property
    def starts(self) -> bool:
        """Whether anything is to run beside the sessions."""
        return self.otlp is not None or self.file is not None or self.parquet is not None


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
    metrics_protocol: str = "http/protobuf"
    """What metrics go by over OTLP: that, or grpc."""
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

    telemetry: Telemetry = Telemetry()
    queries: Path | None = None
    """Folder of saved queries, one a file `NAME.sql`; `queries` in `home` when there is none."""
    query_memory: str = "1GiB"
    """How much memory a query may take; what does not fit is put aside on disk while it runs, or refused."""

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
    known = tuple(flat(Settings().model_dump()))
    file = (folder or Path.cwd()) / FILE
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    try:
        from_file = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{file} is not TOML: {error}") from error
    from_env = _variables(known)
    given = {name: value for name, value in (flags or {}).items() if value is not None}
    try:
        Settings.model_validate(from_file)
    except ValidationError as error:
        raise UsageError(explain_validation(error, Settings, text=text, source=str(file))) from error
    origins: tuple[tuple[str, dict[str, object]], ...] = (
        (str(file), flat(from_file)),
        ("environment", from_env),
        ("flag", given),
    )
    sources, values = dict.fromkeys(known, "default"), dict[str, object]()
    for origin, said in origins:
        sources |= dict.fromkeys(said, origin)
        values |= said
    try:
        settings = Settings.model_validate(_in_tables(values))
    except ValidationError as error:
        raise UsageError("\n".join(_say(_name(p["loc"]), p["msg"], given) for p in error.errors())) from error
    return Resolved(settings, sources)


def flat(values: Mapping[str, object]) -> dict[str, object]:
    """Settings by their names, those of a table as `telemetry.otlp`."""
    found: dict[str, object] = {}
    for name, value in values.items():
        if name in TABLES and isinstance(value, Mapping):
            found |= {f"{name}.{inner}": one for inner, one in value.items()}
        else:
            found[name] = value
    return found


def _in_tables(values: Mapping[str, object]) -> dict[str, object]:
    """What `flat` makes names of, again."""
    found: dict[str, object] = {}
    tables: dict[str, dict[str, object]] = {}
    for name, value in values.items():
        table, dot, inner = name.partition(".")
        if dot:
            tables.setdefault(table, {})[inner] = value
        else:
            found[name] = value
    return {**found, **tables}


def _variables(known: Collection[str]) -> dict[str, object]:
    """What the environment says. Raises `UsageError` for a variable of ours that is no setting."""
    names = {name.replace(".", "_"): name for name in known}
    found: dict[str, object] = {}
    for variable, value in os.environ.items():
        if _ours(variable):
            name = variable.removeprefix(PREFIX).lower()
            if name not in names:
                raise UsageError(f"environment variable {variable} is no setting{nearest(name, tuple(names))}")
            found[names[name]] = value
    for variable, name in BORROWED.items():
        if variable in os.environ:
            found.setdefault(name, os.environ[variable])
    return found


def _name(location: Sequence[str | int]) -> str:
    return ".".join(map(str, location[: 2 if location[0] in TABLES else 1]))


def _say(name: str, message: str, flags: Collection[str]) -> str:
    """What is wrong with a setting that did not come from the file."""
    variable = PREFIX + name.replace(".", "_").upper()
    origin = f"--{name.replace('_', '-')}" if name in flags else f"environment variable {variable}"
    return f"{origin}: {message}"


def _ours(name: str) -> bool:
    return name.startswith(PREFIX) and not name.startswith(f"{PREFIX}REQUIRE_")


def secret(name: str) -> str | None:
    """A secret of this process, such as an endpoint's key; None where it is not set. Never for an event or a log."""
    return os.environ.get(name)


def standard_variables() -> dict[str, str]:
    """OpenTelemetry's, which its SDK reads by itself, for a process that may have others. Never for an event or a log:
    headers are among them."""
    return {name: value for name, value in os.environ.items() if name.startswith("OTEL_")}


def take_variables(variables: Mapping[str, str]) -> None:
    """In the process that they are for, before the SDK reads them."""
    os.environ.update(variables)


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
