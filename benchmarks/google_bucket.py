"""A bucket of fake-gcs-server; see `buckets`."""

import json
import os
import subprocess
import sys
import urllib.request
from functools import cache
from urllib.parse import quote

from buckets import BUCKET

from tests.helpers import google_server


@cache
def start() -> subprocess.Popen[bytes]:
    """Start a server, which ends with this process, and make it the one that all commands find."""
    process = subprocess.Popen(
        [sys.executable, google_server.__file__],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdout is not None
    url = process.stdout.readline().decode().strip()
    if not url:
        raise SystemExit("fake-gcs-server does not start: pip install 'finsent-batch[dev]'")
    os.environ["STORAGE_EMULATOR_HOST"] = url
    _ask("POST", "/storage/v1/b?project=x", json.dumps({"name": BUCKET}).encode())
    return process


def objects() -> list[tuple[str, bytes, dict[str, str]]]:
    """Return all objects."""
    return [
        (found["name"], _ask("GET", f"{_path(found['name'])}?alt=media"), found.get("metadata", {}))
        for found in _listed()
    ]


def clear() -> None:
    """Remove all objects."""
    for found in _listed():
        _ask("DELETE", _path(found["name"]))


def put(key: str, content: bytes, metadata: dict[str, str]) -> None:
    """Make bytes an object."""
    headers = {f"x-goog-meta-{name}": value for name, value in metadata.items()}
    _ask("PUT", f"/{BUCKET}/{quote(key, safe='')}", content, headers)


def _listed() -> list[dict[str, str]]:
    return list(json.loads(_ask("GET", f"/storage/v1/b/{BUCKET}/o")).get("items", ()))


def _path(key: str) -> str:
    return f"/storage/v1/b/{BUCKET}/o/{quote(key, safe='')}"


def _ask(
    method: str, path: str, content: bytes | None = None, headers: dict[str, str] | None = None
) -> bytes:
    url = os.environ["STORAGE_EMULATOR_HOST"] + path
    asked = urllib.request.Request(url, content, headers or {}, method=method)
    with urllib.request.urlopen(asked) as answer:
        return bytes(answer.read())
