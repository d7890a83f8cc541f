"""Faults of feeds and machines; docs/faults.md says what users see of each."""

import ctypes
import datetime as dt
import os
import random
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from finsent_batch.config import StoreConfig
from finsent_batch.store.store import Store

from ..helpers.forks import Popen

COMMAND = str(Path(sys.executable).parent / "finsent-batch")
_PR_CAPBSET_DROP, _CAP_DAC_OVERRIDE = 24, 1


@pytest.fixture
def attempt(run, tiny_model):
    """Run `score` with the tiny model, whatever comes of it; a failure is one line."""

    def call(*arguments):
        done = run("score", *arguments, "--model", tiny_model, "--weights", "fp32")
        assert "Traceback" not in done.err
        assert done.err.count("\n") == bool(done.code), done.err
        return done

    return call


@pytest.mark.parametrize("seed", range(12))
def test_parquet_with_flipped_bits_is_refused_or_read(attempt, headlines, tmp_path, seed):
    headlines.write_parquet(tmp_path / "good.parquet")
    draw = random.Random(seed)
    content = bytearray((tmp_path / "good.parquet").read_bytes())
    for _ in range(3):
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    (tmp_path / "feed.parquet").write_bytes(content)
    done = attempt("feed.parquet")
    assert done.code in (0, 65), done.err
    if done.code == 0:
        assert pl.read_parquet(tmp_path / "feed.scored.parquet").height == headlines.height


def test_a_flipped_bit_under_a_checksum_is_refused(attempt, score, feed, tmp_path):
    table = pa.table({"headline": [f"Oil falls {i}" for i in range(1000)]})
    options = {"compression": "none", "use_dictionary": False, "write_statistics": False}
    pq.write_table(table, tmp_path / "feed.parquet", write_page_checksum=True, **options)
    content = (tmp_path / "feed.parquet").read_bytes()
    (tmp_path / "feed.parquet").write_bytes(content.replace(b"falls 500", b"rises 500"))
    done = attempt("feed.parquet")
    assert done.code == 65
    assert "not a readable Parquet file" in done.err
    # Ours bear such checksums.
    pq.write_table(table, tmp_path / "feed.parquet")
    score("feed.parquet")
    column = pq.ParquetFile(tmp_path / "feed.scored.parquet", page_checksum_verification=True)
    assert column.read().num_rows == 1000


def test_files_of_a_folder_keep_each_its_own_schema(attempt, headlines, tmp_path):
    (tmp_path / "in").mkdir()
    headlines.write_parquet(tmp_path / "in" / "a.parquet")
    headlines.select("headline", pl.col("id").cast(pl.String)).write_parquet(
        tmp_path / "in" / "b.parquet"
    )
    (tmp_path / "in" / "c.csv").write_text("title;when\nOil falls;today\n")
    assert attempt("in", "-o", "out").code == 0
    found = [pl.read_parquet(tmp_path / "out" / f"{n}.scored.parquet") for n in "abc"]
    assert [f.columns[:-9] for f in found] == [
        headlines.columns, ["headline", "id"], ["title", "when"],
    ]  # fmt: skip
    assert found[1].schema["id"] == pl.String
    (tmp_path / "in" / "d.csv").write_text("body\nOil falls\n")
    done = attempt("in", "-o", "other")
    assert done.code == 65
    assert "in/d.csv has none of the columns headline" in done.err
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("fault", ["grows", "vanishes", "is replaced"])
def test_a_file_that_changes_while_it_is_scored(run, feed, tiny_model, tmp_path, fault):
    file = tmp_path / "feed.parquet"
    process = Popen(
        [COMMAND, "score", "feed.parquet", "--model", tiny_model, "--weights", "fp32"],
        cwd=tmp_path, env={**os.environ, "FINSENT_FAILPOINT": "load_model:stop"},
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    os.waitpid(process.pid, os.WUNTRACED)
    if fault == "grows":
        with file.open("ab") as stream:
            stream.write(b"more")
    elif fault == "vanishes":
        file.unlink()
    else:
        feed.head(3).write_parquet(tmp_path / "new")
        (tmp_path / "new").rename(file)
    process.send_signal(signal.SIGCONT)
    _, said = process.communicate()
    assert process.returncode == 75, said
    assert said.count("\n") == 1
    assert "run again" in said
    assert not (tmp_path / "feed.scored.parquet").exists()
    feed.write_parquet(file)
    done = run("score", "feed.parquet", "--model", tiny_model, "--weights", "fp32")
    assert "(0 headlines scored" in done.out


def test_parquet_with_a_column_name_twice(attempt, tmp_path):
    table = pa.Table.from_arrays([pa.array(["a"])] * 2, names=["headline", "headline"])
    pq.write_table(table, tmp_path / "feed.parquet")
    done = attempt("feed.parquet")
    assert done.code == 65
    assert "has the column 'headline' more than once" in done.err


@pytest.mark.parametrize("output", ["out.parquet", "out.csv", "out.duckdb"])
def test_a_thousand_columns(attempt, tmp_path, output):
    wide = pl.DataFrame({f"c{i}": [i, i + 1] for i in range(1000)})
    wide.with_columns(headline=pl.lit("Oil falls")).write_parquet(tmp_path / "feed.parquet")
    assert attempt("feed.parquet", "-o", output).code == 0
    if output == "out.parquet":
        found = pl.read_parquet(tmp_path / output)
        assert found.select(wide.columns).equals(wide)
        assert found.width == 1010


# Parquet has no block that a row must fit into: a megabyte is as good, and tokenized in a tenth.
@pytest.mark.parametrize(("source", "words"), [("feed.parquet", 150_000), ("feed.csv", 1_500_000)])
def test_a_row_of_ten_megabytes(attempt, tmp_path, source, words):
    frame = pl.DataFrame({"headline": ["Oil falls", "profit " * words], "id": ["1", "2"]})
    (frame.write_csv if source == "feed.csv" else frame.write_parquet)(tmp_path / source)
    assert attempt(source, "-o", "out.parquet").code == 0
    found = pl.read_parquet(tmp_path / "out.parquet")
    assert found.select("headline", "id").equals(frame)
    assert found["score_status"].to_list() == ["scored", "truncated"]


def test_times_with_zones_come_out_as_they_went_in(attempt, tmp_path):
    noon = dt.datetime(2024, 3, 31, 12, tzinfo=dt.UTC)
    table = pa.table({
        "headline": ["Oil falls"],
        "utc": pa.array([noon], pa.timestamp("us", "UTC")),
        "berlin": pa.array([noon], pa.timestamp("us", "Europe/Berlin")),
    })  # fmt: skip
    pq.write_table(table, tmp_path / "feed.parquet")
    for output in ("out.parquet", "out.csv", "out.duckdb"):
        assert attempt("feed.parquet", "-o", output).code == 0
    written = pq.read_table(tmp_path / "out.parquet").select(table.column_names)
    assert written.equals(table)
    assert "2024-03-31 12:00:00+00" in (tmp_path / "out.csv").read_text()
    with duckdb.connect(str(tmp_path / "out.duckdb")) as connection:
        sql = "SELECT DISTINCT epoch(utc), epoch(berlin) FROM feed_scored"
        assert connection.execute(sql).fetchall() == [(noon.timestamp(),) * 2]


def test_a_symlink_loop_in_a_folder_is_walked_once(attempt, headlines, tmp_path):
    (tmp_path / "in" / "deep").mkdir(parents=True)
    headlines.write_parquet(tmp_path / "in" / "deep" / "a.parquet")
    (tmp_path / "in" / "deep" / "up").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "self.parquet").symlink_to("self.parquet")
    done = attempt("in", "-o", "out")
    assert done.code == 66
    assert "self.parquet is a broken link" in done.err
    (tmp_path / "loop.parquet").symlink_to("loop.parquet")
    assert attempt("loop.parquet").code == 66
    assert attempt("in/deep/a.parquet", "-o", "loop.parquet").code == 0
    (tmp_path / "in" / "self.parquet").unlink()
    assert attempt("in", "-o", "out").code == 0
    assert attempt("in/**/*.parquet", "-o", "out2").code == 0
    for folder in ("out", "out2"):
        assert len(list((tmp_path / folder).rglob("*.parquet"))) == 1


def _without_privileges():
    """Take from root what lets it write where the permissions say no."""
    ctypes.CDLL(None).prctl(_PR_CAPBSET_DROP, _CAP_DAC_OVERRIDE)


@pytest.mark.parametrize("closed", ["output", "store", "store that is there"])
def test_a_folder_that_may_not_be_written(run_process, feed, tiny_model, tmp_path, closed):
    folder = tmp_path / "closed"
    folder.mkdir()
    if closed == "store that is there":
        with Store.open(StoreConfig(path=folder / "s.duckdb")):
            pass
    folder.chmod(0o555)
    store = ["--store", "closed/s.duckdb"] if closed != "output" else []
    output = "closed/out.parquet" if closed == "output" else "out.parquet"
    done = subprocess.run(
        [COMMAND, *store, "score", "feed.parquet", "-o", output, "--model", tiny_model,
         "--weights", "fp32"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
        preexec_fn=_without_privileges,
    )  # fmt: skip
    assert done.returncode == 73, done.stderr
    assert done.stderr.count("\n") == 1
    assert "cannot write" in done.stderr
    assert sorted(f.name for f in tmp_path.iterdir()) == ["closed", "feed.parquet"]


@pytest.mark.parametrize("output", ["out.parquet", "out.csv", "out.duckdb"])
def test_a_clock_that_goes_backwards(attempt, run, feed, tmp_path, monkeypatch, output):
    assert attempt("feed.parquet", "-o", output).code == 0
    earlier = dt.datetime.now(dt.UTC).replace(tzinfo=None) - dt.timedelta(days=400)
    for module in ("pipeline.engines.base", "pipeline.run_record", "pipeline.publish_stage"):
        monkeypatch.setattr(f"finsent_batch.{module}.utc_now", lambda: earlier)
    more = pl.concat([feed, feed.head(1).with_columns(headline=pl.lit("Shares rise on loss"))])
    more.write_parquet(tmp_path / "feed.parquet")
    assert attempt("feed.parquet", "-o", output).code == 0  # its own output still
    assert run("store", "verify").code == 0
    shown = run("query", "label_mix", "--format", "json")
    assert sum(row["rows"] for row in shown.json) == 13


def test_the_last_promotion_publication_and_run_are_last_by_any_clock(
    attempt, run, feed, tmp_path, tiny_model, monkeypatch
):
    """A clock that was ahead once does not decide for years."""
    ahead = dt.datetime.now(dt.UTC).replace(tzinfo=None) + dt.timedelta(days=1500)
    modules = ("pipeline.run_record", "pipeline.publish_stage", "evaluation.promote")
    shutil.copytree(tiny_model, tmp_path / "b")
    for name in ("a", "b"):
        frame = feed if name == "a" else feed.head(3)
        frame.write_parquet(tmp_path / "feed.parquet")
        labels = ["negative", "neutral", "positive"] * 4
        pl.DataFrame({"headline": [f"oil {i}" for i in range(12)], "label": labels}).write_csv(
            tmp_path / "labelled.csv"
        )
        with monkeypatch.context() as patched:
            if name == "a":
                for module in modules:
                    patched.setattr(f"finsent_batch.{module}.utc_now", lambda: ahead)
            assert attempt("feed.parquet", "-o", f"{name}.parquet").code == 0
            model = tiny_model if name == "a" else tmp_path / "b"
            done = run("models", "promote", model, "--data", "labelled.csv", "--weights", "fp32")
            assert done.code == 0, done.err
    shown = run("query", "label_mix", "--format", "json")
    assert sum(row["rows"] for row in shown.json) == 3
    done = run("-v", "score", "feed.parquet", "-o", "c.parquet", "--model", "promoted",
               "--summary", "json")  # fmt: skip
    assert str(tmp_path / "b") in done.out + done.err
    runs = run("query", "--sql", "SELECT output FROM runs ORDER BY started_at DESC LIMIT 1",
               "--format", "json")  # fmt: skip
    assert runs.json[0]["output"].endswith("c.parquet")


def test_the_last_evaluation_is_last_by_any_clock(run, tmp_path, tiny_model, monkeypatch):
    labels = ["negative", "neutral", "positive"] * 4
    for days, rows in ((1500, 12), (0, 9), (-4000, 6)):
        frame = {"headline": [f"oil {i}" for i in range(rows)], "label": labels[:rows]}
        pl.DataFrame(frame).write_csv(tmp_path / "labelled.csv")
        now = dt.datetime.now(dt.UTC).replace(tzinfo=None) + dt.timedelta(days=days)
        monkeypatch.setattr("finsent_batch.evaluation.evaluate.utc_now", lambda now=now: now)
        done = run("evaluate", "--model", tiny_model, "--weights", "fp32", "--data", "labelled.csv",
                   "-o", f"made{rows}")  # fmt: skip
        assert done.code == 0, done.err
    shown = run("query", "--sql", "SELECT count(*) AS n FROM evaluated_headlines",
                "--format", "json")  # fmt: skip
    assert int(shown.json[0]["n"]) == 6


def test_locale_c(tmp_path):
    (tmp_path / "Börse.csv").write_text("headline\nDAX fällt – 3 €\n", "utf-8")
    plain = {k: v for k, v in os.environ.items() if not k.startswith(("LC_", "LANG"))}
    environment = {**plain, "LC_ALL": "C"}

    def call(*arguments):
        return subprocess.run(
            [COMMAND, *arguments], cwd=tmp_path, env=environment, capture_output=True, check=False
        )

    done = call("score", "Börse.csv", "-o", "out.csv")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out.csv").read_text("utf-8").splitlines()[1].startswith("DAX fällt – 3 €,")
    shown = call("query", "most_positive", "--from", "out.csv")
    assert shown.returncode == 0, shown.stderr
    assert "DAX fällt – 3 €".encode() in shown.stdout
    missing = call("score", "Märkte.csv")
    assert missing.returncode == 66
    assert b"Traceback" not in missing.stderr
    table = call("query", "most_positive", "--from", "out.csv", "--format", "table")
    assert table.returncode == 0, table.stderr


def test_a_file_name_that_is_not_utf_8(attempt, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / os.fsdecode(b"b\xf6rse.csv")).write_text("headline\nOil falls\n")
    done = attempt("in")
    assert done.code == 65
    assert "the name of in/b?rse.csv is not valid" in done.err


def test_a_memory_limit_that_is_too_low(run, tiny_model, wordy, tmp_path):
    texts = [f"{text} " * 20 for text in wordy(50)]
    pl.DataFrame({"headline": texts * 400, "id": range(20_000)}).write_parquet(
        tmp_path / "feed.parquet"
    )
    arguments = ("score", "feed.parquet", "--model", tiny_model, "--weights", "fp32")
    done = run("--memory-limit", "4MB", *arguments)
    assert done.code == 78, done.err
    assert "more than --memory-limit allows: raise it" in done.err
    assert done.err.count("\n") == 1
    assert run(*arguments).code == 0


def test_every_fault_of_the_table_has_its_tests():
    tests = Path(__file__).parent.parent
    lines = (tests.parent / "docs" / "faults.md").read_text("utf-8").splitlines()
    faults = [line for line in lines if re.search(r"\| .*test_.* \|$", line)]
    assert len(faults) > 30
    for fault in faults:
        named = re.findall(r"`((?:\w+/)*test_\w+\.py)(?:::(test_\w+))?`", fault.rsplit(" | ", 1)[1])
        assert named, fault
        for file, test in named:
            assert f"def {test}" in (tests / file).read_text("utf-8"), (file, test)
