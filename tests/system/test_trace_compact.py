"""`aether trace compact` on traces that lie beside a log."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

from telemetry.log import open_log
from telemetry.query.traces.place import place_of
from telemetry.query.traces.writer import Traces
from tests.aether import Aether
from tests.in_turns import golden
from tests.kept_rows import assert_kept


def test_small_files_become_large_ones_with_the_same_rows(aether: Aether, tmp_path: Path) -> None:
    path, traces = tmp_path / "log.db", tmp_path / "log.db.traces"
    with closing(open_log(path)) as log:
        for start in range(0, 60, 20):
            log.restore(golden("refund")[start : start + 20]).result()
            with Traces(log, traces) as kept:
                kept.drain(to=log.position())
        ran = aether("trace", "compact", "--log", str(path), "--json")
        done = json.loads(ran.out)
        assert (ran.code, done["traces"], done["removed"]) == (0, str(traces), 0)
        assert done["before"] > done["after"]
        assert assert_kept(place_of(traces), log) == 60
    again = aether("trace", "compact", "--traces", str(traces))
    assert (again.code, again.out) == (0, f"{done['after']} files are {done['after']}; 0 removed\n")


def test_where_no_traces_are_is_exit_2_with_what_to_do(aether: Aether, tmp_path: Path) -> None:
    ran = aether("trace", "compact", "--traces", str(tmp_path / "nothing"))
    assert ran.code == 2
    assert "Try: aether trace export --parquet" in ran.err
