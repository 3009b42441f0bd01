"""A server that says on stdio what it is told to, whether the protocol allows it or not: `spoken.py JSON`, an object
with the `pages` of its tool list, the `result` of every call and a `banner` it writes where only messages belong.

It is written without the SDK, which would not let it lie."""

from __future__ import annotations

import json
import sys
from typing import Any

SAYS: dict[str, Any] = json.loads(sys.argv[1])
HELLO = {
    "protocolVersion": "2025-11-25",
    "capabilities": {"tools": {}},
    "serverInfo": {"name": "spoken", "version": "1"},
}


def answer(method: str, params: dict[str, Any]) -> dict[str, Any]:
    if method == "initialize":
        return {"result": HELLO}
    if method == "tools/list":
        page = int(params.get("cursor", 0))
        pages = SAYS["pages"]
        more = {"nextCursor": str(page + 1)} if page + 1 < len(pages) or SAYS.get("endless") else {}
        return {"result": {"tools": pages[min(page, len(pages) - 1)], **more}}
    if method == "tools/call":
        return {"result": SAYS["result"]}
    return {"error": {"code": -32601, "message": f"no method {method}"}}


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


for banner in SAYS.get("banner", []):
    say(banner)
for line in sys.stdin:
    asked = json.loads(line)
    if "id" in asked:
        said = {"jsonrpc": "2.0", "id": asked["id"], **answer(asked["method"], asked.get("params", {}))}
        say(json.dumps(said))
