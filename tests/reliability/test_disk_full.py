"""A disk that is full at any write: old output intact, nothing temporary left, exit code 74.

A limit on the size of files stands for the disk where nothing can be mounted; its
error numbers differ, the places where writing ends are the same.
"""

import random
import shutil
import subprocess
import sys
from contextlib import contextmanager

import duckdb
import polars as pl
import pytest

from finsent_batch.config import StoreConfig
from finsent_batch.errors import BadDataError, StorageError
from finsent_batch.store.store import Store

from ..helpers.limits import limited_files
from ..helpers.stores import FILES

ROWS = 1_500
KILOBYTES = (8, 40, 100, 150, 250, 400, 800, 4000, 12_000)
KINDS = ["out.parquet", "out.csv", "out.duckdb"]


@contextmanager
def small_disk(folder, kilobytes):
    """Fill the disk up to so many free kilobytes."""
    filler = folder / "filler"
    free = shutil.disk_usage(folder).free - kilobytes * 1024
    with filler.open("wb") as stream:
        stream.write(b"\0" * max(free, 0))
    try:
        yield
    finally:
        filler.unlink()


@pytest.fixture
def disk(tmp_path):
    """A small disk of its own, 32 MB, mounted where that is allowed."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=32m", "finsent", folder]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no file system can be mounted here")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def published(file):
    if file.suffix == ".duckdb":
        with duckdb.connect(str(file), read_only=True) as connection:
            return connection.sql("FROM feed_scored").pl()
    return (pl.read_parquet if file.suffix == ".parquet" else pl.read_csv)(file)


@pytest.fixture
def sweep(run, tiny_model, wordy, monkeypatch, tmp_path_factory):
    """Run over an earlier output with ever more room, each time from the same start."""
    draw = random.Random(0)
    pad = [draw.randbytes(150).hex() for _ in range(ROWS)]
    whole = pl.DataFrame({"id": range(ROWS), "headline": wordy(ROWS), "pad": pad})

    def call(folder, output, full):
        monkeypatch.chdir(folder)
        source = "feed.csv" if output.endswith(".csv") else "feed.parquet"
        command = (
            "score", source, "-o", output, "--model", tiny_model, "--weights", "fp32",
            "--max-batch-tokens", "4096", "--commit-seconds", "0",
        )  # fmt: skip
        write = pl.DataFrame.write_csv if source == "feed.csv" else pl.DataFrame.write_parquet
        write(whole.head(2), folder / source)
        assert run("--store", "old.duckdb", *command, "--overwrite").code == 0
        earlier = published(folder / output)
        start = shutil.copytree(folder, tmp_path_factory.mktemp("start") / "start")
        codes = []
        for kilobytes in KILOBYTES:
            for file in folder.iterdir():
                file.unlink()
            shutil.copytree(start, folder, dirs_exist_ok=True)
            write(whole, folder / source)
            with full(folder, kilobytes):
                done = run(*command, "--overwrite")
            codes.append(done.code)
            if done.code:
                assert done.code == 74, done.err
                assert done.err.count("\n") == 1
                assert "make room" in done.err
                now = published(folder / output)
                # It is the new one, whole, where what failed came after: the snapshot of the
                # store, or the file of a table that was committed being tidied.
                assert now.height == ROWS or now.equals(earlier)
            allowed = {source, output, f"{output}.wal", "old.duckdb"}
            left = {f.name for f in folder.iterdir()} - allowed - {"old.duckdb.working", *FILES}
            assert left <= {"finsent.duckdb.working.wal"}
            if done.code:
                done = run(*command, "--overwrite")
                assert done.code == 0, done.err
            assert published(folder / output)["id"].to_list() == list(range(ROWS))
        return codes

    return call


@pytest.mark.parametrize("output", KINDS)
def test_files_that_may_not_grow(sweep, tmp_path, output):
    codes = sweep(tmp_path, output, lambda _, kilobytes: limited_files(kilobytes))
    assert codes.count(74) >= 4
    assert codes[-1] == 0


@pytest.mark.parametrize("output", KINDS)
def test_a_disk_that_is_full(sweep, disk, output):
    codes = sweep(disk, output, small_disk)
    assert codes.count(74) >= 4
    assert codes[-1] == 0


def test_a_store_that_could_not_be_made_leaves_nothing(tmp_path):
    config = StoreConfig(path=tmp_path / "s.duckdb")
    with limited_files(4), pytest.raises(StorageError, match="the disk is full"):
        Store.open(config)
    assert list(tmp_path.iterdir()) == []
    with Store.open(config):
        pass
    assert config.path.exists()


def test_a_log_of_another_store_is_named(tmp_path):
    code = """if True:
        import duckdb, os, signal
        connection = duckdb.connect("other.duckdb")
        connection.execute("CREATE TABLE t AS SELECT 1 AS i")
        os.kill(os.getpid(), signal.SIGKILL)"""
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=False)
    (tmp_path / "other.duckdb.wal").rename(tmp_path / "s.duckdb.wal")
    with pytest.raises(BadDataError, match=r"s\.duckdb\.wal belongs to another file.*move it away"):
        Store.open(StoreConfig(path=tmp_path / "s.duckdb"))
