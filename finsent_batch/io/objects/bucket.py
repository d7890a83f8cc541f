"""A bucket of an S3-compatible store: its objects looked at, written whole, and copied here.

boto3 finds credentials, region and endpoint where every AWS tool looks for them. It tries again
what fails for a moment, waiting longer each time.
"""

import logging
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

from ...errors import CannotCreateError, MissingInputError, StorageError, TryAgainError
from ...failpoints import failpoint
from ...optional_imports import load_boto3
from .addresses import SCHEME
from .failures import ABSENT, CONFLICTS, NOT_KNOWN, code_of, told_as

logger = logging.getLogger(__name__)

PART: Final = 16 * 2**20
"""Bytes above which an object is sent in parts of this size, several at a time."""
_MOST_PARTS = 9_000
_AT_ONCE = 4
_ATTEMPTS = 8
_CHUNK = 2**20


class Found(NamedTuple):
    """An object that is there."""

    etag: str
    size: int
    metadata: dict[str, str]


class Bucket:
    """One bucket; thread-safe.

    Every method raises StorageError where nobody answers, TryAgainError where the store is
    overloaded, and CannotCreateError or, where it only reads, MissingInputError where there is no
    such bucket or the credentials are refused.
    """

    def __init__(self, name: str) -> None:
        boto3 = load_boto3()
        from botocore.config import Config

        settings: dict[str, Any] = {"connect_timeout": 10, "read_timeout": 60}
        if "AWS_MAX_ATTEMPTS" not in os.environ:
            settings["retries"] = {"mode": "standard", "total_max_attempts": _ATTEMPTS}
        self.name = name
        self._checked: set[str] = set()
        with told_as(f"{SCHEME}{name} cannot be reached", CannotCreateError):
            self._client = boto3.session.Session().client("s3", config=Config(**settings))

    def find(self, key: str, *, reading: bool = False) -> Found | None:
        """Return what is known of an object, None where there is none."""
        refused = MissingInputError if reading else CannotCreateError
        with told_as(f"{self._named(key)} cannot be looked at", refused):
            try:
                found = self._client.head_object(Bucket=self.name, Key=key)
            except self._client.exceptions.ClientError as error:
                if code_of(error) in ABSENT:
                    return None
                raise
        return Found(found["ETag"], found["ContentLength"], found["Metadata"])

    def check_writable(self, folder: str) -> None:
        """Refuse a folder to which nothing may be written; leaves no object."""
        if folder in self._checked:
            return
        key = f"{folder}/.finsent-check".lstrip("/")
        with told_as(f"{self._named(folder)} cannot be written", CannotCreateError):
            begun = self._client.create_multipart_upload(Bucket=self.name, Key=key)
        with suppress(self._client.exceptions.ClientError):  # who may write may not always end it
            self._abort(key, begun["UploadId"])
        self._checked.add(folder)

    def put(self, file: Path, key: str, metadata: dict[str, str], replaces: str | None) -> None:
        """Make a file's bytes an object, whole or not at all.

        It takes the place of the object with the ETag `replaces`, or of none.

        Raises:
            TryAgainError: what stands there is no longer that.
        """
        with told_as(f"{self._named(key)} cannot be written", CannotCreateError):
            try:
                self._send(file, key, metadata, _condition(replaces))
            except self._client.exceptions.ClientError as error:
                code = code_of(error)
                # An attempt that was repeated as its answer got lost comes second to itself.
                if code in CONFLICTS and self._is_there(key, metadata, file):
                    return
                if code not in NOT_KNOWN:
                    raise
                self._send_unconditionally(file, key, metadata, replaces)

    def _send(
        self, file: Path, key: str, metadata: dict[str, str], condition: dict[str, str]
    ) -> None:
        failpoint("before_upload")
        if file.stat().st_size > PART:
            self._send_parts(file, key, metadata, condition)
        else:
            with file.open("rb") as body:
                self._client.put_object(
                    Bucket=self.name, Key=key, Body=body, Metadata=metadata, **condition
                )
        failpoint("uploaded")

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

    def _send_unconditionally(
        self, file: Path, key: str, metadata: dict[str, str], replaces: str | None
    ) -> None:
        logger.warning(
            "%s%s has no conditional writes: of two runs that write one object at once, the later "
            "one wins", SCHEME, self.name,
        )  # fmt: skip
        there = self.find(key)
        if (there.etag if there else None) != replaces:
            raise TryAgainError(f"another process wrote {self._named(key)} meanwhile: run again")
        self._send(file, key, metadata, {})

    def _is_there(self, key: str, metadata: dict[str, str], file: Path) -> bool:
        there = self.find(key)
        return there is not None and there[1:] == (file.stat().st_size, metadata)

    def _abort(self, key: str, upload: str) -> None:
        self._client.abort_multipart_upload(Bucket=self.name, Key=key, UploadId=upload)

    def options(self) -> dict[str, str]:
        """Return what other clients are to be told: credentials, region and endpoint."""
        boto3 = load_boto3()
        with told_as(f"{SCHEME}{self.name} cannot be reached", CannotCreateError):
            found = boto3.session.Session().get_credentials()
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

    def keys(self, prefix: str) -> Iterator[str]:
        """Yield the keys below a prefix, in the order of their bytes."""
        with told_as(f"{self._named(prefix)} cannot be listed", MissingInputError):
            pages = self._client.get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self.name, Prefix=f"{prefix}/".lstrip("/")):
                yield from (found["Key"] for found in page.get("Contents", ()))

    def get(self, key: str, target: Path) -> bool:
        """Copy an object to a file; returns whether there is one."""
        with told_as(f"{self._named(key)} cannot be read", MissingInputError):
            try:
                found = self._client.get_object(Bucket=self.name, Key=key)
            except self._client.exceptions.ClientError as error:
                if code_of(error) in ABSENT:
                    return False
                raise
            try:
                with target.open("wb") as file:
                    for chunk in found["Body"].iter_chunks(_CHUNK):
                        file.write(chunk)
            except OSError as error:
                raise StorageError(
                    f"no copy of {self._named(key)} can be written in {target.parent} "
                    f"({error.strerror}): name a roomier place in TMPDIR"
                ) from None
        return True

    def _named(self, key: str) -> str:
        return f"{SCHEME}{self.name}/{key}"


@cache
def bucket_of(name: str) -> Bucket:
    """Return the bucket of this name, with one client for all who ask."""
    return Bucket(name)


def _condition(replaces: str | None) -> dict[str, str]:
    return {"IfNoneMatch": "*"} if replaces is None else {"IfMatch": replaces}
