"""SQL that somebody keeps in the store: what would act within ours is refused."""

import os
import re
import shutil

import duckdb
import polars as pl
import pytest

import finsent_batch as fb
from finsent_batch.config import StoreConfig
from finsent_batch.store.foreign_code import SeenFile
from finsent_batch.store.store import Store

MACROS = (
    "sha256(x) AS 'same'",
    "read_parquet(x) AS TABLE SELECT 1 AS a",
    '"||"(a, b) AS a',
    "duckdb_functions() AS TABLE SELECT 1 AS a WHERE false",
    "bool_or(a) AS false",
    "count_star() AS 7",
)
COMMANDS = ("score feed.parquet", "query label_mix", "store verify", "runs", "store compact")
PLANTED = "UPDATE scores SET p_positive = 1"
TRIGGER = f"CREATE TRIGGER planted AFTER INSERT ON runs FOR EACH STATEMENT {PLANTED}"


@pytest.fixture(scope="module")
def scored(tmp_path_factory, tiny_model):
    """A folder with a feed and the store of its run."""
    folder = tmp_path_factory.mktemp("scored")
    pl.DataFrame({"headline": ["Oil falls", "Bank cuts jobs"]}).write_parquet(
        folder / "feed.parquet"
    )
    fb.score(
        fb.ScoreConfig(
            input=str(folder / "feed.parquet"),
            store=folder / "finsent.duckdb",
            model=fb.ModelConfig(model=str(tiny_model), weights="fp32"),
        )
    )
    return folder


@pytest.fixture
def store(run, scored, tmp_path):
    """The store, in the working folder."""
    shutil.copytree(scored, tmp_path, dirs_exist_ok=True)
    return tmp_path / "finsent.duckdb"


def act(store, sql):
    with duckdb.connect(str(store)) as connection:
        connection.execute(sql)


def refused(run, command):
    done = run(*command.split())
    assert done.code == 78, done.err
    assert done.err.count("\n") == 1
    advice = re.search(r"DROP (MACRO \S+|TRIGGER \S+ ON \w+)", done.err)
    assert advice is not None, done.err
    return advice[0]


@pytest.mark.parametrize("macro", MACROS)
def test_a_macro_that_hides_a_function_is_refused(run, store, macro):
    act(store, f"CREATE MACRO {macro}")
    [advice] = {refused(run, command) for command in COMMANDS}
    act(store, advice)
    assert run("store", "verify").code == 0


def test_a_trigger_is_refused(run, store):
    act(store, TRIGGER)
    act(store, refused(run, "store verify"))
    assert run("store", "verify").code == 0


def test_a_macro_of_one_s_own_may_stay(score, run, store):
    act(store, "CREATE MACRO strong(x) AS abs(x) > 0.9")
    for command in ("query label_mix", "store verify", "store compact"):
        assert run(*command.split()).code == 0
    assert score("feed.parquet", "-o", "o.parquet")["rows"]["unique_scored"] == 0


def test_a_file_that_was_looked_through_is_again_once_it_is_touched(run, store, tmp_path):
    planted = shutil.copy(store, tmp_path / "planted.duckdb")
    for command in ("store verify", "runs"):
        assert run(*command.split()).code == 0
    working = store.with_name(f"{store.name}.working")
    assert SeenFile.of(store).is_clean()
    assert SeenFile.of(working).is_clean()
    act(planted, f"CREATE MACRO {MACROS[0]}")
    for file, command in ((store, "runs"), (working, "store verify")):
        kept, times = file.read_bytes(), file.stat()
        # In its place, of any size and age that one likes: the time of the change tells.
        file.write_bytes(planted.read_bytes())
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
        assert not SeenFile.of(file).is_clean()
        refused(run, command)
        file.write_bytes(kept)
        assert run(*command.split()).code == 0
    act(store, f"CREATE MACRO {MACROS[1]}")
    refused(run, "runs")


def test_a_file_that_is_replaced_while_it_is_opened_is_not_noted(store, tmp_path):
    other = shutil.copy(store, tmp_path / "other.duckdb")
    before = SeenFile.of(store)
    other.rename(store)
    before.note_clean()
    assert not SeenFile.of(store).is_clean()
    assert not before.is_clean()


def test_a_file_put_in_place_of_the_one_that_is_written_is_not_noted(store):
    working = store.with_name(f"{store.name}.working")
    other = shutil.copy(store, store.with_name("other.duckdb"))
    act(other, f"CREATE MACRO {MACROS[0]}")
    with Store.open(StoreConfig(path=store)) as opened:
        opened.connection.execute("UPDATE scores SET truncated = NOT truncated")
        other.rename(working)
    assert not SeenFile.of(working).is_clean()
    assert not SeenFile.of(store).is_clean()


def test_a_name_too_long_for_a_log_beside_it_is_said_in_one_line(run, store):
    file = store.rename(store.with_name("s" * 250 + ".db"))
    done = run("--store", file.name, "runs")
    assert done.code == 74, done.err
    assert done.err.count("\n") == 1
    assert "cannot open the store" in done.err
