"""Inputs from an S3-compatible server, a real one on this machine."""

from pathlib import Path

import polars as pl
import pytest

from ..helpers.buckets import settings

BUCKET = "news"


@pytest.fixture
def bucket(endpoint, monkeypatch, headlines, tmp_path):
    """A bucket with two feeds below `feeds/`, and a folder of this machine with the same."""
    import boto3

    for name, value in settings(endpoint).items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3")
    client.create_bucket(Bucket=BUCKET)
    for found in client.list_objects_v2(Bucket=BUCKET).get("Contents", ()):
        client.delete_object(Bucket=BUCKET, Key=found["Key"])
    here = tmp_path / "here"
    (here / "2014").mkdir(parents=True)
    headlines.write_parquet(here / "2014" / "a.parquet")
    headlines.select("id", "headline").reverse().write_csv(here / "b.csv")
    for file in ("2014/a.parquet", "b.csv"):
        client.upload_file(str(here / file), BUCKET, f"feeds/{file}")
    client.put_object(Bucket=BUCKET, Key="feeds/_SUCCESS", Body=b"")
    client.put_object(Bucket=BUCKET, Key="feeds/.hidden/c.csv", Body=b"headline\nx\n")
    return client


def labels(folder: Path) -> dict[str, pl.DataFrame]:
    own = ("scored_at", "run_id")
    return {
        str(file.relative_to(folder)): pl.read_parquet(file).drop(own, strict=False)
        for file in sorted(folder.rglob("*.parquet"))
    }


def test_a_prefix_gives_what_a_folder_of_the_same_files_gives(bucket, run, tiny_model, tmp_path):
    options = ("--model", tiny_model, "--weights", "fp32", "--summary", "json")
    address = f"s3://{BUCKET}/feeds/"
    far = run("--store", "far.duckdb", "score", address, "-o", "far", *options)
    assert far.code == 0, far.err
    assert far.json["input"] == address
    near = run("--store", "near.duckdb", "score", "here", "-o", "near", *options)
    assert near.code == 0, near.err
    found, wanted = labels(tmp_path / "far"), labels(tmp_path / "near")
    assert set(found) == set(wanted) == {"2014/a.scored.parquet", "b.scored.parquet"}
    for name, frame in wanted.items():
        assert found[name].equals(frame)


def test_an_object_is_scored_once_and_its_output_known_again(bucket, score, run, tiny_model):
    address = f"s3://{BUCKET}/feeds/2014/a.parquet"
    first = score(address, "-o", "a.parquet")
    assert first["rows"]["unique_scored"] > 0
    again = score(address, "-o", "a.parquet")
    assert again["rows"]["unique_scored"] == 0
    bucket.copy({"Bucket": BUCKET, "Key": "feeds/2014/a.parquet"}, BUCKET, "other.parquet")
    done = run("score", f"s3://{BUCKET}/other.parquet", "-o", "a.parquet", "--model", tiny_model)
    assert done.code == 73
    assert f"made from {address}" in done.err


def test_a_dry_run_reads_it_too(bucket, run, tiny_model, tmp_path):
    done = run("score", f"s3://{BUCKET}/feeds/b.csv", "-o", "b.parquet", "--model", tiny_model,
               "--dry-run", "--summary", "json")  # fmt: skip
    assert done.code == 0, done.err
    assert done.json["rows"] == 12
    assert not (tmp_path / "b.parquet").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("s3://news/feeds/b.csv",), 2, "name an output with -o, a file, a folder or an address"),
        (("s3://news/nothing/", "-o", "out"), 66, "no .csv, .csv.gz, .parquet objects there"),
        (("s3://elsewhere/b.csv", "-o", "b.parquet"), 66, "s3://elsewhere/b.csv"),
        (("gcs://news/b.csv", "-o", "b.parquet"), 2, "or s3://, gs:// or abfs:// addresses"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(bucket, run, tmp_path, arguments, code, said):
    done = run("score", *arguments)
    assert done.code == code, done.err
    assert said in done.err
    assert len(done.err.strip().splitlines()) == 1


def test_a_key_cannot_lead_out_of_the_folder_of_copies(bucket, score, tmp_path):
    bucket.put_object(Bucket=BUCKET, Key="odd/../../../evil.csv", Body=b"headline\nx\n")
    bucket.put_object(Bucket=BUCKET, Key="odd/good.csv", Body=b"headline\noil falls\n")
    done = score(f"s3://{BUCKET}/odd/", "-o", tmp_path / "out")
    assert done["rows"]["read"] == 1
    assert not list(tmp_path.rglob("evil*"))


def test_a_stop_while_copying_ends_the_run(bucket, tmp_path, monkeypatch):
    from finsent_batch.config import ScoreConfig
    from finsent_batch.errors import InterruptedRunError
    from finsent_batch.pipeline.score import score
    from finsent_batch.progress import StopRequest

    monkeypatch.chdir(tmp_path)
    stop = StopRequest()
    stop.signal = 15
    config = ScoreConfig(input=f"s3://{BUCKET}/feeds/", output=tmp_path / "out")
    told = []
    with pytest.raises(InterruptedRunError) as error:
        score(config, stop=stop, progress=lambda *what: told.append(what))
    assert told == [("copy", 0, 0, "MB")], "it is shown, and ends at the first piece"
    assert error.value.exit_code == 143
    assert not (tmp_path / "out").exists()


def test_a_full_disk_is_told_from_a_failing_store(bucket, run, monkeypatch):
    from finsent_batch.io import object_store

    class Full:
        free = 100

    monkeypatch.setattr(object_store.shutil, "disk_usage", lambda _: Full())
    done = run("score", f"s3://{BUCKET}/feeds/b.csv", "-o", "b.parquet")
    assert done.code == 74
    assert "TMPDIR" in done.err


def test_without_a_region_and_an_answer_the_variables_are_named(run, monkeypatch):
    from finsent_batch.io import object_store

    class Silent:
        @staticmethod
        def from_uri(_):
            raise OSError("When resolving region for bucket 'news': could not resolve host")

    monkeypatch.setattr(object_store.fs, "FileSystem", Silent)
    done = run("score", "s3://news/feeds/", "-o", "out")
    assert done.code == 66
    assert "AWS_DEFAULT_REGION" in done.err
    assert len(done.err.strip().splitlines()) == 1
