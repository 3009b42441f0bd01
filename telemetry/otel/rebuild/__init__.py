"""The way back in: a log out of the records that were exported from it.

reading    log records out of OTLP files, whoever wrote them
spool      records put into order on disk, each once
history    which of them make one history of a stream, and how far it can be taken
steps      these one after the other, into a log"""

from __future__ import annotations

from telemetry.otel.rebuild.history import Rebuilt
from telemetry.otel.rebuild.steps import rebuild

__all__ = ["Rebuilt", "rebuild"]
