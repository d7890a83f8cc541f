"""`prepare`: the files it writes and what it says when it cannot."""

import json

import polars as pl
import pytest

from finsent_batch.labels import LABELS

PARTS = ("train", "valid", "test")


@pytest.fixture
def source(tmp_path):
    file = tmp_path / "mine.csv"
    rows = [(f"{label} headline number {i}", label) for label in LABELS for i in range(40)]
    pl.DataFrame(rows, schema=["headline", "label"], orient="row").write_csv(file)
    return file


def test_prepare_writes_three_parts_and_says_what_it_did(run, source, tmp_path):
    done = run("prepare", source, "-o", "split")
    assert done.code == 0, done.err
    assert "wrote split/{train,valid,test}.parquet and split.json" in done.out
    report = json.loads((tmp_path / "split" / "split.json").read_text())
    for name in PARTS:
        frame = pl.read_parquet(tmp_path / "split" / f"{name}.parquet")
        assert frame.columns == ["headline", "label"]
        assert frame.height == report["rows"][name] == sum(report["labels"][name].values())
    assert report["recipe"] == "clean"
    assert report["sources"][0]["file"] == "mine.csv"
    assert len(report["sources"][0]["sha256"]) == 64


def test_prepare_sizes_and_seed(run, source, tmp_path):
    run("prepare", source, "-o", "a", "--test-size", 0.5, "--valid-size", 0, "--seed", 3)
    report = json.loads((tmp_path / "a" / "split.json").read_text())
    assert report["rows"] == {"train": 60, "valid": 0, "test": 60}
    assert report["seed"] == 3


def test_prepare_leaves_something_for_training(run, source):
    done = run("prepare", source, "-o", "a", "--test-size", 0.5, "--valid-size", 0.5)
    assert done.code == 2
    assert "--valid-size and --test-size leave nothing for training" in done.err


def test_prepare_excludes_headlines_of_other_files(run, source, tmp_path):
    (tmp_path / "held.csv").write_text("headline,label\nPOSITIVE headline number 3.,1\n")
    done = run("prepare", source, "-o", "a", "--exclude", "held.csv", "--label-map", "1=positive")
    assert done.code == 0, done.err
    parts = [pl.read_parquet(tmp_path / "a" / f"{name}.parquet") for name in PARTS]
    assert "positive headline number 3" not in pl.concat(parts)["headline"].to_list()
    assert json.loads((tmp_path / "a" / "split.json").read_text())["removed"]["excluded"] == 1


def test_prepare_does_not_replace_a_split_unasked(run, source):
    assert run("prepare", source, "-o", "a").code == 0
    again = run("prepare", source, "-o", "a")
    assert again.code == 73
    assert "a holds a split already: use --overwrite or another -o" in again.err
    assert run("prepare", source, "-o", "a", "--overwrite").code == 0


def test_prepare_into_a_place_that_is_a_file(run, source):
    done = run("prepare", source, "-o", source)
    assert done.code == 73
    assert "is an input: use another -o" in done.err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["gone.csv"], 66, "gone.csv does not exist: check the path"),
        (["mine.csv", "--label-map", "1"], 2, "'1' is not KEY=VALUE"),
        (["mine.csv", "mine.csv", "--recipe", "tutorial"], 2, "takes one source and no --exclude"),
        (["mine.csv", "--recipe", "tutorial"], 65, "needs 600 positive rows; there are 40"),
        (["mine.csv", "--encoding", "klingon"], 2, "unknown encoding 'klingon'"),
        (["odd.csv"], 65, "'great' (1 row)"),
        (["none.csv"], 65, "no neutral rows are left"),
        (["few.csv"], 65, "too few rows to split (40 negative, 1 neutral, 40 positive)"),
    ],
)
def test_prepare_says_what_is_wrong(run, source, tmp_path, arguments, code, message):
    (tmp_path / "odd.csv").write_text("headline,label\nOil falls,great\n")
    rows = source.read_text().splitlines()
    without = [row for row in rows if ",neutral" not in row]
    (tmp_path / "none.csv").write_text("\n".join(without))
    (tmp_path / "few.csv").write_text("\n".join([*without, "Oil flat,neutral"]))
    done = run("prepare", *arguments, "-o", "a")
    assert done.code == code
    assert message in done.err
    assert not (tmp_path / "a" / "split.json").exists()


def test_parts_that_stay_empty_are_said(run, tmp_path):
    labels = ("negative", "neutral", "positive")
    rows = "".join(f"Headline number {i},{labels[i % 3]}\n" for i in range(24))
    (tmp_path / "few.csv").write_text(f"headline,label\n{rows}")
    done = run("prepare", "few.csv", "-o", "a")
    assert done.code == 0
    for part in ("valid", "test"):
        assert f"warning: no rows for {part}.parquet: its share of 24 rows" in done.err
        assert f"name a larger --{part}-size" in done.err
    asked = run("prepare", "few.csv", "-o", "b", "--valid-size", "0.2", "--test-size", "0.2")
    none = run("prepare", "few.csv", "-o", "c", "--valid-size", "0", "--test-size", "0")
    assert "warning" not in asked.err + none.err
