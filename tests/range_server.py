"""A web server on this machine that serves byte ranges, counts them, and can misbehave on request."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread


class RangeServer(ThreadingHTTPServer):
    """Serves the files below ``root``.

    Attributes:
        sent: bytes of content sent per path.
        requests: every request as (method, path).
        faults: list of [pattern of the path, fault, how many requests it still strikes, first byte from
            which on it strikes]; faults are a status such as 500, "cut" (half the promised bytes), "slow", "html" (redirect to a page),
            "whole" (ranges ignored).
        delay: seconds a "slow" answer takes.
    """

    daemon_threads = True

    def __init__(self, root: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.root = root
        self.sent: Counter[str] = Counter()
        self.requests: list[tuple[str, str]] = []
        self.faults: list[list] = []
        self.delay = 3.0
        self.lock = Lock()

    @property
    def url(self) -> str:
        """Base address, without a slash at the end."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def strike(self, path: str, first: int) -> object | None:
        """Return the fault that strikes a request from byte ``first`` on, if any, and count it down."""
        with self.lock:
            for fault in self.faults:
                if re.search(fault[0], path) and fault[2] > 0 and first >= fault[3]:
                    fault[2] -= 1
                    return fault[1]
        return None

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that hang up are no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: RangeServer

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.lstrip("/")
        with self.server.lock:
            self.server.requests.append((self.command, path))
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        fault = self.server.strike(path, int(asked[1]) if asked else 0)
        if path == "login":
            return self._answer(
                200, b"<html><body>Please log in</body></html>", {"Content-Type": "text/html"}
            )
        if fault == "html":
            return self._answer(302, b"", {"Location": "/login"})
        if isinstance(fault, int):
            return self._answer(fault, b"trouble", {})
        file = self.server.root / path
        if not file.is_file():
            return self._answer(404, b"no such key", {})
        if fault == "slow":
            time.sleep(self.server.delay)
        return self._file(path, file.read_bytes(), fault, asked)

    def _file(self, path: str, content: bytes, fault: object, asked: re.Match | None) -> None:
        kind = {"Content-Type": "image/tiff", "Accept-Ranges": "bytes"}
        if asked is None or fault == "whole":
            part, status = content, 200
        else:
            first, last = int(asked[1]), min(int(asked[2] or len(content)), len(content) - 1)
            if first >= len(content):
                return self._answer(416, b"", {"Content-Range": f"bytes */{len(content)}"})
            part, status = content[first : last + 1], 206
            kind["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
        with self.server.lock:
            self.server.sent[path] += len(part) if self.command == "GET" else 0
        return self._answer(status, part, kind, cut=fault == "cut")

    def _answer(self, status: int, body: bytes, headers: dict[str, str], cut: bool = False) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body[: len(body) // 2] if cut else body)
        if cut:
            self.close_connection = True


@contextmanager
def serve(root: Path) -> Iterator[RangeServer]:
    """Serve ``root`` until the block ends."""
    server = RangeServer(root)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
