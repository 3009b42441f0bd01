"""Where in a TOML file a key stands, and which known name is near it."""

from __future__ import annotations

import pytest

from runtime.explain import line_of, nearest

TEXT = """# a comment with key = "value"
name = "x"
"quoted" = 1

[environment]
id = "null:"   # [not.a.table]
options = { size = 5 }
[environment.options]
"deep key" = 1

[[heart.rules]]
id = "a"
[heart.rules.region]
of = "image"
[[heart.rules]]
id = "b"
region.low = 3
[pools.fast]
cpus = 2
"""


@pytest.mark.parametrize(
    ("location", "line"),
    [
        (("name",), 2),
        (("quoted",), 3),
        (("environment",), 5),
        (("environment", "id"), 6),
        (("environment", "missing"), 5),
        (("environment", "options", "deep key"), 9),
        (("heart", "rules", 0, "id"), 12),
        (("heart", "rules", 0, "region", "of"), 14),
        (("heart", "rules", 1, "id"), 16),
        (("heart", "rules", 1, "region", "low"), 17),
        (("pools", "fast", "cpus"), 19),
        (("nowhere",), 1),
        ((), 1),
    ],
)
def test_a_location_is_the_line_of_its_key_or_of_the_table_around_it(
    location: tuple[str | int, ...], line: int
) -> None:
    assert line_of(TEXT, location) == line


def test_the_nearest_name_is_offered_or_else_all_of_them() -> None:
    assert nearest("recal", ("recall", "when")) == "; did you mean 'recall'?"
    assert nearest("zzz", ("when", "recall")) == "; known here: recall, when"
