"""A bucket of a moto server; see `buckets`."""

import os
import socket
import subprocess
import sys
import time
from functools import cache
from typing import Any

from buckets import BUCKET

_PART = 2_000
"""Bytes of an upload's parts: results are small, and uploads in parts are to be killed too."""


@cache
def start() -> subprocess.Popen[bytes]:
    """Start a server, which ends with this process, and make it the one that all commands find."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    for name, value in {
        "AWS_ACCESS_KEY_ID": "someone",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "S3_UPLOAD_PART_MIN_SIZE": "1",
    }.items():
        os.environ[name] = value
    code = (
        "import os, sys, threading\n"
        "threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()\n"
        f"from moto.server import main; main(['-H', '127.0.0.1', '-p', '{port}'])"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while socket.socket().connect_ex(("127.0.0.1", port)):
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit("the S3 server does not start: pip install 'moto[s3]' flask")
        time.sleep(0.1)
    _client().create_bucket(Bucket=BUCKET)
    from finsent_batch.io.objects import s3

    s3.PART = _PART  # type: ignore[misc]
    return process


def objects() -> list[tuple[str, bytes, dict[str, str]]]:
    """Return all objects."""
    client = _client()
    listed = client.list_objects_v2(Bucket=BUCKET).get("Contents", ())
    found = [client.get_object(Bucket=BUCKET, Key=o["Key"]) | {"Key": o["Key"]} for o in listed]
    return [(o["Key"], o["Body"].read(), o["Metadata"]) for o in found]


def clear() -> None:
    """Remove all objects and what was begun to be uploaded."""
    client = _client()
    for found in client.list_objects_v2(Bucket=BUCKET).get("Contents", ()):
        client.delete_object(Bucket=BUCKET, Key=found["Key"])
    for upload in client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", ()):
        client.abort_multipart_upload(Bucket=BUCKET, Key=upload["Key"], UploadId=upload["UploadId"])


def put(key: str, content: bytes, metadata: dict[str, str]) -> None:
    """Make bytes an object."""
    _client().put_object(Bucket=BUCKET, Key=key, Body=content, Metadata=metadata)


def _client() -> Any:
    """Return a client of its own each time: forked processes share no connections."""
    import boto3.session

    return boto3.session.Session().client("s3")
