"""The bucket of the commands that write to one: of a moto server, put back where a trial starts."""

import os
import socket
import subprocess
import sys
import time
from functools import cache
from typing import Any

SCHEME = "s3://"
BUCKET = "kills"
_PART = 2_000
"""Bytes of an upload's parts: results are small, and uploads in parts are to be killed too."""
_kept: list[dict[str, Any]] = []


def begin(result: str) -> None:
    """Start the server where the result is an object in its bucket."""
    if result.startswith(SCHEME):
        _server()


@cache
def _server() -> subprocess.Popen[bytes]:
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
    from finsent_batch.io.objects import bucket

    bucket.PART = _PART  # type: ignore[misc]
    return process


def keep(result: str) -> None:
    """Remember what is in the bucket as what trials start from, where the result is in it."""
    if result.startswith(SCHEME):
        _kept[:] = _objects()


def restore(result: str) -> None:
    """Put the bucket back to that, where the result is in it."""
    if not result.startswith(SCHEME):
        return
    client = _client()
    for found in _objects():
        client.delete_object(Bucket=BUCKET, Key=found["Key"])
    for upload in client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", ()):
        client.abort_multipart_upload(Bucket=BUCKET, Key=upload["Key"], UploadId=upload["UploadId"])
    for found in _kept:
        client.put_object(Bucket=BUCKET, **found)


def read(address: str) -> bytes | None:
    """Return an object's bytes, None where there is none."""
    key = address.removeprefix(f"{SCHEME}{BUCKET}/")
    return next((found["Body"] for found in _objects() if found["Key"] == key), None)


def options() -> dict[str, str]:
    """Return how deltalake finds the bucket."""
    from finsent_batch.io.objects.bucket import Bucket

    return Bucket(BUCKET).options()


def _objects() -> list[dict[str, Any]]:
    client = _client()
    listed = client.list_objects_v2(Bucket=BUCKET).get("Contents", ())
    objects = [client.get_object(Bucket=BUCKET, Key=found["Key"]) | found for found in listed]
    return [{"Key": o["Key"], "Body": o["Body"].read(), "Metadata": o["Metadata"]} for o in objects]


def _client() -> Any:
    """Return a client of its own each time: forked processes share no connections."""
    import boto3.session

    return boto3.session.Session().client("s3")
