"""A server of the protocol's 2025 revision over HTTP, which keeps sessions and can forget them: `forgetful.py FOLDER`.

With `forget` in FOLDER it forgets every session it had, as a restart would, and answers their calls with 404."""

from __future__ import annotations

import json
import sys
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

FOLDER = Path(sys.argv[1])
SESSIONS: set[str | None] = set()
TOOLS = [{"name": "count", "inputSchema": {"type": "object"}}]


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if (FOLDER / "forget").exists():
            (FOLDER / "forget").unlink()
            SESSIONS.clear()
        if asked["method"] == "initialize":
            session = uuid.uuid4().hex
            SESSIONS.add(session)
            info = {"name": "forgetful", "version": "1"}
            hello = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": info}
            self._answer(200, asked, {"result": hello}, session)
        elif self.headers["Mcp-Session-Id"] not in SESSIONS:
            self._answer(404, asked, {"error": {"code": -32600, "message": "Session not found"}})
        elif "id" not in asked:
            self._answer(202, None, {})
        elif asked["method"] == "tools/list":
            self._answer(200, asked, {"result": {"tools": TOOLS}})
        else:
            self._answer(200, asked, {"result": {"content": [{"type": "text", "text": str(len(SESSIONS))}]}})

    def do_GET(self) -> None:
        self._answer(405, None, {})

    def do_DELETE(self) -> None:
        self._answer(405, None, {})

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  named by the base class
        pass

    def _answer(self, status: int, asked: dict[str, Any] | None, says: dict[str, Any], session: str = "") -> None:
        body = b"" if asked is None else json.dumps({"jsonrpc": "2.0", "id": asked.get("id"), **says}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if session:
            self.send_header("Mcp-Session-Id", session)
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    (FOLDER / "port").write_text(str(server.server_port))
    server.serve_forever()
