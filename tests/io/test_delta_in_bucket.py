"""Delta tables in a bucket of an S3-compatible server, a real one on this machine."""

import json
from pathlib import Path

import deltalake
import pytest

from finsent_batch.io.objects.bucket import bucket_of

from ..helpers.buckets import KEY, SECRET
from ..helpers.delta_writers import check_that_the_second_is_told

TABLE = "s3://lake/news"
COUNT = ("query", "--sql", "SELECT count(*) AS n FROM scored_headlines", "--format", "json")


def table() -> deltalake.DeltaTable:
    return deltalake.DeltaTable(TABLE, storage_options=bucket_of("s3://lake").options())


def test_nights_share_a_table_that_queries_and_runs_read(bucket, score, run, tmp_path, headlines):
    to = ("-o", f"delta:{TABLE}", "--append")
    first = score("a.parquet", *to)
    assert first["output"] == f"delta:{TABLE}"
    assert first["outputs"] == [TABLE]
    headlines.reverse().select("id", "headline").write_parquet("b.parquet")
    score("b.parquet", *to, "--on-missing-columns", "null")
    assert table().to_pyarrow_table().num_rows == 24
    headlines.head(4).write_parquet("a.parquet")
    score("a.parquet", *to)
    assert table().version() == 2
    assert table().to_pyarrow_table().num_rows == 16
    assert json.loads(run(*COUNT).out) == [{"n": 16}]
    assert json.loads(run(*COUNT, "--from", TABLE).out) == [{"n": 16}]
    assert run("report", "-o", "r.html").code == 0
    again = score(TABLE, "-o", "back.parquet", "--replace-columns")
    assert again["rows"]["read"] == 16
    written = [f.read_bytes() for f in tmp_path.rglob("*") if f.is_file()]
    assert not any(word.encode() in text for word in (KEY, SECRET) for text in written)


def test_of_two_writers_of_one_night_the_second_is_told_to_try_again(bucket, tmp_path, monkeypatch):
    """Both where there is a table and where both make it."""
    monkeypatch.chdir(tmp_path)
    check_that_the_second_is_told(Path("s3:/lake/news"), "another process wrote s3://lake/news")
    assert table().to_pyarrow_table().num_rows == 1
    assert table().version() == 1


@pytest.mark.parametrize(
    ("output", "code", "said"),
    [
        ("delta:s3://nowhere/news", 73, "(NoSuchBucket)"),
        ("delta:s3://u:p@lake/news", 2, "the address holds credentials"),
        ("delta:s3://lake/news.parquet", 2, "without a file's suffix"),
        ("delta:gcs://lake/news", 2, "a folder of this machine, or s3://, gs:// or abfs:// and a "),
        ("delta:s3://lake/other", 73, "s3://lake/other is no Delta table"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(bucket, run, tiny_model, output, code, said):
    bucket.put_object(Bucket="lake", Key="other/x.txt", Body=b"x")
    done = run("score", "a.parquet", "-o", output, "--append", "--model", tiny_model)
    assert done.code == code, done.err
    assert said in done.err
    assert len(done.err.strip().splitlines()) == 1


def test_nobody_answers(bucket, run, tiny_model, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    done = run("score", "a.parquet", "-o", f"delta:{TABLE}", "--append", "--model", tiny_model)
    assert done.code == 74, done.err
    assert "check AWS_ENDPOINT_URL and the network" in done.err
