"""The store: what it accepts as its file, what it keeps, how it is shared."""

import random
import subprocess
import sys
from datetime import timedelta

import duckdb
import pytest

from finsent_batch.config import StoreConfig
from finsent_batch.errors import (
    BadDataError,
    CannotCreateError,
    ConfigError,
    MissingInputError,
    TryAgainError,
)
from finsent_batch.store.schema import SCHEMA_VERSION
from finsent_batch.store.store import Store

from ..helpers.store_rows import NOON, fill, score_row

# ---- what it is


@pytest.mark.parametrize(
    ("table", "columns"),
    [
        (
            "scores",
            "headline_key model_fingerprint headline p_negative p_neutral p_positive truncated "
            "run_id scored_at",
        ),
        ("runs", "run_id status exit_code started_at finished_at input output model device"),
        ("run_files", "run_id input input_table output output_table rows published_at"),
        ("models", "model_fingerprint model family base weights path"),
        ("evaluations", "evaluated_at model_fingerprint data n accuracy macro_f1 weighted_f1 ece"),
        ("quarantine", "run_id input row_number line_number reason content"),
    ],
)
def test_a_new_store_has_the_tables_that_sql_relies_on(config, table, columns):
    fill(config)
    with duckdb.connect(config.path, read_only=True) as plain:
        found = [row[0] for row in plain.execute(f"DESCRIBE {table}").fetchall()]
    assert set(columns.split()) <= set(found)


def test_types_of_scores(config):
    fill(config)
    with duckdb.connect(config.path, read_only=True) as plain:
        kinds = dict(row[:2] for row in plain.execute("DESCRIBE scores").fetchall())
    assert kinds["headline_key"] == "UUID"
    assert kinds["p_negative"] == kinds["p_neutral"] == kinds["p_positive"] == "FLOAT"
    assert kinds["truncated"] == "BOOLEAN"
    assert kinds["scored_at"] == "TIMESTAMP"


def test_opening_again_keeps_everything(config):
    fill(config, score_row(1))
    with Store.open(config) as store:
        assert store.query("SELECT headline, p_positive FROM scores") == [("Headline 1", 0.5)]
        assert store.query("SELECT schema_version FROM store_info") == [(SCHEMA_VERSION,)]


def test_a_reader_cannot_write(config):
    fill(config)
    with (
        Store.open(config, read_only=True) as store,
        pytest.raises(duckdb.InvalidInputException, match="read-only"),
    ):
        store.insert("scores", score_row(1))


def test_a_transaction_that_fails_leaves_nothing(config):
    fill(config, score_row(1))
    with Store.open(config) as store:
        with pytest.raises(duckdb.CatalogException), store.transaction() as connection:
            connection.execute("DELETE FROM scores; DROP TABLE none_such")
        assert store.query("SELECT count(*) FROM scores") == [(1,)]
        with store.transaction() as connection:
            connection.execute("DELETE FROM scores")
        assert store.query("SELECT count(*) FROM scores") == [(0,)]


def test_a_row_of_runs_is_replaced_and_one_of_scores_is_added(config):
    fill(config, score_row(1), score_row(1))
    with Store.open(config) as store:
        store.upsert("runs", {"run_id": "run", "status": "failed", "started_at": NOON})
        assert store.query("SELECT status FROM runs") == [("failed",)]
        assert store.query("SELECT count(*) FROM scores") == [(2,)]


# ---- the folder for spilling


def test_the_work_folder_goes_with_its_store(config):
    with Store.open(config) as store:
        folder = store.work_folder()
        (folder / "0.parquet").write_text("staged")
    assert not folder.exists()


def test_what_a_killed_run_left_in_the_work_folder_goes_with_the_next(config):
    left = [config.path.with_name(name) for name in ("s.duckdb.work", "s.duckdb.work.12345")]
    for folder in left:
        folder.mkdir()
        (folder / "duckdb_temp.block").write_text("left behind")
    with Store.open(config):
        assert not any(folder.exists() for folder in left)


def test_two_readers_have_a_work_folder_each(config):
    fill(config)
    program = (
        "import sys; from pathlib import Path; from finsent_batch.store.store import Store\n"
        "from finsent_batch.config import StoreConfig\n"
        "with Store.open(StoreConfig(path=Path(sys.argv[1])), read_only=True) as s:\n"
        "    s.work_folder()"
    )
    with Store.open(config, read_only=True) as store:
        (store.work_folder() / "0.parquet").write_text("staged")
        subprocess.run([sys.executable, "-c", program, config.path], check=True)
        assert (store.work / "0.parquet").exists()
    assert [file.name for file in config.path.parent.iterdir() if "work." in file.name] == []


# ---- what it does not accept


def test_a_store_of_a_newer_version(config):
    fill(config)
    with duckdb.connect(config.path) as plain:
        plain.execute(f"UPDATE store_info SET schema_version = {SCHEMA_VERSION + 1}")
    said = f"has schema {SCHEMA_VERSION + 1}, this version knows {SCHEMA_VERSION}: upgrade"
    with pytest.raises(ConfigError, match=said) as caught:
        Store.open(config)
    assert caught.value.exit_code == 78


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE trades (id INTEGER)",
        "CREATE VIEW trades AS SELECT 1 AS id",
        "CREATE TABLE store_info (id INTEGER)",
    ],
)
def test_a_duckdb_file_of_somebody_else_is_left_alone(config, statement):
    with duckdb.connect(config.path) as plain:
        plain.execute(statement)
        before = plain.execute("SHOW TABLES").fetchall()
    with pytest.raises(ConfigError, match="is a DuckDB file but not a finsent store"):
        Store.open(config)
    with duckdb.connect(config.path) as plain:
        assert plain.execute("SHOW TABLES").fetchall() == before


def test_a_file_that_is_no_database_is_left_alone(config):
    config.path.write_text("a text\n" * 5000)
    with pytest.raises(BadDataError, match="is not a DuckDB database: name another --store"):
        Store.open(config)
    assert config.path.read_text() == "a text\n" * 5000


@pytest.mark.parametrize("size", [100, 20_000])
def test_a_store_that_was_cut_short(config, size):
    fill(config, score_row(1))
    config.path.write_bytes(config.path.read_bytes()[:size])
    with pytest.raises(BadDataError, match=r"damaged .*: move it away, and the next run goes on"):
        Store.open(config)


def test_there_is_nothing_to_read(config):
    with pytest.raises(MissingInputError, match=r"no store at .*: score something first"):
        Store.open(config, read_only=True)
    assert not config.path.exists()


def test_the_store_s_folder_must_exist(tmp_path):
    config = StoreConfig(path=tmp_path / "no" / "s.duckdb")
    with pytest.raises(CannotCreateError, match=r"folder .*no does not exist: create it"):
        Store.open(config)
    with pytest.raises(CannotCreateError, match="is a folder: name a file with --store"):
        Store.open(StoreConfig(path=tmp_path))


def test_a_memory_limit_that_is_no_size(tmp_path):
    config = StoreConfig(path=tmp_path / "s.duckdb", memory_limit="lots")
    with pytest.raises(ConfigError, match="'lots' is not a size such as 512MB or 2GB"):
        Store.open(config)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(params=["s.duckdb", "s.duckdb.working"])
def held(config, request):
    """One of a store's files that another process holds open to write; gives that process."""
    fill(config)
    program = (
        "import duckdb, sys\n"
        "connection = duckdb.connect(sys.argv[1]); print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, config.path.with_name(request.param)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.stdin.close()


def test_who_holds_a_file_keeps_out_only_who_opens_the_same(config, held, request):
    for_reading = request.node.callspec.params["held"] == "s.duckdb"
    said = (
        rf"s.duckdb is in use by process {held.pid} .*{'-readonly' if for_reading else '--store'}"
    )
    with pytest.raises(TryAgainError, match=said) as caught:
        Store.open(config, read_only=for_reading)
    assert caught.value.exit_code == 75
    with Store.open(config, read_only=not for_reading) as store:
        assert store.query("SELECT run_id FROM runs") == [("run",)]


def test_times_follow_each_other_by_any_clock(tmp_path):
    """Clocks that jump by years, back and forth: what was written later has the later time."""
    draw = random.Random(0)
    with Store.open(StoreConfig(path=tmp_path / "s.duckdb")) as store:
        for i in range(40):
            now = NOON + timedelta(
                days=draw.randint(-4_000, 4_000), microseconds=draw.randint(0, 9)
            )
            at = store.after("runs", "started_at", now)
            assert at >= now
            store.insert("runs", {"run_id": f"{i:02}", "status": "done", "started_at": at})
        shown = store.query("SELECT run_id FROM runs ORDER BY started_at")
        assert [name for (name,) in shown] == [f"{i:02}" for i in range(40)]
        [(different,)] = store.query("SELECT count(DISTINCT started_at) FROM runs")
        assert different == 40
