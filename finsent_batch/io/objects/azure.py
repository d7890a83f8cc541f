"""Azure's blob storage: outputs through obstore, inputs through pyarrow.

Both take the account, its key or a shared access signature, and another endpoint, from the
variables that deltalake and obstore know; without a key they look for an identity themselves.
"""

import os
import shutil
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from ...errors import CannotCreateError
from .obstore_client import ObstoreClient

_NAMES = {
    "account_name": ("AZURE_STORAGE_ACCOUNT_NAME",),
    "account_key": ("AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_ACCESS_KEY"),
    "sas_token": ("AZURE_STORAGE_SAS_TOKEN", "AZURE_STORAGE_SAS_KEY"),
    "endpoint": ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"),
}


MOST: Final = 5_000 * 2**20
"""Bytes that Azure takes in one request."""


class AzureClient(ObstoreClient):
    """The client of one container; see `Client`. Conditions name objects by their ETag."""

    no_etag = '"0"'

    def __init__(self, name: str, account: str | None) -> None:
        super().__init__(name)
        self._account = {} if account is None else {"account_name": account}

    def opened(self, **settings: Any) -> Any:
        """Return the container as obstore has it."""
        return self.obstore.store.AzureStore(self.name, **self._account, **settings)

    def options(self) -> dict[str, str]:
        """Return what deltalake is to be told beyond what it finds as obstore does."""
        http = (_setting("endpoint") or "").startswith("http:")
        return self._account | ({"ALLOW_HTTP": "true"} if http else {})

    def send(self, file: Path, key: str, metadata: dict[str, str], replaces: str | None) -> None:
        """Make a file's bytes an object, in place of the one of this ETag, or of none.

        Raises:
            CannotCreateError: they are more than Azure takes at once.
        """
        if file.stat().st_size > MOST:
            raise CannotCreateError(
                f"{key} has {file.stat().st_size / 1e9:.1f} GB, Azure takes no more than 5.2 at "
                "once: score the input in pieces, or write to a file of this machine"
            )
        super().send(file, key, metadata, replaces)

    def version(self, etag: str) -> dict[str, str]:
        """Return the condition that an object of this ETag stands there."""
        return {"e_tag": etag}

    def etag(self, known: dict[str, Any]) -> str:
        """Return an object's ETag."""
        return str(known["e_tag"])


def filesystem(account: str | None) -> Any:
    """Return the account's containers as pyarrow reads them.

    Raises:
        OSError: no account is named, or pyarrow was built without Azure's client.
    """
    from pyarrow import fs

    account = account or _setting("account_name")
    if account is None:
        raise OSError("no account is named")
    if shutil.which("az") is None:  # else Azure's client asks a shell for it, which says so
        os.environ.setdefault("AZURE_TOKEN_CREDENTIALS", "prod")
    settings = {name: _setting(name) for name in ("account_key", "sas_token")}
    given = {name: value for name, value in settings.items() if value is not None}
    if "sas_token" in given:  # pyarrow puts it behind its addresses as it is
        given["sas_token"] = f"?{given['sas_token'].lstrip('?')}"
    return fs.AzureFileSystem(account, **given, **_authorities(account))


def _authorities(account: str) -> dict[str, str]:
    """Return where another endpoint's services are: those of its blobs and of its folders."""
    if (endpoint := _setting("endpoint")) is None:
        return {}
    url = urlsplit(endpoint)
    host = url.netloc.removeprefix(account)
    return {
        "blob_storage_authority": host, "blob_storage_scheme": url.scheme,
        "dfs_storage_authority": host.replace(".blob.", ".dfs."), "dfs_storage_scheme": url.scheme,
    }  # fmt: skip


def _setting(name: str) -> str | None:
    return next((os.environ[known] for known in _NAMES[name] if os.environ.get(known)), None)
