"""Measurements: each prints one JSON line a figure and leaves the same line in build/bench.jsonl.

`report` writes the lines, `render` makes docs/benchmarks.md of them, every other module measures one
area: beside its peer, in one run, interleaved, and as a ratio. A benchmark exits 0 whether
a floor is met or not."""
