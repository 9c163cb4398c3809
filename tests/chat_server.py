"""A real server of the OpenAI protocol on the loopback device: describes pictures, and fails on demand."""

from __future__ import annotations

import base64
import io
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
from PIL import Image

TOKENS = {"prompt_tokens": 100, "completion_tokens": 10}


class ChatServer(ThreadingHTTPServer):
    """Describes every picture by its mean colour and the seed of the request.

    Attributes:
        faults: what the next requests meet, used up one by one: a status, 'stall', 'trickle', 'half' (breaks
            off), 'json', 'utf8', 'shape', 'empty', 'long', 'words', 'filter'; a pair adds a Retry-After.
        poisoned: fault by seed of the request, which strikes every time.
        asked: seeds of all requests, in order; keys: their Authorization headers.
        most: highest number of requests under way at once.
        delay: seconds an answer takes.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.faults: list = []
        self.poisoned: dict[int, object] = {}
        self.asked: list[int] = []
        self.keys: list[str] = []
        self.busy = self.most = 0
        self.delay = 0.0
        self.lock, self.released = threading.Lock(), threading.Event()

    @property
    def url(self) -> str:
        """Base address with the version."""
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that are killed are no news."""


def describe(body: dict) -> str:
    """Return what the server says of a request: a function of picture, seed and model alone."""
    parts = {part["type"]: part for part in body["messages"][0]["content"]}
    if "image_url" not in parts:
        return f"words only, seed {body['seed']}, {parts['text']['text'][:40]}"
    data = base64.b64decode(parts["image_url"]["image_url"]["url"].partition("base64,")[2])
    picture = np.asarray(Image.open(io.BytesIO(data)))
    return f"mean {int(picture.mean())}, seed {body['seed']}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ChatServer

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server = self.server
        with server.lock:
            server.asked.append(body["seed"])
            server.keys.append(self.headers.get("Authorization", ""))
            server.busy += 1
            server.most = max(server.most, server.busy)
            fault = server.faults.pop(0) if server.faults else ""
        try:
            if self.path != "/v1/chat/completions":
                self._send(404, b"no such page")
                return
            time.sleep(server.delay)
            said = describe(body)
            self._answer(said, server.poisoned.get(body["seed"], fault))
        finally:
            with server.lock:
                server.busy -= 1

    def _answer(self, said: str, fault: object) -> None:
        status, after = fault if isinstance(fault, tuple) else (fault, None)
        if isinstance(status, int):
            self._send(
                status, b'{"error": {"message": "no"}}', {} if after is None else {"Retry-After": after}
            )
            return
        choice = {"message": {"role": "assistant", "content": said}, "finish_reason": "stop"}
        if fault == "empty":
            choice["message"]["content"] = " \n"
        elif fault in ("long", "filter"):
            choice["finish_reason"] = {"long": "length", "filter": "content_filter"}[fault]
        elif fault == "words":
            choice["message"]["content"] = "word " * 5000
        data = json.dumps({"model": "tiny-1", "choices": [choice], "usage": TOKENS}).encode()
        if fault == "stall":
            self.server.released.wait(30)
        elif fault == "json":
            data = data[:-9]
        elif fault == "utf8":
            data = data.replace(b"seed", b"se\xffd")
        elif fault == "shape":
            data = b'{"choices": []}'
        self._send(200, data, {}, fault)

    def _send(self, status: int, data: bytes, headers: dict | None = None, fault: object = "") -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if fault == "trickle":
            for i in range(len(data)):
                if self.server.released.wait(0.05):
                    break
                self.wfile.write(data[i : i + 1])
                self.wfile.flush()
            return
        self.wfile.write(data[: len(data) // 2] if fault == "half" else data)
        if fault == "half":
            self.close_connection = True


@contextmanager
def serve() -> Iterator[ChatServer]:
    """Serve until the block ends."""
    server = ChatServer()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.released.set()
        server.shutdown()
        server.server_close()
        thread.join()
