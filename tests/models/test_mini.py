"""The embedded model: its files, its figures, its independence of any network."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from finsent_batch.labelled.split_folders import load_splits
from finsent_batch.models.directory import open_model
from finsent_batch.models.weight_files import FileHashes

from ..conftest import Result

BASE_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
PLAIN = {
    "Nordkap lifts its full-year profit guidance after a record quarter": "positive",
    "Helmsdale Bank swings to a loss as bad loans double": "negative",
    "Voltara publishes the agenda of its annual general meeting": "neutral",
    "Tronex misses revenue forecasts and withdraws its outlook": "negative",
    "Pixelon shares jump on better-than-expected subscriber growth": "positive",
    "Quantara moves its headquarters to a new address": "neutral",
}


@pytest.fixture(scope="module")
def splits(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The splits of `make mini`, made by the same commands."""
    work = tmp_path_factory.mktemp("mini")
    script = Path(__file__).parent.parent.parent / "finsent_batch" / "models" / "mini" / "make.sh"
    environment = {
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "DATA": str(data),
        "WORK": str(work),
        "ONLY": "data",
        "VARIATIONS": "0",
    }
    subprocess.run(["sh", str(script)], check=True, env=environment)
    return work


def test_files_are_small_and_the_base_is_the_published_one() -> None:
    spec = open_model("mini")
    assert sum(f.stat().st_size for f in spec.folder.iterdir() if f.is_file()) < 15e6
    assert spec.manifest["base"]["files"] == {"model.safetensors": BASE_SHA256}
    assert len(spec.fingerprint("fp32", FileHashes())) == 32
    card = (spec.folder / "README.md").read_text()
    assert "CC BY-NC-SA" in card
    assert "finsent-batch train --preset mini" in card


def test_plain_headlines_get_the_label_a_reader_would_give(
    run: Callable[..., Result], tmp_path: Path
) -> None:
    pl.DataFrame({"headline": list(PLAIN)}).write_parquet(tmp_path / "plain.parquet")
    done = run("score", "plain.parquet")
    assert done.code == 0, done.err
    scored = pl.read_parquet(tmp_path / "plain.scored.parquet")
    assert dict(scored.select("headline", "sentiment").iter_rows()) == PLAIN


def test_a_folder_of_its_name_is_not_taken_for_it(
    run: Callable[..., Result], tmp_path: Path
) -> None:
    """The default model must not depend on where a job runs."""
    pl.DataFrame({"headline": list(PLAIN)}).write_parquet(tmp_path / "plain.parquet")
    (tmp_path / "mini").mkdir()
    done = run("score", "plain.parquet")
    assert (done.code, done.err) == (0, ""), done.err
    (tmp_path / "mini" / "finsent.json").write_text("{}")
    done = run("score", "plain.parquet", "--overwrite")
    assert done.code == 0, done.err
    assert "the folder of that name is ./mini" in done.err
    assert run("score", "plain.parquet", "--overwrite", "--model", "./mini").code == 78


def test_training_data_was_what_the_commands_make_and_without_test_rows(splits: Path) -> None:
    folders = tuple(splits / name for name in ("phrasebank", "sentfin", "tfns"))
    assert load_splits(folders).sha256 == open_model("mini").manifest["training"]["data_sha256"]


@pytest.mark.parametrize(
    ("part", "least"), [("tutorial", 0.861), ("sentfin", 0.872), ("tfns", 0.878)]
)
def test_accuracy_on_rows_it_was_not_trained_on(
    splits: Path, part: str, least: float, run: Callable[..., Result], tmp_path: Path
) -> None:
    """The measured figures less half a point, as CPUs round differently."""
    test_rows = splits / part / "test.parquet"
    done = run("evaluate", "--data", test_rows, "-o", "report", "--gate", f"accuracy>={least}")
    assert done.code == 0, done.out + done.err
    metrics: dict[str, Any] = json.loads((tmp_path / "report" / "metrics.json").read_text())
    assert metrics["missing"] == 0
    assert metrics["ece"] < 0.1


def test_int8_keeps_the_labels_of_fp32_on_real_headlines(
    data: Path, run: Callable[..., Result], tmp_path: Path
) -> None:
    night = data / "feeds" / "nightly" / "2014-01-06.parquet"
    labels = {}
    for weights in ("fp32", "auto"):
        output = f"{weights}.parquet"
        done = run("score", night, "-o", output, "--limit", 500, "--weights", weights)
        assert done.code == 0, done.err
        labels[weights] = pl.read_parquet(tmp_path / output)["sentiment"]
    assert (labels["fp32"] == labels["auto"]).mean() >= 0.995


BLOCKED = """
import socket, sys
def refuse(*arguments, **named):
    raise OSError("the network was touched")
socket.socket.connect = socket.socket.connect_ex = socket.create_connection = refuse
socket.getaddrinfo = refuse
from finsent_batch.jobs.cli import run
sys.exit(run(sys.argv[1:]))
"""


def test_no_network_is_touched(tmp_path: Path) -> None:
    pl.DataFrame({"headline": list(PLAIN)}).write_parquet(tmp_path / "plain.parquet")
    command = [sys.executable, "-c", BLOCKED, "score", "plain.parquet", "--summary", "json"]
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["rows"]["unique_scored"] == len(PLAIN)
