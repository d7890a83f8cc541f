"""The snapshot beside the working store: which of the two counts, and what is published when."""

import os
import shutil
import stat
import subprocess
import sys

import duckdb
import pytest

from finsent_batch.config import StoreConfig
from finsent_batch.errors import (
    BadDataError,
    CannotCreateError,
    MissingInputError,
    StorageError,
    UsageError,
)
from finsent_batch.failpoints import SNAPSHOT_PLACES
from finsent_batch.io.paths import working_of
from finsent_batch.store.states import log_of
from finsent_batch.store.store import Store

from ..helpers.store_rows import fill, score_row

SCORES = "SELECT count(*) FROM scores"


def count(file):
    with duckdb.connect(file, read_only=True) as connection:
        return connection.execute(SCORES).fetchall()[0][0]


def add(config, *numbers):
    """Write scores as a command does; gives what the store held before."""
    with Store.open(config) as store:
        [(before,)] = store.query(SCORES)
        for number in numbers:
            store.insert("scores", score_row(number))
    return before


KILLED = """
import os, signal, sys
from pathlib import Path
from finsent_batch.config import StoreConfig
from finsent_batch.store.store import Store
with Store.open(StoreConfig(path=Path(sys.argv[1]))) as store:
    store.connection.execute("INSERT INTO scores SELECT * REPLACE (uuid() AS headline_key) "
                             "FROM scores LIMIT 1")
    if sys.argv[2:]:
        os.kill(os.getpid(), signal.SIGKILL)
"""


def killed(config, *, failpoint=None):
    """Commit one more score and be killed, at a failpoint or at once; gives the exit code."""
    arguments = [sys.executable, "-c", KILLED, str(config.path), *([] if failpoint else ["now"])]
    env = os.environ | ({"FINSENT_FAILPOINT": f"{failpoint}:kill"} if failpoint else {})
    return subprocess.run(arguments, env=env, check=False).returncode


@pytest.fixture
def filled(config):
    """A store of one score, published."""
    fill(config, score_row(1))
    return config


# ---- published


def test_a_command_that_wrote_publishes_and_one_that_did_not_leaves_the_file(filled):
    before = filled.path.stat()
    with Store.open(filled):
        pass
    assert os.path.samestat(filled.path.stat(), before)
    assert add(filled, 2) == 1
    assert not os.path.samestat(filled.path.stat(), before)
    assert count(filled.path) == count(working_of(filled.path)) == 2


def test_what_a_failing_command_committed_is_published(filled):
    def failing():
        with Store.open(filled) as store:
            store.insert("scores", score_row(2))
            store.connection.begin()
            store.insert("scores", score_row(3))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        failing()
    assert count(filled.path) == 2


def test_a_reader_keeps_what_it_opened_and_the_next_one_sees_the_new(filled):
    with Store.open(filled, read_only=True) as reader:
        add(filled, 2)
        with Store.open(filled, read_only=True) as other:
            assert (reader.query(SCORES), other.query(SCORES)) == ([(1,)], [(2,)])


def test_readers_are_told_that_the_first_run_has_not_published(config):
    with (
        Store.open(config),
        pytest.raises(MissingInputError, match="is not there yet: the first run makes it"),
    ):
        Store.open(config, read_only=True)
    with Store.open(config, read_only=True) as store:
        assert store.query(SCORES) == [(0,)]


@pytest.mark.parametrize("place", SNAPSHOT_PLACES)
def test_killed_anywhere_in_publishing_there_is_a_whole_snapshot_and_the_next_publishes(
    filled, place
):
    assert killed(filled, failpoint=place) == -9
    renamed = place in ("snapshot_renamed", "snapshot_noted")
    assert count(filled.path) == (2 if renamed else 1)
    with Store.open(filled, create=False) as store:
        assert store.query(SCORES) == [(2,)]
    assert count(filled.path) == 2
    assert {f.name for f in filled.path.parent.iterdir()} == {"s.duckdb", "s.duckdb.working"}


def test_killed_with_scores_the_next_command_publishes_them_though_it_fails(filled):
    assert killed(filled) == -9
    assert count(filled.path) == 1
    with pytest.raises(ZeroDivisionError), Store.open(filled):
        raise ZeroDivisionError
    assert count(filled.path) == 2


def test_without_room_the_earlier_snapshot_stays_and_the_next_run_publishes(filled, monkeypatch):
    free = shutil.disk_usage(filled.path.parent)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: free)
    said = r"s\.duckdb failed \(No space left on device\): the earlier file is untouched.*make room"
    with pytest.raises(StorageError, match=said):
        add(filled, 2)
    assert count(filled.path) == 1
    monkeypatch.undo()
    assert add(filled) == 2
    assert count(filled.path) == 2


def test_a_place_that_cannot_be_replaced_is_named(filled, monkeypatch):
    def busy(*_):
        raise OSError(16, os.strerror(16))

    monkeypatch.setattr("pathlib.Path.replace", busy)
    with pytest.raises(CannotCreateError, match=r"cannot replace .*busy.* name another --store"):
        add(filled, 2)


def test_a_private_store_stays_private(filled):
    filled.path.chmod(0o600)
    for number in (2, 3):
        add(filled, number)
        modes = [stat.S_IMODE(f.stat().st_mode) for f in filled.path.parent.iterdir()]
        assert modes == [0o600, 0o600]


def test_the_log_of_a_private_store_is_private(filled):
    filled.path.chmod(0o640)
    log = log_of(working_of(filled.path))
    with Store.open(filled) as store:
        for _ in range(2):
            with store.transaction() as connection:
                connection.execute("INSERT INTO store_info SELECT * FROM store_info LIMIT 0")
                connection.execute("CREATE OR REPLACE TABLE more AS SELECT 1 AS i")
            assert log.stat().st_size > 0
            assert stat.S_IMODE(log.stat().st_mode) == 0o640
            store.connection.execute("CHECKPOINT store")
            assert not log.exists()
        store.connection.execute("DROP TABLE more")
    assert not log.exists()


# ---- which of the two counts


def test_a_store_of_an_earlier_version_is_taken_over_with_its_log(filled):
    code = """if True:
        import duckdb, os, sys
        connection = duckdb.connect(sys.argv[1])
        connection.execute(sys.argv[2])
        os._exit(0)"""
    row = "INSERT INTO scores SELECT * REPLACE (uuid() AS headline_key) FROM scores"
    working_of(filled.path).unlink()
    with duckdb.connect(filled.path) as plain:
        plain.execute("DROP TABLE snapshot; UPDATE store_info SET schema_version = 5")
    subprocess.run([sys.executable, "-c", code, filled.path, row], check=True)
    log = filled.path.with_name("s.duckdb.wal")
    assert log.stat().st_size
    assert add(filled, 3) == 2
    assert not log.exists()
    assert count(filled.path) == 3


def test_a_snapshot_alone_is_a_whole_store(filled, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    copy = StoreConfig(path=tmp_path / "elsewhere" / "other.duckdb")
    shutil.copyfile(filled.path, copy.path)
    assert add(copy, 2) == 1
    assert (count(copy.path), count(filled.path)) == (2, 1)


def test_a_backup_that_is_brought_back_counts(filled, caplog):
    shutil.copyfile(filled.path, filled.path.with_name("backup"))
    add(filled, 2, 3)
    killed(filled)
    filled.path.with_name("backup").replace(filled.path)
    assert add(filled, 4) == 1
    assert "is not what the last run published, but a backup or another store" in caplog.text
    assert count(filled.path) == 2


def test_what_others_write_into_it_is_kept(filled, caplog):
    with duckdb.connect(filled.path) as plain:
        plain.execute("CREATE VIEW mine AS SELECT 7 AS seven")
    add(filled, 2)
    with duckdb.connect(filled.path, read_only=True) as plain:
        assert plain.execute("FROM mine").fetchall() == [(7,)]
    assert caplog.text == ""


def test_both_files_copied_after_a_kill_lose_nothing(filled, tmp_path, caplog):
    killed(filled)
    (tmp_path / "copy").mkdir()
    for file in (filled.path, working_of(filled.path), tmp_path / "s.duckdb.working.wal"):
        shutil.copyfile(file, tmp_path / "copy" / file.name)
    assert add(StoreConfig(path=tmp_path / "copy" / "s.duckdb")) == 2
    assert "was changed or copied since it was published" in caplog.text
    assert count(tmp_path / "copy" / "s.duckdb") == 2


def test_a_snapshot_that_is_gone_is_published_anew(filled, caplog):
    filled.path.unlink()
    assert add(filled) == 1
    assert "to begin a new store, remove both" in caplog.text
    add(filled, 2)
    assert count(filled.path) == 2


def test_a_writer_that_holds_the_snapshot_loses_what_it_has_not_finished(filled, caplog):
    code = """if True:
        import duckdb, sys
        connection = duckdb.connect(sys.argv[1])
        connection.execute("CREATE TABLE mine AS SELECT 1 AS i")
        print("held", flush=True); sys.stdin.read()"""
    with subprocess.Popen(
        [sys.executable, "-c", code, filled.path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as shell:
        shell.stdout.readline()
        add(filled, 2)
        assert "has just written to" in caplog.text
        assert count(filled.path) == 2
        shell.communicate()
    assert count(filled.path) == 2


def test_a_link_in_the_place_of_the_working_store_is_refused(config, tmp_path):
    working_of(config.path).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CannotCreateError, match="is a link and in the way"):
        Store.open(config)


def test_the_working_store_is_no_store_to_name(filled):
    working = StoreConfig(path=working_of(filled.path))
    for read_only in (True, False):
        with pytest.raises(UsageError, match=r"name \S+/s\.duckdb with --store"):
            Store.open(working, read_only=read_only)


@pytest.mark.parametrize("damaged", ["s.duckdb", "s.duckdb.working"])
def test_each_file_stands_in_for_the_other(run, filled, tmp_path, damaged):
    content = bytearray((tmp_path / damaged).read_bytes())
    content[len(content) // 2 :] = bytes(len(content) - len(content) // 2)
    stamp = (tmp_path / damaged).stat()
    (tmp_path / damaged).write_bytes(content)
    os.utime(tmp_path / damaged, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    found = run("--store", filled.path, "store", "verify")
    assert found.code == 65
    assert str(tmp_path / damaged) in found.err
    (tmp_path / damaged).unlink()
    assert add(filled, 2) == 1
    assert count(filled.path) == 2
    assert run("--store", filled.path, "store", "verify").code == 0


def test_a_log_beside_no_snapshot_is_not_thrown_away(config):
    config.path.with_name("s.duckdb.wal").write_bytes(b"somebody else's")
    with pytest.raises(BadDataError, match="belongs to another file"):
        Store.open(config)
