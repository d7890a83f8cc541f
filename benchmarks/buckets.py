"""The buckets of the commands that write to one, put back where a trial starts.

Of S3 it is one of a moto server, of Google's store one of fake-gcs-server.
"""

import importlib
from typing import Any, Final

BUCKET = "kills"
_STORES: Final = {"s3://": "s3_bucket", "gs://": "google_bucket"}
"""The modules of the stores, by the addresses in them: each with `start`, `objects`, `clear` and
`put`, whose objects are keys, bytes and metadata."""
_kept: list[tuple[str, bytes, dict[str, str]]] = []


def is_in_one(result: str) -> bool:
    """Whether a result is an object or prefix in a bucket."""
    return result.startswith(tuple(_STORES))


def begin(result: str) -> None:
    """Start the server where the result is in its bucket."""
    if is_in_one(result):
        _store(result).start()


def keep(result: str) -> None:
    """Remember what is in the bucket as what trials start from, where the result is in it."""
    if is_in_one(result):
        _kept[:] = _store(result).objects()


def restore(result: str) -> None:
    """Put the bucket back to that, where the result is in it."""
    if not is_in_one(result):
        return
    store = _store(result)
    store.clear()
    for key, content, metadata in _kept:
        store.put(key, content, metadata)


def read(address: str) -> bytes | None:
    """Return an object's bytes, None where there is none."""
    key = address.partition("://")[2].removeprefix(f"{BUCKET}/")
    return next((body for name, body, _ in _store(address).objects() if name == key), None)


def options(address: str) -> dict[str, str]:
    """Return how deltalake finds the bucket."""
    from finsent_batch.io.objects.addresses import divided
    from finsent_batch.io.objects.bucket import Bucket

    return Bucket(divided(address)[0]).options()


def _store(address: str) -> Any:
    return importlib.import_module(_STORES[f"{address.partition('://')[0]}://"])
