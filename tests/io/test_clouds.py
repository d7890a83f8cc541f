"""Outputs and inputs in Google's and Azure's stores, against fake-gcs-server and Azurite.

What does not depend on the store is tested with S3, in the files of these names.
"""

import json
import os
import signal
import sys
from pathlib import Path

import polars as pl
import pytest

from finsent_batch.io.objects import bucket as bucket_module
from finsent_batch.io.objects import client, google

from ..helpers import clouds, forks
from ..helpers.buckets import front
from ..helpers.delta_writers import check_that_the_second_is_told

COUNT = ("query", "--sql", "SELECT count(*) AS n FROM scored_headlines", "--format", "json")


@pytest.fixture(scope="module", params=["gs", "azure"])
def started(request):
    with clouds.cloud(request.param) as cloud:
        yield cloud


@pytest.fixture
def cloud(started, monkeypatch, headlines, tmp_path):
    """An empty bucket `lake`, and feeds on this machine."""
    for name, value in started.settings().items():
        monkeypatch.setenv(name, value)
    bucket_module.bucket_of.cache_clear()
    started.clear()
    (tmp_path / "feeds" / "2014").mkdir(parents=True)
    headlines.write_parquet(tmp_path / "feeds" / "2014" / "a.parquet")
    headlines.select("id", "headline").reverse().write_csv(tmp_path / "feeds" / "b.csv")
    headlines.write_parquet(tmp_path / "a.parquet")
    yield started
    bucket_module.bucket_of.cache_clear()


@pytest.fixture
def before(cloud, monkeypatch):
    """A server before the store, and one attempt at each request."""
    monkeypatch.setattr(client, "ATTEMPTS", 1)
    with front(cloud.endpoint.removesuffix(f"/{clouds.ACCOUNT}")) as found:
        for name, value in cloud.settings(found.endpoint).items():
            monkeypatch.setenv(name, value)
        yield found


def test_an_object_is_what_a_file_would_be_and_is_known_again(
    cloud, score, run, tiny_model, tmp_path, headlines
):
    score("a.parquet", "-o", "here.parquet")
    address = f"{cloud.root}/labelled/a 1%.parquet"
    assert score("a.parquet", "-o", address)["outputs"] == [address]
    found = pl.read_parquet(cloud.read("labelled/a 1%.parquet"))
    assert found.equals(pl.read_parquet("here.parquet"))
    assert score("a.parquet", "-o", address, "--skip-unchanged")["files"]["unchanged"] == 1
    headlines.head(3).write_parquet("a.parquet")
    assert score("a.parquet", "-o", address, "--skip-unchanged")["rows"]["read"] == 3
    done = run("-v", "score", "feeds/b.csv", "-o", address, "--model", tiny_model)
    assert done.code == 73
    assert "made from " in done.err
    assert cloud.keys() == ["labelled/a 1%.parquet"]
    assert pl.read_parquet(cloud.read("labelled/a 1%.parquet")).height == 3
    assert run("report", "-o", "report.html").code == 0
    told = [done.err.encode(), *(f.read_bytes() for f in tmp_path.rglob("*") if f.is_file())]
    assert not cloud.secret or not any(cloud.secret.encode() in text for text in told)


def test_a_prefix_is_written_queried_and_scored(cloud, score, run, headlines):
    score("feeds", "-o", f"{cloud.root}/night/", "--output-format", "csv.gz")
    assert sorted(cloud.keys()) == ["night/2014/a.scored.csv.gz", "night/b.scored.csv.gz"]
    assert json.loads(run(*COUNT).out) == [{"n": 24}]
    named = run(*COUNT, "--from", f"{cloud.root}/night/")
    assert json.loads(named.out) == [{"n": 24}], named.err
    absent = run(*COUNT, "--from", f"{cloud.root}/night/c.csv")
    assert absent.code == 66
    assert "c.csv does not exist: check --from" in absent.err
    headlines.select("id", "headline").write_csv("x.csv")
    cloud.write("in/x.csv", Path("x.csv").read_bytes())
    cloud.write("in/2014/y.csv", Path("feeds/b.csv").read_bytes())
    far = score(f"{cloud.root}/in/", "-o", "far")
    assert far["input"] == f"{cloud.root}/in/"
    near = pl.read_parquet("far/2014/y.scored.parquet")
    assert near["headline"].equals(headlines["headline"].reverse())
    assert score(f"{cloud.root}/in/x.csv", "-o", "x.parquet")["rows"]["unique_scored"] == 0
    assert score(f"{cloud.root}/in/x.csv", "-o", "x.parquet")["rows"]["read"] == 12


@pytest.mark.parametrize("standing", [False, True])
def test_who_comes_second_is_told_to_try_again(
    cloud, score, run, tiny_model, monkeypatch, standing
):
    if standing:
        score("a.parquet", "-o", f"{cloud.root}/a.csv")

    def another(place: str) -> None:
        if place == "before_upload":
            cloud.write("a.csv", b"another's")

    monkeypatch.setattr(bucket_module, "failpoint", another)
    done = run("score", "a.parquet", "-o", f"{cloud.root}/a.csv", "--model", tiny_model)
    assert done.code == 75, done.err
    assert "another process wrote it meanwhile, run again" in done.err
    assert cloud.read("a.csv") == b"another's"


def test_killed_in_an_upload_it_is_absent_or_whole(cloud, score, tiny_model, tmp_path):
    address = f"{cloud.root}/k/a.parquet"
    command = ("-q", "score", "a.parquet", "-o", address, "--weights", "fp32",
               "--model", tiny_model)  # fmt: skip
    for place in ("before_upload", "uploaded"):
        env = {**os.environ, "FINSENT_FAILPOINT": f"{place}:kill"}
        done = forks.run([forks.COMMAND, *map(str, command)], env=env, cwd=tmp_path)
        assert done.returncode == -signal.SIGKILL
        assert cloud.keys() == (["k/a.parquet"] if place == "uploaded" else [])
    assert pl.read_parquet(cloud.read("k/a.parquet")).height == 12
    assert score("a.parquet", "-o", address)["rows"]["unique_scored"] == 0


def test_an_upload_is_tried_again_and_is_there_once(cloud, before, score, monkeypatch):
    monkeypatch.setattr(client, "ATTEMPTS", 8)
    score("a.parquet", "-o", f"{cloud.root}/other.parquet")  # writing is allowed: asked once
    before.passed.clear()
    before.refusals, before.lost_answers = 2, 1
    score("a.parquet", "-o", f"{cloud.root}/a.parquet")
    sent = [request for request in before.passed if request.startswith("PUT")]
    assert len(sent) == 2, "the one whose answer was lost, and the one that came second to it"
    assert pl.read_parquet(cloud.read("a.parquet")).height == 12


@pytest.mark.parametrize(
    ("method", "status", "error", "code", "said"),
    [
        ("HEAD", 403, "AccessDenied", 73, "and your credentials, such as "),
        ("PUT", 403, "AccessDenied", 73, "(AccessDenied)"),
        ("PUT", 503, "ServerBusy", 75, "the store is busy, run again; scores are kept"),
    ],
)
def test_a_refusal_is_one_line(cloud, before, run, tiny_model, method, status, error, code, said):
    before.refusals, before.method, before.status, before.code = 99, method, status, error
    done = run("-q", "score", "a.parquet", "-o", f"{cloud.root}/a.csv", "--model", tiny_model,
               "--publish-wait", 0)  # fmt: skip
    assert done.code == code, done.err
    assert said in done.err
    assert len(done.err.strip().splitlines()) == 1
    assert not cloud.keys()


def test_wrong_credentials_are_said_in_one_line(cloud, run, tiny_model, monkeypatch):
    if not cloud.secret:
        pytest.skip("fake-gcs-server asks nobody who they are")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "c29tZWJvZHkncw==")
    for arguments, code in (
        (("a.parquet", "-o", f"{cloud.root}/a.parquet"), 73),
        (("a.parquet", "-o", f"delta:{cloud.root}/news", "--append"), 73),
        ((f"{cloud.root}/a.parquet", "-o", "a.csv"), 66),
    ):
        done = run("-q", "score", *arguments, "--model", tiny_model)
        assert done.code == code, done.err
        assert "and your credentials, such as " in done.err
        assert len(done.err.strip().splitlines()) == 1


def test_an_address_may_name_azures_account(cloud, score, run, monkeypatch):
    if not cloud.secret:
        pytest.skip("Google's buckets have no account in their addresses")
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME")
    root = f"abfs://lake@{clouds.ACCOUNT}.dfs.core.windows.net"
    assert score("a.parquet", "-o", f"{root}/a.csv")["outputs"] == [f"{root}/a.csv"]
    score("a.parquet", "-o", f"delta:{root}/news", "--append")
    assert json.loads(run(*COUNT, "--from", f"{root}/news").out) == [{"n": 12}]
    assert score(f"{root}/a.csv", "-o", "b.csv", "--replace-columns")["input"] == f"{root}/a.csv"
    assert cloud.keys()[0] == "a.csv"


def test_no_such_bucket_is_said_in_one_line(cloud, run, tiny_model):
    for arguments, code in (
        (("a.parquet", "-o", f"{cloud.absent}/a.parquet"), 73),
        (("a.parquet", "-o", f"delta:{cloud.absent}/news", "--append"), 73),
        ((f"{cloud.absent}/a.parquet", "-o", "a.csv"), 66),
    ):
        done = run("-q", "score", *arguments, "--model", tiny_model)
        assert done.code == code, done.err
        assert f"{cloud.absent}/" in done.err
        assert len(done.err.strip().splitlines()) == 1


def test_nobody_answers(cloud, run, tiny_model, monkeypatch):
    monkeypatch.setattr(client, "ATTEMPTS", 1)
    monkeypatch.setattr(google, "PATIENCE", google.PATIENCE / 100)
    for name, value in cloud.settings("http://127.0.0.1:9").items():
        monkeypatch.setenv(name, value)
    for arguments, code in (
        (("a.parquet", "-o", f"{cloud.root}/a.parquet"), 74),
        ((f"{cloud.root}/a.parquet", "-o", "a.csv"), 66),
    ):
        done = run("score", *arguments, "--model", tiny_model)
        assert done.code == code, done.err
        assert len(done.err.strip().splitlines()) == 1


def test_without_obstore_the_command_that_installs_it_is_named(cloud, run, tiny_model, monkeypatch):
    monkeypatch.setitem(sys.modules, "obstore", None)
    done = run("score", "a.parquet", "-o", f"{cloud.root}/a.parquet", "--model", tiny_model)
    assert done.code == 69
    assert "pip install 'finsent-batch[buckets]'" in done.err


def test_nights_share_a_delta_table(cloud, score, run, headlines):
    pytest.importorskip("deltalake", reason="pip install 'finsent-batch[delta]'")
    table = f"{cloud.root}/news"
    to = ("-o", f"delta:{table}", "--append")
    assert score("a.parquet", *to)["outputs"] == [table]
    headlines.reverse().write_parquet("b.parquet")
    score("b.parquet", *to)
    headlines.head(4).write_parquet("a.parquet")
    score("a.parquet", *to)
    assert json.loads(run(*COUNT).out) == [{"n": 16}]
    assert json.loads(run(*COUNT, "--from", table).out) == [{"n": 16}]
    assert score(table, "-o", "back.parquet", "--replace-columns")["rows"]["read"] == 16


def test_of_two_writers_of_one_night_the_second_is_told_to_try_again(cloud, tmp_path, monkeypatch):
    """Both where there is a table and where both make it."""
    pytest.importorskip("deltalake", reason="pip install 'finsent-batch[delta]'")
    check_that_the_second_is_told(Path(f"{cloud.root}/news"), "another process wrote ")
