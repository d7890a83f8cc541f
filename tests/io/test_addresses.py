"""Addresses in buckets, and what their stores cannot take."""

import pytest

from finsent_batch.errors import CannotCreateError
from finsent_batch.io.objects import addresses
from finsent_batch.io.objects.azure import MOST
from finsent_batch.io.objects.bucket import Bucket

ACCOUNT = "abfs://lake@news.dfs.core.windows.net"


@pytest.mark.parametrize(
    ("address", "bucket", "key", "container"),
    [
        ("s3://lake/a/b.csv", "s3://lake", "a/b.csv", ("lake", None)),
        ("gs://lake/", "gs://lake", "", ("lake", None)),
        ("az://lake/b.csv", "az://lake", "b.csv", ("lake", None)),
        (f"{ACCOUNT}/b.csv", ACCOUNT, "b.csv", ("lake", "news")),
    ],
)
def test_an_address_has_a_bucket_and_a_key(address, bucket, key, container):
    assert addresses.is_address(address)
    assert addresses.divided(address) == (bucket, key)
    assert addresses.container_of(bucket) == container
    assert addresses.without_credentials(address) == address


@pytest.mark.parametrize(
    "address",
    [
        "s3://u:p@lake/b.csv", "gs://lake@news.dfs.core.windows.net/b.csv", "abfs://p@lake/b.csv",
        "abfs://u:p@news.dfs.core.windows.net/b.csv", "abfs://u@p@news.dfs.core.windows.net/b.csv",
    ],
)  # fmt: skip
def test_what_stands_before_a_host_is_taken_for_credentials(address):
    assert addresses.without_credentials(address) == address.replace(
        address.partition("://")[2].rpartition("@")[0] + "@", ""
    )


@pytest.mark.parametrize(
    "address",
    [
        "abfs://lake/b.csv?sv=1&sig=a%3D", "delta:gs://lake/b?X-Goog-Signature=a",
        "s3://lake/b.csv?X-Amz-Credential=a&X-Amz-Signature=b",
    ],
)  # fmt: skip
def test_a_signature_is_taken_for_credentials(address):
    assert addresses.without_credentials(address) == address.partition("?")[0]
    assert addresses.without_credentials("here/b.csv?sig=1") == "here/b.csv?sig=1"


def test_what_azure_does_not_take_at_once_is_refused(tmp_path, monkeypatch):
    pytest.importorskip("obstore", reason="pip install 'finsent-batch[buckets]'")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "c29tZWJvZHkncw==")
    file = tmp_path / "large"
    with file.open("wb") as large:
        large.truncate(MOST + 1)  # takes no room
    with pytest.raises(CannotCreateError, match="score the input in pieces"):
        Bucket(ACCOUNT).put(file, "large.csv", {}, None)
