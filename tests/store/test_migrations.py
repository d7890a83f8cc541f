"""Stores of earlier schemas: they open, come up to date, and answer as before."""

import json

import duckdb
import polars as pl
import pytest

from finsent_batch.config import StoreConfig
from finsent_batch.errors import ConfigError
from finsent_batch.io import sql as packaged_sql
from finsent_batch.io.paths import working_of
from finsent_batch.models.registry import current_promotion
from finsent_batch.queries.run import run_query, run_sql
from finsent_batch.store import schema
from finsent_batch.store.export import MANIFEST, export_store, import_store
from finsent_batch.store.schema import MIGRATIONS, SCHEMA_VERSION
from finsent_batch.store.store import Store
from finsent_batch.store.verify import check_store

# The first schema 1, of the time before `models promote`.
FIRST = """
CREATE TABLE store_info (schema_version INTEGER NOT NULL, created_at TIMESTAMP);
CREATE TABLE scores (
    headline_key UUID NOT NULL, model_fingerprint VARCHAR NOT NULL, headline VARCHAR,
    p_negative FLOAT NOT NULL, p_neutral FLOAT NOT NULL, p_positive FLOAT NOT NULL,
    truncated BOOLEAN NOT NULL, run_id VARCHAR NOT NULL, scored_at TIMESTAMP NOT NULL);
CREATE TABLE runs (
    run_id VARCHAR PRIMARY KEY, status VARCHAR NOT NULL, exit_code INTEGER, version VARCHAR,
    started_at TIMESTAMP NOT NULL, finished_at TIMESTAMP, input VARCHAR, output VARCHAR,
    model VARCHAR, model_fingerprint VARCHAR, device VARCHAR, rows_read BIGINT,
    rows_scored BIGINT, rows_reused BIGINT, rows_truncated BIGINT, rows_empty BIGINT,
    rows_invalid BIGINT, unique_scored BIGINT, tokens BIGINT, seconds DOUBLE,
    headlines_per_second DOUBLE, options JSON, summary JSON);
CREATE TABLE run_files (
    run_id VARCHAR NOT NULL, input VARCHAR NOT NULL, input_table VARCHAR,
    output VARCHAR NOT NULL, output_table VARCHAR, rows BIGINT, published_at TIMESTAMP);
CREATE TABLE models (
    model_fingerprint VARCHAR PRIMARY KEY, model VARCHAR, family VARCHAR, base VARCHAR,
    weights VARCHAR, path VARCHAR, first_used_at TIMESTAMP, details JSON);
CREATE TABLE evaluations (
    evaluated_at TIMESTAMP NOT NULL, model VARCHAR, model_fingerprint VARCHAR NOT NULL,
    data VARCHAR, n BIGINT, accuracy DOUBLE, macro_f1 DOUBLE, weighted_f1 DOUBLE, ece DOUBLE,
    metrics JSON);
CREATE TABLE quarantine (
    run_id VARCHAR NOT NULL, input VARCHAR NOT NULL, row_number BIGINT, line_number BIGINT,
    reason VARCHAR NOT NULL, content VARCHAR, recorded_at TIMESTAMP NOT NULL);
"""
PROMOTIONS_AND_MARKS = """
CREATE TABLE promotions (
    promoted_at TIMESTAMP NOT NULL, model VARCHAR NOT NULL, model_fingerprint VARCHAR NOT NULL,
    weights VARCHAR NOT NULL, data VARCHAR, gates VARCHAR[], metrics JSON,
    rolled_back_at TIMESTAMP);
CREATE TABLE file_marks (
    path VARCHAR NOT NULL, size BIGINT NOT NULL, mtime_ns BIGINT NOT NULL, mark JSON NOT NULL);
"""
FILE_HASHES = """
CREATE TABLE file_hashes (
    path VARCHAR PRIMARY KEY, size BIGINT NOT NULL, mtime_ns BIGINT NOT NULL,
    sha256 VARCHAR NOT NULL);
"""
HASHED_FILES = """
CREATE TABLE hashed_files (
    path VARCHAR PRIMARY KEY, device UBIGINT NOT NULL, inode UBIGINT NOT NULL,
    size BIGINT NOT NULL, mtime_ns BIGINT NOT NULL, ctime_ns BIGINT NOT NULL,
    sha256 VARCHAR NOT NULL);
"""
SETTLED = """
ALTER TABLE run_files ADD COLUMN number BIGINT;
ALTER TABLE run_files ADD COLUMN text_column VARCHAR;
ALTER TABLE run_files ADD COLUMN date_column VARCHAR;
ALTER TABLE run_files ADD COLUMN date_format VARCHAR;
ALTER TABLE run_files ADD COLUMN timezone VARCHAR;
ALTER TABLE run_files ADD COLUMN undated BIGINT;
ALTER TABLE run_files ADD COLUMN faults JSON;
ALTER TABLE run_files ADD COLUMN row_limit BIGINT;
ALTER TABLE run_files ADD COLUMN content VARCHAR;
ALTER TABLE run_files ADD COLUMN forgotten_at TIMESTAMP;
"""
EARLIER = {
    "first": FIRST,
    "with promotions": FIRST + PROMOTIONS_AND_MARKS + FILE_HASHES,
    "with hashed files": FIRST + PROMOTIONS_AND_MARKS + HASHED_FILES,
    "with settled columns": FIRST + PROMOTIONS_AND_MARKS + HASHED_FILES + SETTLED,
}
"""The DDL of every store that calls itself schema 1."""


def tables_of(connection):
    return [row[0] for row in connection.execute("SHOW TABLES").fetchall()]


def make_earlier(file, ddl, contents=None):
    """Make a store as an earlier version did, with what the store `contents` has for its tables."""
    with duckdb.connect(file) as old:
        old.execute(ddl)
        tables = tables_of(old)
        old.execute("INSERT INTO store_info VALUES (1, TIMESTAMP '2025-01-01')")
        if contents is not None:
            old.execute(f"ATTACH '{contents}' AS new (READ_ONLY)")
            known = {row[0] for row in old.execute("SHOW TABLES FROM new").fetchall()}
            for table in set(tables) & known - {"store_info"}:
                columns = ", ".join(row[0] for row in old.execute(f"DESCRIBE {table}").fetchall())
                old.execute(f"INSERT INTO {table} SELECT {columns} FROM new.{table}")
        if "file_hashes" in tables:
            old.execute("INSERT INTO file_hashes VALUES ('model.safetensors', 1, 2, 'x')")


def layout(file):
    """Columns, types and constraints of every table."""
    with duckdb.connect(file, read_only=True) as connection:
        columns = connection.execute(
            "SELECT table_name, column_name, data_type, is_nullable FROM duckdb_columns() "
            "WHERE NOT internal ORDER BY table_name, column_index"
        ).fetchall()
        keys = connection.execute(
            "SELECT table_name, constraint_type, constraint_column_names FROM "
            "duckdb_constraints() ORDER BY ALL"
        ).fetchall()
    return columns, keys


@pytest.fixture
def night(score, tmp_path):
    """A store with one run over a CSV file."""
    pl.DataFrame({"headline": ["Oil falls", "Bank cuts jobs", ""]}).write_csv(tmp_path / "mon.csv")
    score("mon.csv", "-o", "mon.out.csv")
    return tmp_path / "finsent.duckdb"


@pytest.fixture(params=EARLIER)
def earlier(request, night, tmp_path):
    """The same store as an earlier version would have it, in its place; and as it was."""
    now = night.rename(tmp_path / "now.duckdb")
    make_earlier(night, EARLIER[request.param], now)
    return night, now


@pytest.mark.parametrize("ddl", EARLIER.values(), ids=EARLIER)
def test_a_migrated_store_is_laid_out_like_a_new_one(tmp_path, ddl):
    make_earlier(tmp_path / "old.duckdb", ddl)
    for name in ("old", "new"):
        with Store.open(StoreConfig(path=tmp_path / f"{name}.duckdb")) as store:
            store.session.publish(store.file)
    assert layout(tmp_path / "old.duckdb") == layout(tmp_path / "new.duckdb")


def test_migrations_are_numbered_without_gaps():
    names = packaged_sql.sql_names("store/migrations")
    numbers = [int(name.partition("_")[0]) for name in names]
    assert numbers == list(MIGRATIONS) == list(range(2, SCHEMA_VERSION + 1))


def test_each_step_is_recorded_once(tmp_path):
    config = StoreConfig(path=tmp_path / "s.duckdb")
    make_earlier(config.path, EARLIER["with promotions"])
    for _ in range(2):
        with Store.open(config) as store:
            found = store.query("SELECT schema_version, created_at FROM store_info ORDER BY 1")
    assert [version for version, _ in found] == list(range(1, SCHEMA_VERSION + 1))
    assert found[0][1].year == 2025


def test_nothing_is_scored_again_and_its_own_output_is_replaced(score, earlier, request):
    # The first stores did not remember which CSV files are their own.
    first = request.node.callspec.params["earlier"] == "first"
    done = score("mon.csv", "-o", "mon.out.csv", *(["--overwrite"] if first else []))
    assert (done["rows"]["unique_scored"], done["rows"]["scored"]) == (0, 2)


def answers(file):
    store = StoreConfig(path=file)
    return [
        run_query("label_mix", store).rows(),
        run_query("run_history", store).rows(),
        run_sql("SELECT * FROM headline_scores ORDER BY headline_key", store).to_pylist(),
        run_sql("SELECT count(*) AS n FROM promotions", store).to_pylist(),
    ]


def test_it_answers_the_same_before_and_after(earlier, tmp_path):
    old, now = earlier
    expected = answers(now)
    before = old.read_bytes()
    assert answers(old) == expected
    assert old.read_bytes() == before, "reading changed it"
    with Store.open(StoreConfig(path=old)):
        assert old.read_bytes() == before, "nothing to publish yet"
    copy = tmp_path / "copy.duckdb"
    copy.write_bytes(working_of(old).read_bytes())
    assert answers(copy) == expected
    assert answers(old) == expected
    assert check_store(StoreConfig(path=old)) == 2


def test_a_reader_finds_empty_what_an_older_store_lacks(tmp_path):
    config = StoreConfig(path=tmp_path / "s.duckdb")
    make_earlier(config.path, FIRST)
    with duckdb.connect(config.path) as plain:
        plain.execute("INSERT INTO run_files VALUES ('r', 'in', NULL, 'out', NULL, 3, now())")
        plain.execute("ALTER TABLE run_files DROP COLUMN rows")
    with Store.open(config, read_only=True) as store:
        assert current_promotion(store) is None
        assert store.query("FROM file_marks") == store.query("FROM hashed_files") == []
        assert store.query("SELECT run_id, rows FROM run_files") == [("r", None)]


def test_a_migration_that_fails_leaves_the_store_as_it_was(tmp_path, monkeypatch):
    config = StoreConfig(path=tmp_path / "s.duckdb")
    make_earlier(config.path, EARLIER["with promotions"])
    before = layout(config.path)

    def broken(name):
        text = packaged_sql.read_sql(name)
        return (
            text + "; SELECT error('out of luck')" if name == MIGRATIONS[SCHEMA_VERSION] else text
        )

    monkeypatch.setattr(schema, "read_sql", broken)
    with pytest.raises(duckdb.Error, match="out of luck"):
        Store.open(config)
    assert layout(config.path) == before
    assert [file.name for file in tmp_path.iterdir()] == ["s.duckdb"]
    monkeypatch.undo()
    with Store.open(config) as store:
        store.session.publish(store.file)
    assert layout(config.path) != before


def test_a_store_whose_version_is_not_said_is_the_first(tmp_path):
    config = StoreConfig(path=tmp_path / "s.duckdb")
    make_earlier(config.path, FIRST)
    with duckdb.connect(config.path) as plain:
        plain.execute("DELETE FROM store_info")
    with Store.open(config) as store:
        [(version,)] = store.query("SELECT max(schema_version) FROM store_info")
    assert version == SCHEMA_VERSION


def test_an_export_of_an_earlier_schema_is_imported(night, tmp_path):
    folder = tmp_path / "export"
    with Store.open(StoreConfig(path=night), read_only=True) as store:
        export_store(store, folder)
    manifest = json.loads((folder / MANIFEST).read_text())
    del manifest["tables"]["promotions"]
    (folder / "promotions.parquet").unlink()
    (folder / MANIFEST).write_text(json.dumps(manifest | {"schema_version": 1}))
    with Store.open(StoreConfig(path=tmp_path / "other.duckdb")) as store:
        added = import_store(store, folder)
    assert (added["scores"], added["promotions"]) == (2, 0)
    assert answers(tmp_path / "other.duckdb")[2] == answers(night)[2]


def test_an_empty_older_file_is_refused_to_readers(tmp_path):
    config = StoreConfig(path=tmp_path / "s.duckdb")
    duckdb.connect(config.path).close()
    with pytest.raises(ConfigError, match="is empty"):
        Store.open(config, read_only=True)
