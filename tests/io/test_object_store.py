"""Inputs from an S3-compatible server, a real one on this machine."""

import socket
from pathlib import Path

import polars as pl
import pytest

from finsent_batch.errors import MissingInputError, TryAgainError, UsageError
from finsent_batch.io import object_store
from finsent_batch.io.object_store import fetch

from ..helpers.buckets import front, settings

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


def test_an_input_is_not_its_own_output(bucket, run):
    address = f"s3://{BUCKET}/feeds/b.csv"
    done = run("score", address, "-o", address, "--overwrite")
    assert done.code == 2, done.err
    assert f"output {address} is the input itself: name another with -o" in done.err


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
    class Full:
        free = 100

    monkeypatch.setattr(object_store.shutil, "disk_usage", lambda _: Full())
    done = run("score", f"s3://{BUCKET}/feeds/b.csv", "-o", "b.parquet")
    assert done.code == 74
    assert "TMPDIR" in done.err


def test_without_a_region_and_an_answer_the_variables_are_named(run, monkeypatch):
    class Silent:
        @staticmethod
        def from_uri(_):
            raise OSError("When resolving region for bucket 'news': could not resolve host")

    monkeypatch.setattr(object_store.fs, "FileSystem", Silent)
    done = run("score", "s3://news/feeds/", "-o", "out")
    assert done.code == 66
    assert "AWS_DEFAULT_REGION" in done.err
    assert len(done.err.strip().splitlines()) == 1


def fetched(address: str, folder: Path, copied=lambda *_: None) -> list[str]:
    folder.mkdir()
    return sorted(fetch(address, folder, copied)[1].values())


def test_a_key_is_taken_as_it_is_written(bucket, tmp_path):
    for number, name in enumerate(("a b.csv", "100%20.csv", "a#b.csv", "a?b=ä.csv", "[1].csv")):
        address = f"s3://{BUCKET}/odd/{name}"
        bucket.put_object(Bucket=BUCKET, Key=f"odd/{name}", Body=b"headline\nx\n")
        assert fetched(address, tmp_path / str(number)) == [address]


def test_a_key_of_too_long_a_name_is_refused(bucket, tmp_path):
    key = f"{'n' * 240}.csv"
    bucket.put_object(Bucket=BUCKET, Key=key, Body=b"headline\nx\n")
    with pytest.raises(UsageError, match="no file of this machine can have so long a name"):
        fetched(f"s3://{BUCKET}/{key}", tmp_path / "copies")


def test_objects_that_stand_for_folders_and_keys_of_empty_parts_are_passed_over(bucket, tmp_path):
    for key in ("in", "in/", "in/2014", "in//x.csv"):
        bucket.put_object(Bucket=BUCKET, Key=key, Body=b"")
    for key in ("in/a.csv", "in/2014/b.csv"):
        bucket.put_object(Bucket=BUCKET, Key=key, Body=b"headline\nx\n")
    found = fetched(f"s3://{BUCKET}/in/", tmp_path / "copies")
    assert found == [f"s3://{BUCKET}/in/2014/b.csv", f"s3://{BUCKET}/in/a.csv"]


def test_an_object_that_changes_while_it_is_copied_is_tried_again(bucket, tmp_path, monkeypatch):
    """Also for one of as many bytes: its pieces are requests of their own."""
    monkeypatch.setattr(object_store, "_CHUNK", 8)
    bucket.put_object(Bucket=BUCKET, Key="c.csv", Body=b"headline\nup\nup\n")

    def copied(*_) -> None:
        bucket.put_object(Bucket=BUCKET, Key="c.csv", Body=b"headline\nno\nno\n")

    with pytest.raises(TryAgainError, match="changed while it was being copied"):
        fetched(f"s3://{BUCKET}/c.csv", tmp_path / "copies", copied)


@pytest.fixture
def azure(monkeypatch):
    """Sets Azure's endpoint, and a shared access signature."""

    def at(endpoint: str) -> None:
        monkeypatch.setenv("AZURE_STORAGE_ENDPOINT", f"{endpoint}/account")

    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
    monkeypatch.setenv("AZURE_STORAGE_SAS_TOKEN", "sv=2022-11-02&sig=secret")
    return at


def test_a_store_that_never_answers_is_given_up(azure, tmp_path, monkeypatch):
    monkeypatch.setattr(object_store, "PATIENCE", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        azure(f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(MissingInputError, match=r"no answer within 0\.2 s"):
            fetched("abfs://lake/a.csv", tmp_path / "copies")


def test_azures_signature_is_in_no_message(azure, tmp_path):
    with front("http://127.0.0.1:9") as before:
        before.refusals, before.method, before.status = 99, "HEAD", 403
        azure(before.endpoint)
        with pytest.raises(MissingInputError) as error:
            fetched("abfs://lake/a.csv", tmp_path / "copies")
    assert f"{before.endpoint}/account/lake" in str(error.value)
    assert "sig" not in str(error.value)
