"""Files made whole or not at all: renamed when full, nothing left when not."""

import errno
import os
import stat
import threading
from pathlib import Path

import duckdb
import polars as pl
import pytest

from finsent_batch.errors import CannotCreateError, StorageError, TryAgainError
from finsent_batch.io.atomic import private_folder, replace_file, replacing, temporary_of
from finsent_batch.io.whole.databases import (
    create_database,
    new_database,
    remove_unused,
    written_database,
)


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


@pytest.mark.parametrize("full_at", ["nothing", "valid.parquet"])
def test_a_split_that_cannot_be_written_keeps_the_old_one(run, tmp_path, monkeypatch, full_at):
    labels = ["negative", "neutral", "positive"] * 30
    frame = pl.DataFrame({"text": [f"Oil falls {i}" for i in range(90)], "label": labels})
    frame.write_csv(tmp_path / "a.csv")
    assert run("prepare", "a.csv", "-o", "split").code == 0
    before = {f.name: f.read_bytes() for f in (tmp_path / "split").iterdir()}
    whole = Path.write_bytes

    def full(self, content):
        if self.name == full_at:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return whole(self, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    if full_at == "nothing":
        (tmp_path / ".split.finsent-tmp").write_text("in the way")
    done = run("prepare", "a.csv", "-o", "split", "--seed", 1, "--overwrite")
    assert done.code == (73 if full_at == "nothing" else 74), done.err
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


def test_a_lock_got_late_is_of_the_file_that_is_there_now(file, monkeypatch):
    """Between opening and locking, the file that was opened gets its final name."""
    import fcntl

    lock, late = fcntl.flock, []

    def slow(descriptor, how):
        if not late:
            late.append(True)
            with replacing(file) as temporary:
                temporary.write_bytes(b"of the faster one")
        lock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", slow)
    with replacing(file) as temporary:
        assert file.read_bytes() == b"of the faster one"
        temporary.write_bytes(b"of the slower one")
    assert file.read_bytes() == b"of the slower one"
    assert names(file.parent) == ["out.csv"]


def test_one_writes_a_file_at_a_time(file):
    with replacing(file) as temporary:
        temporary.write_bytes(b"first")
        with pytest.raises(TryAgainError, match="another run is writing"):
            replace_file(file, b"second")
    assert file.read_bytes() == b"first"


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444, 0o664])
def test_the_mode_of_what_is_replaced_is_kept(file, mode):
    file.chmod(mode)
    with replacing(file) as temporary:
        temporary.write_bytes(b"new")
        assert not stat.S_IMODE(temporary.stat().st_mode) & ~mode & 0o077
    assert stat.S_IMODE(file.stat().st_mode) == mode


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_the_owner_of_what_is_replaced_is_kept(file):
    os.chown(file, 1234, 4321)
    replace_file(file, b"new")
    assert (file.stat().st_uid, file.stat().st_gid) == (1234, 4321)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes files of others")
def test_a_stranger_s_temporary_file_is_not_taken_over(file):
    temporary = temporary_of(file)
    temporary.write_bytes(b"")
    temporary.chmod(0o666)
    os.chown(temporary, 1234, 1234)
    with pytest.raises(CannotCreateError, match="not ours"):
        replace_file(file, b"new")
    assert (temporary.exists(), file.read_bytes()) == (True, b"old")


def test_a_second_name_of_another_file_is_not_written_to(file):
    other = file.with_name("other")
    other.write_bytes(b"precious")
    os.link(other, temporary_of(file))
    with pytest.raises(CannotCreateError, match="not ours"):
        replace_file(file, b"new")
    assert other.read_bytes() == b"precious"


def test_a_name_with_no_room_for_ours_beside_it(tmp_path):
    file = tmp_path / ("ä" * 125 + ".csv")
    replace_file(file, b"new")
    assert file.read_bytes() == b"new"


def test_a_private_folder_is_ours_alone(tmp_path):
    private_folder(tmp_path / "work")
    private_folder(tmp_path / "work")
    assert stat.S_IMODE((tmp_path / "work").stat().st_mode) == 0o700
    (tmp_path / "target").mkdir()
    (tmp_path / "link").symlink_to("target")
    with pytest.raises(CannotCreateError, match="no folder of ours"):
        private_folder(tmp_path / "link")


def table(file, name):
    with duckdb.connect(str(file)) as connection:
        connection.execute(f"CREATE TABLE {name} AS SELECT 1 AS i")


def test_a_database_that_fails_leaves_what_another_has_made_meanwhile(tmp_path):
    file = tmp_path / "x.duckdb"

    def fail():
        with written_database(file) as new:
            table(new, "mine")
            table(file, "theirs")
            raise KeyError("news")

    with pytest.raises(KeyError):
        fail()
    with duckdb.connect(str(file)) as connection:
        assert connection.execute("SHOW TABLES").fetchall() == [("theirs",)]
    assert names(tmp_path) == ["x.duckdb"]


def test_a_database_does_not_take_the_place_of_another_s(tmp_path):
    file = tmp_path / "x.duckdb"

    def write():
        with written_database(file) as new:
            table(new, "mine")
            table(file, "theirs")

    with pytest.raises(TryAgainError, match="just made"):
        write()
    with duckdb.connect(str(file)) as connection:
        assert connection.execute("SHOW TABLES").fetchall() == [("theirs",)]


def test_a_second_name_left_by_a_kill_is_cleared_away(tmp_path):
    file = tmp_path / "x.duckdb"
    create_database(file)
    os.link(file, tmp_path / ".x.duckdb.123-0.finsent-tmp")
    assert not create_database(file)
    assert names(tmp_path) == ["x.duckdb"]


def test_a_database_in_the_making_is_not_cleared_away(tmp_path):
    file = tmp_path / "x.duckdb"
    with new_database(file) as first, new_database(file) as second:
        assert first.exists()
        assert second.exists()
    assert names(tmp_path) == []


@pytest.mark.parametrize("meanwhile", ["nothing", "written", "held"])
def test_a_database_is_removed_only_if_nobody_has_taken_it_up(tmp_path, meanwhile):
    import subprocess
    import sys

    file = tmp_path / "x.duckdb"
    create_database(file)
    last = file.stat()
    if meanwhile == "written":
        table(file, "theirs")
    code = f"import duckdb; c = duckdb.connect({str(file)!r}); print(flush=True); input()"
    holder = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        if meanwhile == "held":
            holder.stdout.readline()
        else:
            holder.kill()
            holder.wait()
        remove_unused(file, last)
        assert file.exists() == (meanwhile != "nothing")
    finally:
        holder.communicate(b"\n")
