"""Outputs in a bucket of an S3-compatible server, a real one on this machine."""

import io
import json
import os
import signal
import sys
from pathlib import Path

import duckdb
import polars as pl
import pytest

from finsent_batch import failpoints
from finsent_batch.errors import StorageError, TryAgainError
from finsent_batch.io.objects import bucket as bucket_module
from finsent_batch.io.objects import s3

from ..helpers import forks
from ..helpers.buckets import KEY, SECRET, front

BUCKET = "lake"


def content(client, key: str) -> bytes:
    return client.get_object(Bucket=BUCKET, Key=key)["Body"].read()


def keys(client) -> list[str]:
    return [o["Key"] for o in client.list_objects_v2(Bucket=BUCKET).get("Contents", ())]


def test_an_object_is_what_a_file_would_be_and_is_known_again(bucket, score, run, headlines):
    here = score("a.parquet", "-o", "here.parquet")
    address = f"s3://{BUCKET}/labelled/a.parquet"
    there = score("a.parquet", "-o", address)
    assert there["output"] == address
    assert there["outputs"] == [address]
    assert there["rows"] == here["rows"] | {"unique_scored": 0, "reused": there["rows"]["reused"]}
    assert pl.read_parquet(content(bucket, "labelled/a.parquet")).equals(
        pl.read_parquet("here.parquet")
    )
    again = score("a.parquet", "-o", address, "--skip-unchanged")
    assert again["files"]["unchanged"] == 1
    headlines.head(3).write_parquet("a.parquet")
    assert score("a.parquet", "-o", address, "--skip-unchanged")["rows"]["read"] == 3
    assert pl.read_parquet(content(bucket, "labelled/a.parquet")).height == 3
    assert keys(bucket) == ["labelled/a.parquet"]


def test_a_prefix_has_one_object_for_each_input(bucket, score, tmp_path):
    score("feeds", "-o", "near", "--output-format", "csv.gz")
    score("feeds", "-o", f"s3://{BUCKET}/night/", "--output-format", "csv.gz")
    near = {str(f.relative_to("near")): f.read_bytes() for f in Path("near").rglob("*.gz")}
    assert len(near) == 2
    assert sorted(keys(bucket)) == sorted(f"night/{name}" for name in near)
    for name, bytes_here in near.items():
        found = pl.read_csv(io.BytesIO(content(bucket, f"night/{name}")))
        assert found.equals(pl.read_csv(io.BytesIO(bytes_here)))


def test_what_is_not_this_inputs_stays(bucket, score, run, tiny_model):
    bucket.put_object(Bucket=BUCKET, Key="x.csv", Body=b"somebody's")
    model = ("--model", tiny_model)
    address = f"s3://{BUCKET}/x.csv"
    done = run("score", "a.parquet", "-o", address, *model)
    assert done.code == 73
    assert f"{address} exists and is not an output of this input" in done.err
    assert content(bucket, "x.csv") == b"somebody's"
    score("a.parquet", "-o", address, "--overwrite")
    done = run("score", "a.parquet", "-o", address, "--limit", 2, *model)
    assert done.code == 73
    assert "holds the whole of" in done.err
    done = run("score", "feeds/b.csv", "-o", address, *model)
    assert done.code == 73
    assert "made from " in done.err


@pytest.mark.parametrize(("part", "standing"), [(10**9, False), (10**9, True), (700, False)])
def test_who_comes_second_is_told_to_try_again(
    bucket, score, run, tiny_model, monkeypatch, part, standing
):
    """Another writer is there between the last look and the upload, for an object in parts too.

    moto completes an upload in parts whatever If-Match says: that one case is not here.
    """
    monkeypatch.setattr(s3, "PART", part)
    if standing:
        score("a.parquet", "-o", f"s3://{BUCKET}/a.csv")

    def another(place: str) -> None:
        if place == "before_upload":
            bucket.put_object(Bucket=BUCKET, Key="a.csv", Body=b"another's")

    monkeypatch.setattr(bucket_module, "failpoint", another)
    done = run("score", "a.parquet", "-o", f"s3://{BUCKET}/a.csv", "--model", tiny_model)
    assert done.code == 75, done.err
    assert "another process wrote it meanwhile, run again" in done.err
    assert content(bucket, "a.csv") == b"another's"
    assert "Uploads" not in bucket.list_multipart_uploads(Bucket=BUCKET)


_IN_PARTS = """
import sys
from finsent_batch.io.objects import s3
from finsent_batch.jobs.cli import run
s3.PART = 700
sys.exit(run(sys.argv[1:]))
"""


def test_killed_in_an_upload_it_is_absent_or_whole(bucket, score, tiny_model, tmp_path):
    """And the next run makes it whole, once."""
    address = f"s3://{BUCKET}/k/a.parquet"
    command = ("-q", "score", "a.parquet", "-o", address, "--weights", "fp32",
               "--model", tiny_model)  # fmt: skip
    for place in ("before_complete", "uploaded"):
        env = {**os.environ, "FINSENT_FAILPOINT": f"{place}:kill"}
        killed = [sys.executable, "-c", _IN_PARTS, *map(str, command)]
        done = forks.run(killed, env=env, cwd=tmp_path)
        assert done.returncode == -signal.SIGKILL
        assert keys(bucket) == (["k/a.parquet"] if place == "uploaded" else [])
    assert pl.read_parquet(content(bucket, "k/a.parquet")).height == 12
    assert score("a.parquet", "-o", address)["rows"]["unique_scored"] == 0
    assert keys(bucket) == ["k/a.parquet"]
    assert pl.read_parquet(content(bucket, "k/a.parquet")).height == 12


def test_an_upload_is_tried_again_and_is_there_once(bucket, endpoint, score, monkeypatch):
    with front(endpoint) as before:
        monkeypatch.setenv("AWS_ENDPOINT_URL", before.endpoint)
        before.refusals, before.lost_answers = 2, 1
        score("a.parquet", "-o", f"s3://{BUCKET}/a.parquet")
        sent = [request for request in before.passed if request.startswith("PUT")]
        assert len(sent) == 2, "the one whose answer was lost, and the one that came second to it"
    assert pl.read_parquet(content(bucket, "a.parquet")).height == 12


def test_an_upload_in_parts_that_ended_unheard_is_there_once(bucket, endpoint, score, monkeypatch):
    monkeypatch.setattr(s3, "PART", 700)
    with front(endpoint) as before:
        monkeypatch.setenv("AWS_ENDPOINT_URL", before.endpoint)
        before.method = "POST"

        def lose(place: str) -> None:
            before.lost_answers = 1

        monkeypatch.setattr(s3, "failpoint", lose)
        score("a.parquet", "-o", f"s3://{BUCKET}/a.parquet")
    assert pl.read_parquet(content(bucket, "a.parquet")).height == 12


def test_an_object_that_somebody_removed_meanwhile_is_tried_again(bucket, tmp_path):
    with pytest.raises(TryAgainError, match=r"another process wrote s3://lake/a\.csv"):
        bucket_module.bucket_of(f"s3://{BUCKET}").put(tmp_path / "a.parquet", "a.csv", {}, '"1"')


def test_queries_and_reports_read_what_is_in_a_bucket(bucket, score, run, headlines):
    score("a.parquet", "-o", f"s3://{BUCKET}/q/a.parquet")
    score("feeds/b.csv", "-o", f"s3://{BUCKET}/q/b.csv")
    query = ("query", "--sql", "SELECT count(*) AS n FROM scored_headlines", "--format", "json")
    assert json.loads(run(*query).out) == [{"n": 24}]
    days = run("query", "daily_sentiment", "--format", "json")
    assert days.code == 0, days.err
    assert sum(row["headlines"] for row in json.loads(days.out)) > 0
    named = run(*query, "--from", f"s3://{BUCKET}/q/")
    assert json.loads(named.out) == [{"n": 24}], named.err
    absent = run(*query, "--from", f"s3://{BUCKET}/q/c.csv")
    assert absent.code == 66
    assert f"s3://{BUCKET}/q/c.csv does not exist: check --from" in absent.err
    assert run("report", "-o", "r.html", "--all").code == 0
    assert run("report", "-o", "r.html").code == 0
    with (
        duckdb.connect("finsent.duckdb", read_only=True) as connection,
        pytest.raises(duckdb.Error, match="ask finsent-batch query"),
    ):
        connection.execute("FROM daily_sentiment").fetchall()
    bucket.delete_object(Bucket=BUCKET, Key="q/a.parquet")
    left = run(*query)
    assert json.loads(left.out) == [{"n": 12}]
    assert f"s3://{BUCKET}/q/a.parquet is gone: 12 rows not counted" in left.err


def test_no_credential_is_logged_recorded_or_reported(bucket, run, tiny_model, tmp_path):
    done = run("-v", "score", "a.parquet", "-o", f"s3://{BUCKET}/a.parquet", "--model", tiny_model,
               "--summary", "json")  # fmt: skip
    assert done.code == 0
    assert run("report", "-o", "report.html").code == 0
    written = [f.read_bytes() for f in tmp_path.rglob("*") if f.is_file()]
    told = [done.out.encode(), done.err.encode(), *written]
    head = bucket.head_object(Bucket=BUCKET, Key="a.parquet")
    told.append(json.dumps(head["Metadata"]).encode())
    assert not any(word.encode() in text for word in (KEY, SECRET) for text in told)


@pytest.mark.parametrize(
    ("output", "code", "said"),
    [
        ("s3://nowhere/a.parquet", 73, "s3://nowhere/ cannot be written (NoSuchBucket)"),
        ("s3://u:p@lake/a.parquet", 2, "the address holds credentials"),
        ("abfs://u:p@lake.dfs.core.windows.net/a.csv", 2, "the address holds credentials"),
        ("abfs://lake@secret/a.csv", 2, "the address holds credentials"),
        ("abfs://lake/a.csv?sv=1&sig=u:p@", 2, "the address holds credentials"),
        ("S3://lake/a.parquet", 2, "or s3://, gs:// or abfs:// addresses"),
        ("hdfs://lake/a.parquet", 2, "or s3://, gs:// or abfs:// addresses"),
        ("gs://", 2, "or s3://, gs:// or abfs:// addresses"),
        ("delta:gs:// --append", 2, "a Delta table is a folder of this machine, or s3://"),
        ("delta:s3://lake/a#1 --append", 2, "name a prefix without them"),
        ("gs://lake/all.duckdb", 2, "cannot be written in a bucket"),
        ("gs://lake/all --append --partition-by day", 2, "an object is one output whole"),
        ("s3://lake/all.duckdb", 2, "cannot be written in a bucket"),
        ("s3://lake/all --append --partition-by day", 2, "an object is one output whole"),
        ("gcs://lake/a.parquet", 2, "or s3://, gs:// or abfs:// addresses"),
        ("https://lake/a.parquet", 2, "or s3://, gs:// or abfs:// addresses"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(bucket, run, tiny_model, output, code, said):
    done = run("score", "a.parquet", "-o", *output.split(), "--model", tiny_model,
               "--summary", "json")  # fmt: skip
    assert done.code == code, done.err
    assert said in done.err
    assert len(done.err.strip().splitlines()) == 1
    assert "u:p@" not in done.err + done.out
    assert not list(Path().glob("*:"))


def test_a_query_refuses_credentials_and_other_addresses_too(run):
    for arguments in (("--from", "s3://u:p@lake/q/"), ("-o", "s3://u:p@lake/q.csv")):
        done = run("query", "label_mix", *arguments)
        assert done.code == 2
        assert "u:p@" not in done.err
    for address in ("hdfs://lake/q/", "S3://lake/q.csv", "file:///q.csv", "gs://"):
        done = run("query", "label_mix", "--from", address)
        assert done.code == 2
        assert "name files of this machine, or s3://" in done.err


@pytest.mark.parametrize(
    ("method", "status", "error", "code", "said"),
    [
        ("HEAD", 403, "AccessDenied", 73, "your credentials, such as AWS_PROFILE"),
        ("POST", 403, "InvalidAccessKeyId", 73, "(InvalidAccessKeyId)"),
        ("PUT", 403, "AccessDenied", 73, "(AccessDenied)"),
        ("PUT", 503, "SlowDown", 75, "the store is busy, run again; scores are kept"),
    ],
)
def test_a_refusal_is_one_line(bucket, endpoint, run, tiny_model, monkeypatch, method, status,
                               error, code, said):  # fmt: skip
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    with front(endpoint) as before:
        monkeypatch.setenv("AWS_ENDPOINT_URL", before.endpoint)
        before.refusals, before.method, before.status, before.code = 99, method, status, error
        done = run("-q", "score", "a.parquet", "-o", "s3://lake/a.parquet", "--model", tiny_model,
                   "--publish-wait", 0)  # fmt: skip
    assert done.code == code, done.err
    assert said in done.err
    assert KEY not in done.err
    assert len(done.err.strip().splitlines()) == 1
    assert not keys(bucket)


def test_a_store_without_conditional_writes_is_written_and_told(bucket, endpoint, run, tiny_model,
                                                                monkeypatch):  # fmt: skip
    with front(endpoint) as before:
        monkeypatch.setenv("AWS_ENDPOINT_URL", before.endpoint)
        before.refusals, before.status, before.code = 1, 501, "NotImplemented"
        done = run("score", "a.parquet", "-o", "s3://lake/a.parquet", "--model", tiny_model)
    assert done.code == 0, done.err
    assert "has no conditional writes" in done.err
    assert keys(bucket) == ["a.parquet"]


def test_a_full_disk_here_is_told_with_the_place(
    bucket, score, run, tiny_model, tmp_path, monkeypatch
):
    score("a.parquet", "-o", "s3://lake/a.parquet")
    monkeypatch.setattr(failpoints, "armed", [failpoints.Failpoint("before_rename:full")])
    done = run("score", "a.parquet", "-o", "s3://lake/a.parquet", "--model", tiny_model)
    assert done.code == 74, done.err
    assert "(rows for s3://lake/a.parquet wait in TMPDIR)" in done.err
    with pytest.raises(StorageError, match="name a roomier place in TMPDIR"):
        bucket_module.bucket_of(f"s3://{BUCKET}").get("a.parquet", tmp_path / "no" / "copy")


def test_nobody_answers(bucket, run, tiny_model, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    done = run("score", "a.parquet", "-o", "s3://lake/a.parquet", "--model", tiny_model)
    assert done.code == 74, done.err
    assert "check AWS_ENDPOINT_URL and the network" in done.err


def test_without_boto3_the_command_that_installs_it_is_named(bucket, run, tiny_model, monkeypatch):
    for name in ("boto3", "boto3.exceptions"):
        monkeypatch.setitem(sys.modules, name, None)
    done = run("score", "a.parquet", "-o", "s3://lake/a.parquet", "--model", tiny_model)
    assert done.code == 69
    assert "pip install 'finsent-batch[buckets]'" in done.err
