"""After payloads came that had been withheld: what was made of the log without them.

Knows which projections a log has. Invariant: what lies beside the log is made anew when somebody next asks for it; what
went elsewhere is left alone, and named."""

from __future__ import annotations

from runtime.ledger import Sessions
from runtime.settings import read_settings
from runtime.telemetry.traces import traces_url
from telemetry.log import EventLog
from telemetry.log.projection.project import place_of
from telemetry.otel.measures.fold import Measures


def make_anew(log: EventLog) -> str:
    """Throws the rows away, and says what else was made without the payloads."""
    for name in (Sessions.name, Measures.name):
        place = place_of(log, name)
        place.discard()
        place.close()
    traces = traces_url(log, read_settings().settings)
    return (
        "What went out before, and traces kept in Parquet, were made without these payloads. Remove "
        f"{traces} if it is there, and the cursors of exports that are to go out again"
    )
