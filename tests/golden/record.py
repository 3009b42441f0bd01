"""Records the golden logs of this folder: `python -m tests.golden.record [NAME]`.

A golden log is never recorded again because a test fails: it is what a released version wrote, and what every
later version must read to the same state. Record one when a new shape of event is released, beside the old."""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import closing
from pathlib import Path

from examples.refund.endpoint import running
from memory.project import EpisodeProjection
from runtime.recall import HostMemory
from telemetry.log import open_log
from telemetry.log.export import export_lines
from tests.local import Local

GOLDEN = Path(__file__).parent
EXAMPLES = GOLDEN.parents[1] / "examples"
RUNS = {"maze": (7, 6), "lava": (11, 5), "refund": (3, 20)}
"""Seed and cycles of each."""
ENDPOINT = """
[reasoner.language.endpoints.main]
model = "scripted"
base_url = "{url}"
"""


def record(name: str) -> None:
    """Runs the example `name` for a few cycles and writes its log as `aether log export` does."""
    seed, cycles = RUNS[name]
    text = (EXAMPLES / f"{name}.toml").read_text(encoding="utf-8")
    text = text.replace('when = "surprise"', 'when = "always"')
    with (
        tempfile.TemporaryDirectory() as folder,
        closing(open_log(Path(folder) / "log.db")) as log,
        running() as endpoint,
    ):
        if name == "refund":
            os.environ["SHOP_DB"] = str(Path(folder) / "shop.db")
            text = text.replace("[world_model]", f"{ENDPOINT.format(url=endpoint.url)}\n[world_model]")
            text = text.replace("above = 100 ", "above = 1000 ")
        with closing(HostMemory(EpisodeProjection(log, folder=Path(folder) / "memory"))) as memory:
            local = Local(log)
            local.run(name, text, seed=seed, cycles=cycles, memory=memory)
            local.close()
        (GOLDEN / f"{name}.jsonl").write_bytes(b"".join(export_lines(log.read(f"session/{name}"))))


if __name__ == "__main__":
    for chosen in sys.argv[1:] or RUNS:
        record(chosen)
