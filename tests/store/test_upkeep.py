"""`store compact`, `export` and `import`: nothing lost, whole or not at all."""

import json
import subprocess
import sys

import duckdb
import polars as pl
import pytest

from finsent_batch.config import StoreConfig
from finsent_batch.errors import (
    BadDataError,
    CannotCreateError,
    ConfigError,
    StorageError,
    TryAgainError,
)
from finsent_batch.store import compact as store_compact
from finsent_batch.store import takeover
from finsent_batch.store.export import MANIFEST, export_store, import_store
from finsent_batch.store.store import Store

from ..helpers import forks
from ..helpers.stores import FILES, committed

TABLES = (
    *("scores", "runs", "run_files", "nights", "models", "evaluations", "promotions"),
    *("quarantine", "review_samples", "reviews"),
)


def contents(file):
    """All rows of the store's tables, as text, sorted."""
    with duckdb.connect(file, read_only=True) as connection:
        return {t: sorted(map(repr, connection.execute(f"FROM {t}").fetchall())) for t in TABLES}


def ask(file, sql):
    with duckdb.connect(file, read_only=True) as connection:
        return connection.execute(sql).fetchall()


@pytest.fixture
def nights(score, tmp_path):
    """Three nights, each scored into one table: files mon, tue, wed; two headlines in common."""
    texts = {"mon": ["Oil falls", "Bank cuts jobs"], "tue": ["Oil falls", "Sales rise"],
             "wed": ["Net loss", "Sales rise"]}  # fmt: skip
    for name, headlines in texts.items():
        pl.DataFrame({"headline": headlines}).write_csv(tmp_path / f"{name}.csv")
        score(f"{name}.csv", "-o", f"{name}.out.csv")
    return tmp_path / "finsent.duckdb"


def fill(file, rows=50_000):
    with Store.open(StoreConfig(path=file), create=False) as store:
        [(run_id, fingerprint)] = store.query("SELECT run_id, model_fingerprint FROM runs LIMIT 1")
        store.connection.execute(
            "INSERT INTO scores SELECT md5(i::VARCHAR)::UUID, ?, 'Headline ' || md5(i::VARCHAR), "
            "0.2, 0.3, 0.5, false, ?, now() FROM range(?) AS t(i)",
            [fingerprint, run_id, rows],
        )


def test_compact_gives_room_back_and_changes_nothing(run, nights):
    fill(nights)
    with duckdb.connect(nights) as connection:
        connection.execute("DELETE FROM scores WHERE starts_with(headline, 'Headline')")
        connection.execute("CREATE VIEW mine AS SELECT count(*) AS n FROM scores")
    before, size = contents(nights), nights.stat().st_size
    done = run("store", "compact")
    assert done.code == 0, done.err
    assert "0 runs and 0 scores deleted" in done.out
    assert nights.stat().st_size < size
    assert contents(nights) == before
    assert ask(nights, "FROM mine") == [(4,)]
    assert run("store", "verify").code == 0
    left = {f.name for f in nights.parent.iterdir() if "finsent" in f.name}
    assert left == FILES


def test_keep_runs_forgets_older_runs_and_what_they_scored(run, score, nights, tmp_path):
    done = run("store", "compact", "--keep-runs", "2")
    assert "1 run and 2 scores deleted" in done.out
    assert sorted(ask(nights, "SELECT headline FROM scores")) == [("Net loss",), ("Sales rise",)]
    assert run("store", "verify").code == 0
    # What was published stays known: queries read it, and the same command may replace it.
    assert json.loads(run("query", "label_mix", "--format", "json").out)
    assert len(ask(nights, "FROM run_files")) == 3
    assert score("mon.csv", "-o", "mon.out.csv")["rows"]["unique_scored"] == 2
    assert run("store", "compact", "--keep-runs", "99").code == 0
    assert len(ask(nights, "FROM runs")) == 3


def test_keep_runs_says_how_many_deleted_scores_published_outputs_have(run, nights, tmp_path):
    (tmp_path / "mon.out.csv").unlink()  # "Oil falls" stands in Tuesday's too
    done = run("store", "compact", "--keep-runs", "2")
    assert "1 run and 2 scores deleted; 1 of these stand in published outputs" in done.out
    with (tmp_path / "tue.out.csv").open("ab") as file:
        file.write(b'"')
    done = run("store", "compact", "--keep-runs", "1")
    assert "an unknown number of these stand in published outputs" in done.out
    assert "published outputs cannot be read" in done.err
    done = run("store", "compact", "--keep-runs", "1")
    assert done.out.endswith("0 runs and 0 scores deleted\n")


def test_keep_runs_counts_runs_that_were_done(run, nights):
    with duckdb.connect(nights) as connection:
        connection.execute(
            "UPDATE runs SET status = 'killed' "
            "WHERE started_at = (SELECT max(started_at) FROM runs)"
        )
    run("store", "compact", "--keep-runs", "2")
    assert len(ask(nights, "FROM runs")) == 3


KILLED = """
import os, signal, sys
from finsent_batch.store import compact as store_compact
from finsent_batch.store import takeover
from finsent_batch.jobs.cli import run
def kill(*_): os.kill(os.getpid(), signal.SIGKILL)
store_compact._put_in_place = kill
run(sys.argv[1:])
"""


def test_killed_while_compacting_the_store_is_as_it_was(run, nights):
    before = contents(nights)
    command = [sys.executable, "-c", KILLED, "store", "compact"]
    done = forks.run(command, cwd=nights.parent)
    assert done.returncode == -9
    assert contents(nights) == before
    assert run("store", "compact").code == 0
    assert contents(nights) == before
    assert not (nights.parent / "finsent.duckdb.work").exists()


def test_compact_creates_no_store_and_waits_for_none(run, nights):
    assert run("--store", "none.duckdb", "store", "compact").code == 66
    assert not (nights.parent / "none.duckdb").exists()
    holder = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", holder, committed(nights)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        process.stdout.readline()
        assert run("store", "compact").code == 75
        process.communicate(b"\n")


def test_a_full_disk_leaves_the_store_as_it_was(nights, monkeypatch):
    before = contents(nights)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"), Store.open(StoreConfig(path=nights)) as store:
        store_compact.compact(store)
    assert contents(nights) == before


def test_a_full_disk_met_by_duckdb_is_said_in_one_line(nights):
    with pytest.raises(StorageError, match="make room"), Store.open(StoreConfig(path=nights)):
        raise duckdb.IOException("Could not write file: No space left on device")


def test_a_store_that_is_replaced_while_it_is_opened_is_not_written_to(nights, monkeypatch):
    attach = takeover.attach_store

    def replaced_meanwhile(path, **options):
        connection = attach(path, **options)
        (path.parent / "new").write_bytes(path.read_bytes())
        (path.parent / "new").replace(path)
        return connection

    monkeypatch.setattr(takeover, "attach_store", replaced_meanwhile)
    with pytest.raises(TryAgainError, match="replaced just now"):
        Store.open(StoreConfig(path=nights))


# ---- export and import


def test_an_export_comes_back_as_it_was(run, nights, tmp_path):
    with duckdb.connect(nights) as connection:
        connection.execute(
            "INSERT INTO quarantine VALUES ('r', 'i', 1, 2, 'why', 'text', now()::TIMESTAMP)"
        )
        connection.execute(
            "INSERT INTO evaluations VALUES (now()::TIMESTAMP, 'm', 'f', 'd', 1, 1, 1, 1, 0, '{}')"
        )
    done = run("store", "export", "-o", "backup")
    assert (done.code, done.out) == (0, "wrote backup: 4 scores of 3 runs\n")
    assert {f.name for f in (tmp_path / "backup").iterdir()} == {
        MANIFEST, *(f"{t}.parquet" for t in TABLES)
    }  # fmt: skip
    done = run("--store", "new.duckdb", "store", "import", "backup")
    assert done.code == 0, done.err
    assert contents(tmp_path / "new.duckdb") == contents(nights)
    again = run("--store", "new.duckdb", "store", "import", "backup")
    assert "added 0 scores of 0 runs" in again.out
    assert contents(tmp_path / "new.duckdb") == contents(nights)
    assert run("--store", "new.duckdb", "store", "verify").code == 0


def test_an_import_joins_two_stores_and_nothing_is_scored_again(run, score, nights, tmp_path):
    pl.DataFrame({"headline": ["Oil falls", "Deal"]}).write_csv(tmp_path / "thu.csv")
    run("store", "export", "-o", "backup")
    other = ("--store", "other.duckdb")
    assert run(*other, "score", "thu.csv", "--model", "tiny", "--weights", "fp32").code == 66
    with Store.open(StoreConfig(path=tmp_path / "other.duckdb")) as store:
        import_store(store, tmp_path / "backup")
    kept = ask(tmp_path / "other.duckdb", "SELECT min(scored_at) FROM scores")
    assert kept == ask(nights, "SELECT min(scored_at) FROM scores")
    (tmp_path / "finsent.duckdb").unlink()
    (tmp_path / "other.duckdb").rename(tmp_path / "finsent.duckdb")
    assert score("thu.csv")["rows"]["unique_scored"] == 1


def test_of_two_joined_stores_the_last_publication_of_each_and_of_both_is_the_last(tmp_path):
    """By each store's own numbers, though its clock was set back, and by time between the two."""
    days = {
        "one": [("2014-01-01", "a"), ("2014-01-05", "b"), ("2014-01-02", "c")],
        "two": [("2014-01-03", "d"), ("2014-01-06", "e")],
    }
    for name, published in days.items():
        with Store.open(StoreConfig(path=tmp_path / f"{name}.duckdb")) as store:
            for number, (day, output) in enumerate(published, 1):
                store.insert("runs", {"run_id": output, "status": "done", "started_at": day})
                row = {"run_id": output, "input": "x.csv", "output": output}
                store.insert("run_files", row | {"published_at": day, "number": number})
            if name == "two":
                export_store(store, tmp_path / "backup")
    for added in (2, 0):
        with Store.open(StoreConfig(path=tmp_path / "one.duckdb")) as store:
            assert import_store(store, tmp_path / "backup")["run_files"] == added
            found = store.query("SELECT output FROM run_files ORDER BY number")
            assert [output for (output,) in found] == ["a", "d", "b", "c", "e"]


def test_an_export_fills_no_folder_of_somebody_else(nights, tmp_path, monkeypatch):
    staged = tmp_path / ".backup.finsent-tmp"
    staged.mkdir()
    (staged / "theirs").write_text("kept")
    monkeypatch.setattr("os.geteuid", lambda: 12345)
    with (
        Store.open(StoreConfig(path=nights), read_only=True) as store,
        pytest.raises(CannotCreateError, match="is not ours and in the way: remove it"),
    ):
        export_store(store, tmp_path / "backup")
    assert (staged / "theirs").read_text() == "kept"


@pytest.mark.parametrize(
    ("damage", "kind", "said"),
    [
        (lambda d: (d / "scores.parquet").unlink(), BadDataError, "missing or damaged"),
        (lambda d: (d / "runs.parquet").write_bytes(b"PAR1"), BadDataError, "missing or damaged"),
        (lambda d: (d / MANIFEST).write_text("{"), BadDataError, "store.json is damaged"),
        (lambda d: (d / MANIFEST).write_text("[]"), BadDataError, "store.json is damaged"),
        (
            lambda d: (d / MANIFEST).write_text(
                (d / MANIFEST).read_text().replace('"schema_version": ', '"schema_version": 99')
            ),
            ConfigError,
            "newer version",
        ),
    ],
)
def test_a_damaged_export_is_refused_and_leaves_no_store(run, nights, tmp_path, damage, kind, said):
    run("store", "export", "-o", "backup")
    damage(tmp_path / "backup")
    done = run("--store", "new.duckdb", "store", "import", "backup")
    assert done.code == kind.exit_code
    assert said in done.err
    assert not (tmp_path / "new.duckdb").exists()


def test_an_export_that_does_not_hold_together_is_not_imported(nights, tmp_path):
    with Store.open(StoreConfig(path=nights)) as store:
        store.connection.execute("UPDATE scores SET p_neutral = 7")
        export_store(store, tmp_path / "backup")
    with (
        pytest.raises(BadDataError, match=r"4 scores whose probabilities .* nothing was imported"),
        Store.open(StoreConfig(path=tmp_path / "new.duckdb")) as store,
    ):
        import_store(store, tmp_path / "backup")
    assert not (tmp_path / "new.duckdb").exists()


def test_export_and_import_name_what_is_missing_or_in_the_way(run, nights, tmp_path):
    (tmp_path / "taken").mkdir()
    done = run("store", "export", "-o", "taken")
    assert (done.code, "name a new folder" in done.err) == (73, True)
    assert run("--store", "none.duckdb", "store", "export", "-o", "b").code == 66
    assert run("store", "import", "gone").code == 66
    assert run("store", "import", "taken").code == 66
    assert not list(tmp_path.glob(".*tmp"))
