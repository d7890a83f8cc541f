"""Folders of results replaced whole: exchanged, or not at all."""

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from finsent_batch.errors import CannotCreateError, TryAgainError
from finsent_batch.io.whole import folders
from finsent_batch.io.whole.folders import replacing_folder


@pytest.fixture
def result(tmp_path):
    folder = tmp_path / "result"
    write(folder, "old")
    (folder / "notes.txt").write_text("mine")
    (folder / "logs").mkdir()
    (folder / "logs" / "a.log").write_text("kept")
    return folder


def write(folder, text):
    with replacing_folder(folder, index="index.json", obsolete=lambda f: f.suffix == ".old") as new:
        (new / "index.json").write_text(text)
        (new / "data").write_text(text)


def content(folder):
    return {str(f.relative_to(folder)): f.read_text() for f in folder.rglob("*") if f.is_file()}


KEPT = {"notes.txt": "mine", "logs/a.log": "kept"}
OLD = {"index.json": "old", "data": "old", **KEPT}
NEW = {"index.json": "new", "data": "new", **KEPT}


def test_a_folder_is_exchanged_and_keeps_what_is_not_of_the_result(result):
    (result / "weights.old").write_text("of the earlier result")
    result.chmod(0o750)
    (result / "data").chmod(0o600)
    number = result.stat().st_ino
    write(result, "new")
    assert content(result) == NEW
    assert result.stat().st_ino != number
    assert stat.S_IMODE(result.stat().st_mode) == 0o750
    assert stat.S_IMODE((result / "data").stat().st_mode) == 0o600
    assert [f.name for f in result.parent.iterdir()] == ["result"]


def test_where_folders_cannot_be_exchanged_files_are_moved(result, monkeypatch):
    monkeypatch.setattr(folders, "_exchange", _refuse)
    (result / "weights.old").write_text("of the earlier result")
    write(result, "new")
    assert content(result) == NEW


def _refuse(one, other):
    raise OSError(22, "Invalid argument")


def test_the_folder_that_one_stands_in_stays_that_folder(result, monkeypatch):
    monkeypatch.chdir(result)
    write(Path(), "new")
    assert content(Path()) == NEW


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_parent_that_is_not_ours(result):
    result.parent.chmod(0o555)
    try:
        write(result, "new")
    finally:
        result.parent.chmod(0o755)
    assert content(result) == NEW


def test_a_failure_leaves_the_earlier_result(result):
    def fail():
        with replacing_folder(result, index="index.json") as new:
            (new / "index.json").write_text("half")
            raise KeyError("news")

    with pytest.raises(KeyError):
        fail()
    assert content(result) == OLD
    assert [f.name for f in result.parent.iterdir()] == ["result"]


def test_one_writes_at_a_time_and_leaves_the_other_s_files(result):
    with replacing_folder(result, index="index.json") as new:
        (new / "index.json").write_text("new")
        (new / "data").write_text("new")
        with pytest.raises(TryAgainError):
            write(result, "other")
    assert content(result) == NEW


def test_what_is_in_the_way_is_not_touched(result):
    place = result.parent / ".result.finsent-tmp"
    place.symlink_to(result)
    with pytest.raises(CannotCreateError):
        write(result, "new")
    assert content(result) == OLD


@pytest.mark.parametrize("place", ["before_rename", "renamed"])
def test_a_killed_writer_is_followed_by_the_next(result, place):
    code = (
        "from pathlib import Path\nfrom finsent_batch.io.whole.folders import replacing_folder\n"
        f"with replacing_folder(Path({str(result)!r}), index='index.json') as new:\n"
        "    (new / 'index.json').write_text('new')\n    (new / 'data').write_text('new')\n"
    )
    killed = subprocess.run(
        [sys.executable, "-c", code], check=False,
        env={**os.environ, "FINSENT_FAILPOINT": f"{place}:kill"},
    )  # fmt: skip
    assert killed.returncode == -signal.SIGKILL
    assert content(result) == (OLD if place == "before_rename" else NEW)
    write(result, "new")
    assert content(result) == NEW
    assert [f.name for f in result.parent.iterdir()] == ["result"]
