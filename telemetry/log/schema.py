"""The tables, described once. Imported when a log is made and by those who query with SQLModel, never on the
append or read path: importing SQLModel takes longer than opening a log.

Invariant: the columns of `EventRow` are `rows.COLUMNS`, in that order."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Integer, LargeBinary, String, Text, UniqueConstraint
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Dialect
from sqlalchemy.schema import CreateTable
from sqlmodel import Field, SQLModel

TEXT = String().with_variant(Text(collation="C"), "postgresql")
"""In the order of its UTF-8 bytes, as SQLite has it and `heads` promises."""


def _integer(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False)


def _text(name: str) -> Column[str]:
    return Column(name, TEXT, nullable=False)


def _bytes(name: str, length: int | None = None) -> Column[bytes]:
    return Column(name, LargeBinary(length), nullable=False)


class EventRow(SQLModel, table=True):
    """One event. `position` is SQLite's own row number, so the table lies on disk in commit order."""

    __tablename__ = "events"
    __table_args__ = (UniqueConstraint("stream", "version"), UniqueConstraint("stream", "command", "ordinal"))

    position: int = Field(
        sa_column=Column(
            "position", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False
        )
    )
    stream: str = Field(sa_column=_text("stream"))
    version: int = Field(sa_column=_integer("version"))
    type: str = Field(sa_column=_text("type"))
    schema_number: int = Field(sa_column=_integer("schema"))
    command: str = Field(sa_column=_text("command"))
    ordinal: int = Field(sa_column=_integer("ordinal"))
    at: int = Field(sa_column=_integer("at"))
    elapsed_ns: int = Field(sa_column=_integer("elapsed_ns"))
    epoch: int = Field(sa_column=_integer("epoch"))
    cycle: int = Field(sa_column=_integer("cycle"))
    phase: str = Field(sa_column=_text("phase"))
    cause: str = Field(sa_column=_text("cause"))
    refs: str = Field(sa_column=_text("refs"))
    mode: str = Field(sa_column=_text("mode"))
    encoding: str = Field(sa_column=_text("encoding"))
    keys: str = Field(sa_column=_text("keys"))
    payload: bytes = Field(sa_column=_bytes("payload"))
    digest: bytes = Field(sa_column=_bytes("digest", 32))
    hash: bytes = Field(sa_column=_bytes("hash", 32))


class LogRow(SQLModel, table=True):
    """The one row that says that this is a log, which one, and of which format."""

    __tablename__ = "log"

    id: str = Field(sa_column=Column("id", TEXT, primary_key=True))
    format: int = Field(sa_column=_integer("format"))


class BlobRow(SQLModel, table=True):
    """Content by its SHA-256 in hexadecimal. On PostgreSQL only; beside a SQLite file it lies in files."""

    __tablename__ = "blobs"

    digest: str = Field(sa_column=Column("digest", TEXT, primary_key=True))
    content: bytes = Field(sa_column=_bytes("content"))


class SnapshotRow(SQLModel, table=True):
    """What stood at a version of a stream. On PostgreSQL only; beside a SQLite file it lies in files."""

    __tablename__ = "snapshots"

    stream: str = Field(sa_column=Column("stream", TEXT, primary_key=True))
    version: int = Field(sa_column=Column("version", BigInteger, primary_key=True, autoincrement=False))
    content: bytes = Field(sa_column=_bytes("content"))


def sqlite_ddl() -> tuple[str, ...]:
    """The statements that make an empty log."""
    dialect = sqlite.dialect()
    return _ddl(dialect, "log", "events")


def postgres_ddl() -> tuple[str, ...]:
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy's
    return _ddl(dialect, "log", "events", "blobs", "snapshots")


def _ddl(dialect: Dialect, *names: str) -> tuple[str, ...]:
    tables = SQLModel.metadata.tables
    return tuple(str(CreateTable(tables[name]).compile(dialect=dialect)) for name in names)
