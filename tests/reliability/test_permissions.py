"""What this user may not read or write: one line that names it, and 66 or 73; nothing left out."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from ..helpers.forks import COMMAND

# Root may read all; without two capabilities it is as any other user.
_PLAIN_USER = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search", "--inh-caps", "-all"]
if os.geteuid() != 0:
    _PLAIN_USER = []
elif shutil.which("setpriv") is None:
    pytest.skip("root may read anything, and setpriv is not here", allow_module_level=True)


def run(*arguments: object) -> tuple[int, str]:
    command = [*_PLAIN_USER, COMMAND, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


@pytest.fixture
def feeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("feeds/a.csv", "feeds/sub/b.csv", "c.csv", "c.jsonl", "c.parquet", "c.duckdb"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text("headline,date\nNordkap lifts its guidance,2014-01-06\n")
    return tmp_path


@pytest.mark.parametrize(
    ("closed", "command"),
    [
        ("feeds/sub", "score feeds -o out/"),
        ("feeds", "score feeds -o out/"),
        ("feeds", "score feeds/*.csv -o out/"),
        ("feeds", "score feeds/a.csv -o out.csv"),
        ("feeds", "query label_mix --from feeds/a.csv"),
        ("feeds/sub", "score feeds/**/*.csv -o out/"),
        ("feeds/sub", "score feeds/** -o out/"),
        ("feeds", "evaluate --data feeds/a.csv -o e"),
        ("feeds", "prepare feeds/a.csv -o p"),
        ("feeds", "score c.csv -o out.csv --model feeds/m"),
        ("feeds", "--config feeds/x.toml score c.csv -o out.csv"),
        ("feeds/sub", "score feeds/*/*.csv -o out/"),
        ("feeds/sub", "query label_mix --from feeds"),
        ("feeds/sub", "query label_mix --from feeds/**/*.csv"),
        ("c.csv", "score c.csv -o out.csv"),
        ("c.jsonl", "score c.jsonl -o out.csv"),
        ("c.parquet", "score c.parquet -o out.csv"),
        ("c.duckdb", "score c.duckdb --table t -o out.csv"),
    ],
)
def test_what_may_not_be_read_is_named(feeds: Path, closed: str, command: str) -> None:
    Path(closed).chmod(0)
    try:
        code, said = run(*command.split())
    finally:
        Path(closed).chmod(0o700)
    assert code == 66, said
    assert said.count("\n") == 1
    assert f"{closed} may not be read by this user: check its permissions" in said
    assert not (feeds / "finsent.duckdb").exists()


def test_what_need_not_be_read_may_be_closed(feeds: Path) -> None:
    assert run("score", "feeds/*.csv", "-o", "out/")[0] == 0
    for folder, mode in ((feeds / "feeds", 0o111), (feeds / "out/.trash", 0), (feeds / "x", 0o111)):
        folder.mkdir(exist_ok=True)
        folder.chmod(mode)
    try:
        # Nothing is looked for in `feeds` but a folder that is named.
        assert run("score", "feeds/sub/*.csv", "-o", "out/") == (0, "")
        assert run("query", "label_mix", "--from", "out")[0] == 0
    finally:
        for folder in (feeds / "feeds", feeds / "out/.trash", feeds / "x"):
            folder.chmod(0o700)


@pytest.mark.parametrize(
    "command",
    [
        "score c.csv -o closed/x.csv",
        "score c.csv -o closed/y/x.csv",
        "--store closed/s.duckdb score c.csv -o out.csv",
    ],
)
def test_what_may_not_be_written_is_named(feeds: Path, command: str) -> None:
    Path("closed").mkdir(mode=0)
    code, said = run(*command.split())
    Path("closed").chmod(0o700)
    assert (code, said.count("\n")) == (73, 1), said
    assert "closed" in said


def test_a_day_that_may_not_be_read_is_not_left_out(feeds: Path) -> None:
    assert run("score", "c.csv", "-o", "lake", "--append", "--partition-by", "day")[0] == 0
    Path("lake/day=2014-01-06").chmod(0)
    try:
        code, said = run("query", "label_mix")
    finally:
        Path("lake/day=2014-01-06").chmod(0o700)
    assert (code, "lake/day=2014-01-06 may not be read" in said) == (66, True), said


def test_a_store_that_may_not_be_written_is_still_read(feeds: Path) -> None:
    Path("st").mkdir()
    store = ("--store", "st/s.duckdb")
    assert run(*store, "score", "c.csv", "-o", "out.csv")[0] == 0
    Path("st").chmod(0o500)
    try:
        assert run(*store, "score", "c.csv", "--dry-run") == (0, "")
        assert run(*store, "query", "label_mix") == (0, "")
        code, said = run(*store, "store", "verify")
        assert (code, "this user may not write to it" in said) == (0, True), said
        code, said = run(*store, "score", "c.csv", "-o", "out.csv")
        assert (code, said.count("\n")) == (73, 1), said
    finally:
        Path("st").chmod(0o700)
    assert [*Path("st").glob("*.work.*")] == []
