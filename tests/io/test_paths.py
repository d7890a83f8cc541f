"""Where outputs may go: not through a link that someone else put in their place."""

import os

import polars as pl
import pytest

from finsent_batch.errors import CannotCreateError, StorageError
from finsent_batch.io.atomic import replace_file
from finsent_batch.io.paths import check_inside


@pytest.fixture
def folders(tmp_path):
    """Two folders, `out` and `elsewhere`, the second with a file that must not change."""
    (tmp_path / "out").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "precious").write_text("keep")
    return tmp_path


def test_a_link_out_of_the_folder_is_refused(folders):
    link = folders / "out" / "news.parquet"
    link.symlink_to(folders / "elsewhere" / "precious")
    with pytest.raises(CannotCreateError, match=r"leads out of its folder, to .*precious"):
        replace_file(link, b"new")
    assert (folders / "elsewhere" / "precious").read_text() == "keep"
    (folders / "out" / "sub").symlink_to(folders / "elsewhere")
    with pytest.raises(CannotCreateError):
        check_inside(folders / "out" / "sub" / "new.parquet", folders / "out")


def test_links_that_stay_inside_and_folders_named_through_links_are_fine(folders):
    (folders / "current").symlink_to(folders / "out")
    (folders / "out" / "latest.txt").symlink_to("monday.txt")
    replace_file(folders / "current" / "latest.txt", b"new")
    assert (folders / "out" / "monday.txt").read_bytes() == b"new"
    assert (folders / "out" / "latest.txt").is_symlink()
    assert len(list((folders / "out").iterdir())) == 2


@pytest.mark.parametrize("suffix", ["parquet", "csv", "duckdb"])
def test_score_follows_no_link_out_of_the_output_s_folder(run, folders, feed, tiny_model, suffix):
    (folders / "out" / f"o.{suffix}").symlink_to(folders / "elsewhere" / "precious")
    arguments = ("--model", tiny_model, "--overwrite")
    done = run("score", "feed.parquet", "-o", f"out/o.{suffix}", *arguments)
    assert done.code == 73
    assert "leads out of its folder" in done.err
    assert (folders / "elsewhere" / "precious").read_text() == "keep"


def test_score_follows_no_link_out_of_an_output_folder(run, folders, tiny_model):
    (folders / "in" / "sub").mkdir(parents=True)
    pl.DataFrame({"headline": ["Oil falls"]}).write_parquet(folders / "in" / "sub" / "a.parquet")
    (folders / "out" / "sub").symlink_to(folders / "elsewhere")
    done = run("score", "in", "-o", "out", "--model", tiny_model)
    assert done.code == 73
    assert "leads out of its folder" in done.err
    assert [f.name for f in (folders / "elsewhere").iterdir()] == ["precious"]


@pytest.mark.parametrize("name", ["metrics.json", "predictions.parquet"])
def test_evaluate_follows_no_link_out_of_its_folder(run, folders, tiny_model, name):
    rows = {"text": ["oil", "bank", "sales"], "label": ["positive", "negative", "neutral"]}
    pl.DataFrame(rows).write_csv(folders / "data.csv")
    (folders / "out" / name).symlink_to(folders / "elsewhere" / "precious")
    done = run("evaluate", "--model", tiny_model, "--data", "data.csv", "-o", "out")
    assert done.code == 73
    assert (folders / "elsewhere" / "precious").read_text() == "keep"


def test_query_follows_no_link_either(run, folders, feed, score):
    score("feed.parquet")
    (folders / "out" / "mix.csv").symlink_to(folders / "elsewhere" / "precious")
    assert run("query", "label_mix", "-o", "out/mix.csv").code == 73
    assert (folders / "elsewhere" / "precious").read_text() == "keep"


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(folders, monkeypatch):
    file = folders / "out" / "a.txt"
    replace_file(file, b"old")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="No space"):
        replace_file(file, b"new")
    assert file.read_bytes() == b"old"
    assert [f.name for f in (folders / "out").iterdir()] == ["a.txt"]
