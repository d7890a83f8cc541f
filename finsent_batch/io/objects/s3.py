"""S3 and stores that speak its protocol, through boto3.

boto3 finds credentials, region and endpoint where every AWS tool looks for them. It tries again
what fails for a moment, waiting longer each time.
"""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from ...failpoints import failpoint
from ...optional_imports import load_boto3
from .client import ATTEMPTS, CHUNK, Failure, Found, kind_of
from .failures import said_of

PART: Final = 16 * 2**20
"""Bytes above which an object is sent in parts of this size, several at a time."""
_MOST_PARTS = 9_000
_AT_ONCE = 4


class S3Client:
    """The client of one bucket; see `Client`."""

    def __init__(self, name: str) -> None:
        load_boto3()
        from boto3.exceptions import Boto3Error
        from botocore import exceptions

        self.errors: tuple[type[Exception], ...] = (
            exceptions.ClientError, exceptions.HTTPClientError, exceptions.ConnectionError,
            exceptions.BotoCoreError, Boto3Error, ValueError,
        )  # fmt: skip
        self._exceptions = exceptions
        self.name = name

    def connect(self) -> None:
        """Find credentials, region and endpoint."""
        boto3 = load_boto3()
        from botocore.config import Config

        settings: dict[str, Any] = {"connect_timeout": 10, "read_timeout": 60}
        if "AWS_MAX_ATTEMPTS" not in os.environ:
            settings["retries"] = {"mode": "standard", "total_max_attempts": ATTEMPTS}
        self._client = boto3.session.Session().client("s3", config=Config(**settings))

    def failure(self, error: Any) -> Failure:
        """Return what an error means; requests for headers give a number as its code."""
        if isinstance(error, self._exceptions.ClientError):
            code = str(error.response.get("Error", {}).get("Code", ""))
            return Failure(kind_of(code), code)
        silent = (self._exceptions.HTTPClientError, self._exceptions.ConnectionError)
        said = said_of(error).rstrip(".")
        return Failure("silent" if isinstance(error, silent) else "refused", said)

    def head(self, key: str) -> Found:
        """Return what is known of an object."""
        found = self._client.head_object(Bucket=self.name, Key=key)
        return Found(found["ETag"], found["ContentLength"], found["Metadata"])

    def try_to_write(self, key: str) -> None:
        """Begin an upload in parts, and leave it."""
        begun = self._client.create_multipart_upload(Bucket=self.name, Key=key)
        with suppress(self._exceptions.ClientError):  # who may write may not always end it
            self._abort(key, begun["UploadId"])

    def send(self, file: Path, key: str, metadata: dict[str, str], replaces: str | None) -> None:
        """Make a file's bytes an object, in place of the one of this ETag, or of none."""
        condition = {"IfNoneMatch": "*"} if replaces is None else {"IfMatch": replaces}
        self._send(file, key, metadata, condition)

    def send_anyway(self, file: Path, key: str, metadata: dict[str, str]) -> None:
        """Make a file's bytes an object, whatever stands there."""
        self._send(file, key, metadata, {})

    def _send(
        self, file: Path, key: str, metadata: dict[str, str], condition: dict[str, str]
    ) -> None:
        if file.stat().st_size > PART:
            self._send_parts(file, key, metadata, condition)
            return
        with file.open("rb") as body:
            self._client.put_object(
                Bucket=self.name, Key=key, Body=body, Metadata=metadata, **condition
            )

    def _send_parts(
        self, file: Path, key: str, metadata: dict[str, str], condition: dict[str, str]
    ) -> None:
        begun = self._client.create_multipart_upload(Bucket=self.name, Key=key, Metadata=metadata)
        upload, size = begun["UploadId"], max(PART, file.stat().st_size // _MOST_PARTS + 1)

        def send(number: int) -> dict[str, Any]:
            with file.open("rb") as stream:
                stream.seek((number - 1) * size)
                sent = self._client.upload_part(
                    Bucket=self.name, Key=key, UploadId=upload, PartNumber=number,
                    Body=stream.read(size),
                )  # fmt: skip
            return {"ETag": sent["ETag"], "PartNumber": number}

        try:
            with ThreadPoolExecutor(_AT_ONCE) as pool:
                parts = list(pool.map(send, range(1, -(-file.stat().st_size // size) + 1)))
            failpoint("before_complete")
            self._client.complete_multipart_upload(
                Bucket=self.name, Key=key, UploadId=upload, MultipartUpload={"Parts": parts},
                **condition,
            )  # fmt: skip
        except BaseException:
            with suppress(Exception):  # the failure is told; a bucket's lifecycle rule removes it
                self._abort(key, upload)
            raise

    def _abort(self, key: str, upload: str) -> None:
        self._client.abort_multipart_upload(Bucket=self.name, Key=key, UploadId=upload)

    def keys(self, prefix: str) -> Iterator[str]:
        """Yield the keys that begin so, in the order of their bytes."""
        pages = self._client.get_paginator("list_objects_v2")
        for page in pages.paginate(Bucket=self.name, Prefix=prefix):
            yield from (found["Key"] for found in page.get("Contents", ()))

    def chunks(self, key: str) -> Iterator[bytes]:
        """Yield an object's bytes."""
        yield from self._client.get_object(Bucket=self.name, Key=key)["Body"].iter_chunks(CHUNK)

    def options(self) -> dict[str, str]:
        """Return what deltalake is to be told: credentials, region and endpoint."""
        found = load_boto3().session.Session().get_credentials()
        secrets = found.get_frozen_credentials() if found else (None, None, None)
        endpoint, region = self._client.meta.endpoint_url, self._client.meta.region_name
        options = {
            "AWS_ACCESS_KEY_ID": secrets[0],
            "AWS_SECRET_ACCESS_KEY": secrets[1],
            "AWS_SESSION_TOKEN": secrets[2],
            "AWS_REGION": region if region != "aws-global" else "us-east-1",
            "AWS_ENDPOINT_URL": None if endpoint.endswith(".amazonaws.com") else endpoint,
            "AWS_ALLOW_HTTP": "true" if endpoint.startswith("http:") else None,
            "AWS_CONDITIONAL_PUT": "etag",
        }
        return {name: value for name, value in options.items() if value}
