"""An S3-compatible server on this machine, and one before it that refuses its first requests."""

import http.client
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

KEY, SECRET = "AKIAsomeone", "a-secret-that-nobody-may-see"
_ERROR = "<Error><Code>{}</Code><Message>no, {}</Message></Error>"


_SERVER = """
import os, sys, threading
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
threading.Event().wait()
"""


@contextmanager
def s3_server() -> Iterator[str]:
    """Start a server; gives its URL.

    It is a process of its own: whoever waits for it may hold this one's lock of the interpreter.
    """
    pytest.importorskip("moto", reason="pip install 'finsent-batch[dev]'")
    environment = {**os.environ, "S3_UPLOAD_PART_MIN_SIZE": "1"}
    with subprocess.Popen(
        [sys.executable, "-c", _SERVER],
        env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.stdin.close()


def settings(endpoint: str) -> dict[str, str]:
    """Return the environment in which that server is found."""
    return {
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": endpoint,
    }


@dataclass
class Front:
    """What a server before another one refuses, and the requests that it passed on."""

    endpoint: str = ""
    refusals: int = 0
    """How many of the next requests to refuse."""
    method: str = "PUT"
    """Of which method."""
    status: int = 503
    code: str = "SlowDown"
    lost_answers: int = 0
    """How many of the next such requests are passed on, and their answers lost."""
    passed: list[str] = field(default_factory=list)


@contextmanager
def front(endpoint: str) -> Iterator[Front]:
    """Start such a server before that at `endpoint`."""
    found = Front()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            body = self.rfile.read(length)
            meant = self.command == found.method
            if meant and found.refusals > 0:
                found.refusals -= 1
                self._send(found.status, {}, _ERROR.format(found.code, KEY).encode())
                return
            connection = http.client.HTTPConnection(endpoint.removeprefix("http://"))
            connection.request(self.command, self.path, body, dict(self.headers))
            answer = connection.getresponse()
            content = answer.read()
            found.passed.append(f"{self.command} {self.path}")
            if meant and found.lost_answers > 0:
                found.lost_answers -= 1
                self._send(500, {}, _ERROR.format("InternalError", "lost").encode())
                return
            self._send(answer.status, dict(answer.getheaders()), content)

        def _send(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response_only(status)
            kept = ("content-length", "transfer-encoding", "connection")
            for name, value in headers.items():
                if name.lower() not in kept:
                    self.send_header(name, value)
            told = {name.lower(): value for name, value in headers.items()}
            length = told.get("content-length", "0") if self.command == "HEAD" else len(body)
            self.send_header("Content-Length", str(length))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _answer

        def log_message(self, format: str, *arguments: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.endpoint = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
