"""Fixtures of the tests with an S3-compatible server, a real one on this machine."""

import pytest

from ..helpers.buckets import s3_server, settings


@pytest.fixture(scope="module")
def endpoint():
    with s3_server() as url:
        yield url


@pytest.fixture
def bucket(endpoint, monkeypatch, headlines, tmp_path):
    """An empty bucket `lake`, and feeds on this machine."""
    import boto3

    from finsent_batch.io.objects.bucket import bucket_of

    for name, value in settings(endpoint).items():
        monkeypatch.setenv(name, value)
    bucket_of.cache_clear()
    client = boto3.client("s3")
    client.create_bucket(Bucket="lake")
    for found in client.list_objects_v2(Bucket="lake").get("Contents", ()):
        client.delete_object(Bucket="lake", Key=found["Key"])
    (tmp_path / "feeds" / "2014").mkdir(parents=True)
    headlines.write_parquet(tmp_path / "feeds" / "2014" / "a.parquet")
    headlines.select("id", "headline").reverse().write_csv(tmp_path / "feeds" / "b.csv")
    headlines.write_parquet(tmp_path / "a.parquet")
    yield client
    bucket_of.cache_clear()
