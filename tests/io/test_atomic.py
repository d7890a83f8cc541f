"""Files made whole or not at all: renamed when full, nothing left when not."""

import errno
import os
import stat
import threading

import duckdb
import polars as pl
import pytest

from finsent_batch.errors import CannotCreateError, StorageError
from finsent_batch.io.atomic import replace_file, replacing
from finsent_batch.io.duckdb_files import create_database


@pytest.fixture
def file(tmp_path):
    (tmp_path / "out.csv").write_bytes(b"old")
    return tmp_path / "out.csv"


def names(folder):
    return sorted(f.name for f in folder.iterdir())


def test_a_file_is_replaced_when_the_new_one_is_full(file):
    with replacing(file) as temporary:
        temporary.write_bytes(b"new")
        assert file.read_bytes() == b"old"
    assert file.read_bytes() == b"new"
    assert names(file.parent) == ["out.csv"]


def test_what_is_ready_is_what_gets_the_name(file):
    seen = []
    with replacing(file, ready=seen.append) as temporary:
        temporary.write_bytes(b"new one")
    [ready] = seen
    now = file.stat()
    assert (ready.st_ino, ready.st_size, ready.st_mtime_ns) == (
        now.st_ino, now.st_size, now.st_mtime_ns,
    )  # fmt: skip


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO])
def test_a_disk_that_is_full_leaves_the_old_file(file, number):
    def fill():
        with replacing(file) as temporary:
            temporary.write_bytes(b"ne")
            raise OSError(number, os.strerror(number))

    with pytest.raises(StorageError, match=rf"writing .*out.csv failed \({os.strerror(number)}\)"):
        fill()
    assert file.read_bytes() == b"old"
    assert names(file.parent) == ["out.csv"]


@pytest.mark.parametrize("place", ["none/x.csv", "out.csv/x.csv", "folder", "/proc/none/x.csv"])
def test_places_where_there_can_be_no_file(file, place):
    (file.parent / "folder").mkdir()
    with pytest.raises(CannotCreateError, match="cannot write"):
        replace_file(file.parent / place, b"new")
    assert names(file.parent) == ["folder", "out.csv"]


def test_a_link_is_written_through_and_a_pipe_as_it_is(file):
    link, pipe = file.with_name("link.csv"), file.with_name("pipe")
    link.symlink_to(file)
    replace_file(link, b"new")
    assert (link.is_symlink(), file.read_bytes()) == (True, b"new")
    os.mkfifo(pipe)
    got = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    reader.start()
    replace_file(pipe, b"through")
    reader.join()
    assert got == [b"through"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_an_empty_database_is_made_once(tmp_path):
    file = tmp_path / "x.duckdb"
    (tmp_path / ".x.duckdb.123.finsent-tmp").write_bytes(b"of a run that was killed")
    create_database(file)
    with duckdb.connect(str(file)) as connection:
        connection.execute("CREATE TABLE t (i INT)")
    create_database(file)
    with duckdb.connect(str(file)) as connection:
        assert connection.execute("SHOW TABLES").fetchall() == [("t",)]
    create_database(tmp_path / "none" / "x.duckdb")  # whoever opens it says why there is none
    assert names(tmp_path) == ["x.duckdb"]


@pytest.mark.parametrize("full_at", ["split.json", "valid.parquet"])
def test_a_split_that_cannot_be_written_keeps_the_old_one(run, tmp_path, monkeypatch, full_at):
    labels = ["negative", "neutral", "positive"] * 30
    frame = pl.DataFrame({"text": [f"Oil falls {i}" for i in range(90)], "label": labels})
    frame.write_csv(tmp_path / "a.csv")
    assert run("prepare", "a.csv", "-o", "split").code == 0
    before = {f.name: f.read_bytes() for f in (tmp_path / "split").iterdir()}
    whole = pl.DataFrame.write_parquet

    def full(self, target, **options):
        if full_at in target.name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        whole(self, target, **options)

    monkeypatch.setattr(pl.DataFrame, "write_parquet", full)
    if full_at == "split.json":
        (tmp_path / "split" / ".split.json.finsent-tmp").mkdir()
    done = run("prepare", "a.csv", "-o", "split", "--seed", 1, "--overwrite")
    assert done.code == (73 if full_at == "split.json" else 74), done.err
    assert done.err.count("\n") == 1
    kept = {f.name: f.read_bytes() for f in (tmp_path / "split").iterdir() if f.is_file()}
    assert kept == before


def test_a_query_that_cannot_be_written_keeps_the_old_file(run, score, feed, tmp_path):
    score("feed.parquet")
    (tmp_path / "mix.csv").write_text("old")
    (tmp_path / ".mix.csv.finsent-tmp").mkdir()
    done = run("query", "label_mix", "-o", "mix.csv")
    assert (done.code, done.err.count("\n")) == (73, 1)
    assert (tmp_path / "mix.csv").read_text() == "old"
    (tmp_path / ".mix.csv.finsent-tmp").rmdir()
    assert run("query", "label_mix", "-o", "MIX.CSV").code == 0
    assert "sentiment" in (tmp_path / "MIX.CSV").read_text()
