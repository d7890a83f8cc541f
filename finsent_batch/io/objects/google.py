"""Google Cloud Storage: outputs through obstore, inputs through pyarrow.

Both find Application Default Credentials, as every Google tool does, and take an emulator from
STORAGE_EMULATOR_HOST.
"""

import json
import os
from datetime import timedelta
from typing import Any, Final

from .obstore_client import ObstoreClient

EMULATOR: Final = "STORAGE_EMULATOR_HOST"
PATIENCE: Final = timedelta(seconds=15)
"""How long pyarrow tries to reach the store; by itself it would for a quarter of an hour."""


class GoogleClient(ObstoreClient):
    """The client of one bucket; see `Client`. Conditions name objects by their generation."""

    no_etag = "1"

    def opened(self, **settings: Any) -> Any:
        """Return the bucket as obstore has it."""
        emulator = {"service_account_key": _anyone(url)} if (url := _emulator()) else {}
        return self.obstore.store.GCSStore(self.name, **emulator, **settings)

    def options(self) -> dict[str, str]:
        """Return what deltalake is to be told beyond what it finds as obstore does."""
        url = _emulator()
        return {"GOOGLE_SERVICE_ACCOUNT_KEY": _anyone(url), "ALLOW_HTTP": "true"} if url else {}

    def version(self, etag: str) -> dict[str, str]:
        """Return the condition that an object of this generation stands there."""
        return {"version": etag}

    def etag(self, known: dict[str, Any]) -> str:
        """Return an object's generation."""
        return str(known["version"])


def filesystem() -> Any:
    """Return the store as pyarrow reads it."""
    from pyarrow import fs

    if (url := _emulator()) is None:
        return fs.GcsFileSystem(retry_time_limit=PATIENCE)
    scheme, _, host = url.partition("://")
    return fs.GcsFileSystem(
        anonymous=True, scheme=scheme, endpoint_override=host, retry_time_limit=PATIENCE
    )


def _emulator() -> str | None:
    named = os.environ.get(EMULATOR, "").rstrip("/")
    return (named if "://" in named else f"http://{named}") if named else None


def _anyone(url: str) -> str:
    """Return a key of nobody's, with which an emulator is asked."""
    nobody = dict.fromkeys(("client_email", "private_key", "private_key_id"), "")
    return json.dumps({"gcs_base_url": url, "disable_oauth": True, **nobody})
