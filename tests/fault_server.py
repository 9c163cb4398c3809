"""A real HTTP server on the loopback device: ranges, entity tags, counted requests, and faults on demand."""

from __future__ import annotations

import re
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PAGE = b"<!DOCTYPE html>\n<html><body>Please log in.</body></html>"


@dataclass
class FaultServer:
    """What a test says and asks.

    Attributes:
        folder: files to serve.
        url: address of the folder.
        faults: path -> faults of its next requests, used up one by one: a status ('404', '500', '503'),
            '429' (with Retry-After 0), 'half' (closes the connection half-way), 'short' (half of the
            bytes under a matching length), 'stall', 'html', 'redirect', 'whole' (ignores Range),
            'dies' (ignores Range and closes half-way), 'hang' (falls silent half-way), 'chunked' (states no length and breaks off
            half-way).
        asked: (path, Range header or '') of every request, in order.
        sent: bytes of bodies sent.
    """

    folder: Path
    url: str = ""
    faults: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    asked: list[tuple[str, str]] = field(default_factory=list)
    sent: int = 0
    released: threading.Event = field(default_factory=threading.Event)

    def ranges(self, path: str) -> list[str]:
        """Return the Range headers asked for one path."""
        return [header for asked, header in self.asked if asked == path]


@contextmanager
def serve(folder: Path) -> Iterator[FaultServer]:
    """Serve a folder until the block ends."""
    state = FaultServer(folder)

    class Handler(_Handler):
        server_state = state

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield state
    finally:
        state.released.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    server_state: FaultServer

    def do_GET(self) -> None:
        state, path = self.server_state, self.path.lstrip("/")
        state.asked.append((path, self.headers.get("Range", "")))
        fault = state.faults[path].pop(0) if state.faults[path] else ""
        if fault.isdigit():
            self._answer(int(fault), b"no", {"Retry-After": "0"})
        elif fault == "redirect" or path == "login":
            self._redirect() if path != "login" else self._answer(200, PAGE, {"Content-Type": "text/html"})
        elif fault == "html":
            self._answer(200, PAGE, {"Content-Type": "application/octet-stream"})
        elif fault == "stall":
            state.released.wait(20)
        elif not (state.folder / path).is_file():
            self._answer(404, b"no", {})
        else:
            self._file((state.folder / path).read_bytes(), fault)

    def _redirect(self) -> None:
        self.send_response(302)
        self.send_header("Location", "/login")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _file(self, content: bytes, fault: str) -> None:
        headers = {"ETag": f'"{sha256(content).hexdigest()[:16]}"', "Accept-Ranges": "bytes"}
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        asked = None if fault in ("whole", "dies") else asked
        start = int(asked[1]) if asked else 0
        end = int(asked[2]) + 1 if asked and asked[2] else len(content)
        if start >= len(content):
            self._answer(416, b"", headers | {"Content-Range": f"bytes */{len(content)}"})
            return
        status, body = (206 if asked else 200), content[start:end]
        if status == 206:
            headers["Content-Range"] = f"bytes {start}-{start + len(body) - 1}/{len(content)}"
        half = body[: len(body) // 2]
        if fault == "short":
            self._answer(status, half, headers)
        elif fault == "chunked":
            self._answer(
                status, f"{len(half):x}\r\n".encode() + half, headers | {"Transfer-Encoding": "chunked"}
            )
        else:
            cut = fault in ("half", "dies", "hang")
            self._answer(status, half if cut else body, headers, length=len(body))
            if fault == "hang":
                self.server_state.released.wait(20)

    def _answer(self, status: int, body: bytes, headers: dict[str, str], length: int | None = None) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if "Transfer-Encoding" not in headers:
            self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)
        self.server_state.sent += len(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""
