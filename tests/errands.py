"""A conversation that does one errand: the scenario, and a model that knows nothing but the messages it is sent."""

from __future__ import annotations

import json
from typing import Any

from aiohttp import web

from tests.model_server import call, calls, says

SCENARIO = """
name = "errands"
[environment]
id = "tools:"
[environment.tools]
modules = ["tests.till"]
[reasoner]
kind = "language"
[reasoner.language.endpoints.main]
model = "test-model"
base_url = "{url}"
[conversation]
messages = ["{errand}"]
[world_model]
kind = "none"
[memory]
recall = 0
"""

ERRANDS: dict[str, tuple[dict[str, Any], ...]] = {
    "pay": ({"to": "bob", "amount": 3},),
    "pay twice": ({"to": "bob", "amount": 3}, {"to": "eve", "amount": 4}),
    "ship": ({"item": "tea"},),
    "book": ({"seat": "12a"},),
    "post": ({"text": "hello"},),
}
"""What the person says, and the arguments of the calls that it leads to; its first word is the tool."""


async def policy(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    """Does the errand that the last message names, once, then says so."""
    told = body["messages"]
    if told[-1]["role"] != "user":
        return await says("Done.")(request, body)
    errand = told[-1]["content"]
    tool = errand.split()[0]
    wire = [call(tool, json.dumps(a), call_id=f"{tool}{i}") for i, a in enumerate(ERRANDS[errand])]
    return await calls(*wire)(request, body)
