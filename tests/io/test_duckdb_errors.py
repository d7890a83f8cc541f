"""What DuckDB says is told apart by its words: each is provoked with the DuckDB installed."""

import errno
import os
import subprocess
import sys

import duckdb
import pytest

from finsent_batch.errors import BadDataError, ConfigError, StorageError
from finsent_batch.io.atomic import sha256_file
from finsent_batch.io.duckdb_errors import (
    Kind,
    as_expected,
    classify,
    is_disk_full,
    is_storage_failure,
)
from finsent_batch.io.parquet import ParquetSource
from finsent_batch.progress import StopRequest

from ..conftest import REPOSITORY
from ..helpers.system_calls import AVAILABLE

BEGIN = """
import errno, os, resource, signal, subprocess, sys
import duckdb
from finsent_batch.io.duckdb_errors import classify
from tests.helpers.system_calls import FDATASYNC, PREAD64, PWRITE64, fail

ROWS = "CREATE TABLE t AS SELECT i, hash(i) AS h FROM range({}) AS t(i)"

def filled(file="a.duckdb"):
    with duckdb.connect(file) as connection:
        connection.execute(ROWS.format(300_000))

def opened(file="a.duckdb"):
    connection = duckdb.connect(file)
    connection.execute("SET threads = 1")
    return connection

def headers(file):
    # Each of the two database headers begins with a checksum over its other words.
    for start in (4096, 8192):
        file.seek(start)
        block = file.read(4096)
        words = [int.from_bytes(block[i : i + 8], "little") for i in range(0, 4096, 8)]
        yield start, words

def signed(words):
    total = 5381
    for word in words[1:]:
        total ^= word * 0xBF58476D1CE4E5B9 % 2**64
    return b"".join(word.to_bytes(8, "little") for word in [total, *words[1:]])
"""
HOLD = "import duckdb, sys; c = duckdb.connect('a.duckdb'); print(1, flush=True); sys.stdin.read()"
WAL = (
    "import duckdb, os; c = duckdb.connect('{}.duckdb'); c.execute('CREATE TABLE u (i INT)'); "
    "c.execute('CHECKPOINT'); c.execute('INSERT INTO u VALUES (1)'); os._exit(0)"
)
PROVOKED = {
    "spill": (Kind.DISK_FULL, """
c = opened(":memory:")
c.execute("SET memory_limit = '20MB'")
c.execute("SET temp_directory = 'spill'")
c.execute("SET max_temp_directory_size = '1MB'")
c.execute(ROWS.format(10_000_000))"""),
    "size limit": (Kind.DISK_FULL, """
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
filled()"""),
    "full": (Kind.DISK_FULL, """
c = opened()
fail(PWRITE64, errno.ENOSPC)
c.execute(ROWS.format(300_000))
c.execute("CHECKPOINT")"""),
    "quota": (Kind.DISK_FULL, """
c = opened()
fail(PWRITE64, errno.EDQUOT)
c.execute(ROWS.format(300_000))
c.execute("CHECKPOINT")"""),
    "full on leaving": (Kind.DISK_FULL, """
c = opened(":memory:")
c.execute("ATTACH 'a.duckdb' AS a")
c.execute(ROWS.format(300).replace("TABLE t", "TABLE a.t"))
fail(PWRITE64, errno.ENOSPC)
c.execute("DETACH a")"""),
    "fsync": (Kind.IO_FAILED, """
c = opened()
fail(FDATASYNC, errno.EIO)
c.execute(ROWS.format(300))
c.execute("CHECKPOINT")"""),
    "bad sector": (Kind.IO_FAILED, """
filled()
c = opened()
fail(PREAD64, errno.EIO)
c.execute("SELECT sum(h) FROM t").fetchall()"""),
    "open files": (Kind.IO_FAILED, """
c = opened()
resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
c.execute(ROWS.format(300))"""),
    "memory": (Kind.OUT_OF_MEMORY, """
c = opened(":memory:")
c.execute("SET memory_limit = '20MB'")
c.execute("SET temp_directory = ''")
c.execute(ROWS.format(10_000_000))"""),
    "locked": (Kind.LOCKED, f"""
filled()
holder = subprocess.Popen([sys.executable, "-c", {HOLD!r}],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE)
holder.stdout.readline()
try:
    opened()
finally:
    holder.kill()
    holder.wait()"""),
    "already open": (Kind.ALREADY_OPEN, """
filled()
c = opened()
opened(":memory:").execute("ATTACH 'a.duckdb' AS b")"""),
    "text": (Kind.NOT_A_DATABASE, """
open("a.duckdb", "w").write("text" * 3000)
opened(":memory:").execute("ATTACH 'a.duckdb' AS b (TYPE duckdb)")"""),
    "truncated": (Kind.DAMAGED, """
filled()
os.truncate("a.duckdb", 5000)
opened()"""),
    "corrupt": (Kind.DAMAGED, """
filled()
with open("a.duckdb", "r+b") as file:
    for at in range(20_000, os.path.getsize("a.duckdb"), 5000):
        file.seek(at)
        file.write(b"corrupt")
opened().execute("SELECT sum(h) FROM t").fetchall()"""),
    "foreign log": (Kind.FOREIGN_WAL, f"""
for name in "ab":
    subprocess.run([sys.executable, "-c", {WAL!r}.format(name)], check=True)
os.replace("b.duckdb.wal", "a.duckdb.wal")
opened()"""),
    "newer": (Kind.NEWER_DUCKDB, """
filled()
with open("a.duckdb", "r+b") as file:
    for start, words in list(headers(file)):
        words[7] = 99_999  # the version of the format
        file.seek(start)
        file.write(signed(words))
opened()"""),
    "no permission": (Kind.NO_PERMISSION, """
filled()
os.chmod("a.duckdb", 0)
if os.geteuid() == 0:
    os.setresuid(65534, 65534, 65534)
opened(":memory:").execute(f"ATTACH '{os.getcwd()}/a.duckdb' AS b")"""),
    "out of reach": (Kind.OUT_OF_REACH, """
c = opened(":memory:")
c.execute("SET enable_external_access = false")
c.execute("FROM read_csv('/etc/passwd')")"""),
    "read-only": (Kind.READ_ONLY, """
filled()
duckdb.connect("a.duckdb", read_only=True).execute("INSERT INTO t VALUES (1, 2)")"""),
    "an ordinary mistake": (None, """
opened(":memory:").execute("FROM nowhere")"""),
}  # fmt: skip
"""What leads to each kind, as programs of their own: some of it cannot be undone."""


@pytest.mark.parametrize("name", PROVOKED)
def test_each_kind_is_known_by_what_the_installed_duckdb_says(name, tmp_path):
    kind, program = PROVOKED[name]
    if "fail(" in program and not AVAILABLE:
        pytest.skip("system calls can be made to fail on x86-64 Linux alone")
    tmp_path.chmod(0o777)
    body = "\n".join(f"    {line}" for line in program.splitlines())
    code = f"{BEGIN}\ntry:{body}\nexcept duckdb.Error as error:\n    told = error\n"
    code += "print(getattr(classify(told), 'name', None), told, flush=True)\nos._exit(0)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path, env={"PYTHONPATH": str(REPOSITORY)}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.stdout.split(" ")[0] == str(kind and kind.name), done.stdout + done.stderr


def test_every_kind_is_provoked():
    assert {kind for kind, _ in PROVOKED.values()} == {None, *Kind}


@pytest.mark.parametrize(
    ("number", "full", "said"),
    [
        (errno.ENOSPC, True, "the disk is full (No space left on device): make room and run"),
        (errno.EIO, False, "reading or writing failed (Input/output error): check the disk and"),
        (errno.EMFILE, False, "Too many open files): raise the limit of open files (ulimit -n)"),
    ],
)
def test_errors_of_the_system_end_a_run_with_74(number, full, said):
    error = OSError(number, os.strerror(number))
    assert (is_disk_full(error), is_storage_failure(error)) == (full, True)
    expected = as_expected(error, StopRequest())
    assert isinstance(expected, StorageError)
    assert said in str(expected)


def test_what_duckdb_says_ends_a_run_as_what_it_is():
    stop = StopRequest()
    for error, kind in (
        (duckdb.OutOfMemoryException("out of memory"), ConfigError),
        (duckdb.FatalException("FATAL Error: fsync failed!"), StorageError),
        (duckdb.TransactionException("Cannot open file: Too many open files"), StorageError),
        (duckdb.Error("Corrupt database file"), BadDataError),
    ):
        assert isinstance(as_expected(error, stop), kind)
    bug = duckdb.BinderException("no such column")
    assert as_expected(bug, stop) is bug
    assert classify(ValueError("No space left on device")) is None


@pytest.mark.parametrize("number", [errno.EIO, errno.EMFILE])
def test_an_input_that_cannot_be_read_now_is_not_called_damaged(number, tmp_path, monkeypatch):
    def failing(*_):
        raise OSError(number, "failed")

    monkeypatch.setattr("pyarrow.parquet.ParquetFile", failing)
    with pytest.raises(StorageError, match="and run again"):
        ParquetSource(tmp_path / "a.parquet")


def test_a_file_and_a_stream_have_one_hash(tmp_path):
    (tmp_path / "f").write_bytes(b"abc")
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256_file(tmp_path / "f") == known
    with (tmp_path / "f").open("rb") as stream:
        assert sha256_file(stream) == known
