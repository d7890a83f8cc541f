"""The recipes of docs/recipes/ run as they stand there, where their tools are installed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

ROOT = Path(__file__).parent.parent
RECIPES = ROOT / "docs" / "recipes"
DEMO = ROOT / "demo" / "headlines.csv"


def start(*arguments: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a tool of this environment in a folder."""
    here = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{here}:{os.environ['PATH']}", **variables}
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_dbt_project_builds_on_a_folder_by_days(run, tmp_path, tiny_model):
    pytest.importorskip("dbt.adapters.duckdb", reason="dbt-duckdb is not installed")
    shutil.copytree(RECIPES / "dbt", tmp_path, dirs_exist_ok=True)
    by_day = ("-o", "lake", "--append", "--partition-by", "day")
    assert run("score", DEMO, *by_day, "--model", tiny_model).code == 0
    variables = {"FINSENT_MODEL": str(tiny_model), "DO_NOT_TRACK": "1"}
    for _ in range(2):
        done = start("dbt.cli.main", "build", "--profiles-dir", ".", folder=tmp_path, **variables)
        assert done.returncode == 0, done.stdout
        assert "ERROR=0 SKIP=0" in done.stdout
    with duckdb.connect(tmp_path / "warehouse.duckdb", read_only=True) as connection:
        [(counted,)] = connection.execute("SELECT sum(headlines) FROM daily").fetchall()
        notes = connection.execute("SELECT sentiment FROM labelled_notes").fetchall()
    assert (counted, len(notes)) == (29, 3)  # one of the thirty is empty
    with duckdb.connect(tmp_path / "finsent.duckdb", read_only=True) as store:
        runs = store.execute("SELECT unique_scored FROM runs ORDER BY run_id").fetchall()
    assert runs == [(28,), (2,)]  # one of the notes is of the feed; again nothing is scored


def test_luigi_scores_the_nights_that_are_there_and_then_their_days(tmp_path, tiny_model):
    pytest.importorskip("luigi", reason="luigi is not installed")
    shutil.copytree(RECIPES / "luigi", tmp_path, dirs_exist_ok=True)
    (tmp_path / "feeds").mkdir()
    lines = DEMO.read_text("utf-8").splitlines(keepends=True)
    command = (
        "luigi", "--module", "nights", "Daily", "--until", "2026-03-03", "--nights", "2",
        "--model", str(tiny_model), "--local-scheduler",
    )  # fmt: skip
    for day, code in (("2026-03-02", 10), ("2026-03-03", 0), ("2026-03-03", 0)):
        rows = [line for line in lines[1:] if line.startswith(day)]
        (tmp_path / "feeds" / f"{day}.csv").write_text("".join([lines[0], *rows]), "utf-8")
        done = start(*command, folder=tmp_path, PYTHONPATH=f"{tmp_path}:{ROOT}")
        assert done.returncode == code, done.stderr
    assert sorted(p.name for p in (tmp_path / "scored").iterdir()) == [
        "2026-03-02.parquet",
        "2026-03-03.parquet",
    ]
    table = (tmp_path / "daily" / "2026-03-03.csv").read_text("utf-8").splitlines()
    assert [line.split(",")[0] for line in table] == ["day", "2026-03-02", "2026-03-03"]
    with duckdb.connect(tmp_path / "finsent.duckdb", read_only=True) as store:
        assert store.execute("SELECT count(*) FROM runs").fetchone() == (2,)
