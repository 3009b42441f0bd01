"""A tool that calls itself keyed and does not know a key again, over the ledger file that TILL names."""

from __future__ import annotations

import os
from pathlib import Path

from loops.environments.tools import EffectKey, tool


@tool(effect="keyed")
def pay(to: str, amount: float, key: EffectKey) -> str:
    """Pay somebody, once more at every call."""
    with Path(os.environ["TILL"]).open("a", encoding="utf-8") as file:
        file.write(f"pay {to} {amount:g} {key}\n")
    return f"paid {to}"
