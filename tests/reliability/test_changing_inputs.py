"""What was planned is what is published: an input that changes while a run reads it ends in 75."""

import os
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pytest

from finsent_batch.io.base import decoded
from finsent_batch.io.whole.watched import Watched
from finsent_batch.pipeline.texts.digest import TextDigest

ROWS = [f"Oil rises {i}" for i in range(40)]


def write(file: Path, rows: list[str]) -> None:
    frame = pl.DataFrame({"headline": rows, "place": range(len(rows))})
    frame.write_csv(file) if file.suffix == ".csv" else frame.write_parquet(file)


def grow(file: Path) -> None:
    if file.suffix == ".csv":
        with file.open("a") as stream:
            stream.write("Oil falls,40\nHalf a headl")
    else:
        write(file, [*ROWS, "Oil falls"])


def cut(file: Path) -> None:
    os.truncate(file, file.stat().st_size - 7)


def replace(file: Path) -> None:
    write(file.with_name("new" + file.suffix), [r.replace("rises", "falls") for r in ROWS])
    file.with_name("new" + file.suffix).replace(file)


def rewrite(file: Path) -> None:
    """Change its bytes in place and put its times back, as `rsync --inplace --times` does."""
    before = file.stat()
    write(file, [r.replace("rises", "falls") for r in ROWS])
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def vanish(file: Path) -> None:
    file.unlink()


CHANGES = [grow, cut, replace, rewrite, vanish]


@pytest.fixture
def input_file(tmp_path, request):
    file = tmp_path / f"feed.{request.param}"
    write(file, ROWS)
    return file


def once(function, change, file):
    """Return the function with a change of the file before its first call."""
    left = [change]

    def changed(*arguments, **options):
        if left:
            left.pop()(file)
        return function(*arguments, **options)

    return changed


def check(run, tiny_model, file, code=75):
    done = run("score", file, "-o", "out.csv", "--model", tiny_model, "--weights", "fp32")
    assert done.code == code, done.err
    assert done.err.count("\n") == 1
    assert not Path("out.csv").exists()


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("input_file", ["csv", "parquet"], indirect=True)
@pytest.mark.parametrize("moment", ["plan", "publish"])
def test_after_planning_and_while_publishing(
    run, tiny_model, input_file, change, moment, monkeypatch
):
    from finsent_batch.pipeline import plan, publish

    place = {"plan": plan, "publish": publish}[moment]
    monkeypatch.setattr(place, "failpoint", once(place.failpoint, change, input_file))
    check(run, tiny_model, input_file)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("input_file", ["csv"], indirect=True)
@pytest.mark.parametrize("step", ["read_header", "_convert", "_with_lines"])
def test_while_a_csv_is_parsed(run, tiny_model, input_file, change, step, monkeypatch):
    from finsent_batch.io import csv_reader

    whole = getattr(csv_reader, step)
    monkeypatch.setattr(csv_reader, step, once(whole, change, input_file))
    check(run, tiny_model, input_file)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("input_file", ["csv", "parquet"], indirect=True)
def test_between_opening_and_planning(run, tiny_model, input_file, change, monkeypatch):
    from finsent_batch.pipeline import tasks

    monkeypatch.setattr(tasks, "check_target", once(tasks.check_target, change, input_file))
    check(run, tiny_model, input_file)


@pytest.mark.parametrize("input_file", ["parquet"], indirect=True)
def test_where_no_time_tells_of_it_the_text_does(run, tiny_model, input_file, monkeypatch):
    from finsent_batch.pipeline import plan

    monkeypatch.setattr(Watched, "check", lambda self: None)
    monkeypatch.setattr(plan, "failpoint", once(plan.failpoint, rewrite, input_file))
    check(run, tiny_model, input_file)


def test_a_table_that_changes(run, tiny_model, tmp_path, monkeypatch):
    from finsent_batch.pipeline import plan

    def update(file):
        with duckdb.connect(str(file)) as connection:
            connection.execute("UPDATE news SET headline = 'Oil falls' WHERE i = 3")

    file = tmp_path / "news.duckdb"
    with duckdb.connect(str(file)) as connection:
        connection.execute("CREATE TABLE news AS SELECT i, 'Oil rises ' || i AS headline "
                           "FROM range(40) AS t(i)")  # fmt: skip
    monkeypatch.setattr(plan, "failpoint", once(plan.failpoint, update, file))
    done = run(
        "score", file, "--table", "news", "-o", "out.csv", "--model", tiny_model,
        "--weights", "fp32",
    )  # fmt: skip
    assert done.code == 75, done.err


TEXTS = ["Oil", None, "", "Ölpreis", "profit falls", None, "x" * 99]


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view()])
@pytest.mark.parametrize("sizes", [[7], [1, 6], [2, 0, 3, 2]])
def test_a_digest_is_of_texts_however_they_come(kind, sizes):
    def value(texts, sizes, kind):
        digest, array = TextDigest(), pa.array(texts, kind)
        start = 0
        for size in sizes:
            digest.add(*decoded(array.slice(start, size)))
            start += size
        return digest.value()

    whole = value(TEXTS, [7], pa.string())
    assert value(TEXTS, sizes, kind) == whole
    others = [
        TEXTS[::-1], ["Oi", "l", *TEXTS[2:]], [*TEXTS[:2], None, *TEXTS[3:]],
        ["oil", *TEXTS[1:]], ["Oil", "", *TEXTS[2:]],
    ]  # fmt: skip
    for other in others:
        assert value(other, [len(other)], kind) != whole
