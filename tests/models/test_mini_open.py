"""`mini-open`, the model beside `mini` that may be used commercially."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl
from click.shell_completion import ShellComplete
from finsent_batch.jobs.cli import cli

from finsent_batch.models import locate

from ..conftest import Result

FOLDER = Path(locate.__file__).parent / "mini_open"


def test_it_scores_under_its_name_and_says_its_licence(run: Callable[..., Result]) -> None:
    Path("a.csv").write_text("headline\nProfit rose to EUR 5 mn from EUR 3 mn\n", "utf-8")
    done = run("score", "a.csv", "--model", "mini-open", "--summary", "json")
    assert (done.code, done.json["model"], done.json["license"]) == (0, "mini-open", "mit")
    Path("mini-open").mkdir()
    again = run("score", "a.csv", "--model", "mini-open", "--summary", "json")
    assert again.json["rows"]["reused"] == 1
    assert again.json["model_fingerprint"] == done.json["model_fingerprint"]


def test_it_is_listed_and_offered_beside_the_default(run: Callable[..., Result]) -> None:
    rows = {row["model"]: row for row in run("models", "--format", "json").json}
    assert rows["mini"]["default"] == "yes"
    assert (rows["mini-open"]["default"], rows["mini-open"]["license"]) == (None, "mit")
    offered = ShellComplete(cli, {}, "finsent-batch", "_FINSENT_BATCH_COMPLETE")
    found = offered.get_completions(["score", "--model"], "mini")
    assert [(item.value, item.help) for item in found] == [
        (name, "comes with finsent-batch") for name in ("mini", "mini-open")
    ]
    assert "model mini-open" in run("doctor").out


def test_its_card_names_no_data_but_what_may_be_used_commercially() -> None:
    manifest = json.loads((FOLDER / "finsent.json").read_text("utf-8"))
    folders = [entry["folder"] for entry in manifest["training"]["data"]]
    assert folders == ["sentences", "sentfin", "tfns"]
    card = (FOLDER / "README.md").read_text("utf-8")
    assert card.startswith("---\nlicense: mit\n")
    assert "Commercial use included" in card


def test_it_tells_direction(run: Callable[..., Result], tmp_path: Path) -> None:
    said = {
        "Operating profit rose to EUR 13 mn from EUR 8 mn": "positive",
        "Net sales fell by 12 % and the company issued a profit warning": "negative",
        "The annual general meeting will be held in Oslo on 4 April": "neutral",
    }
    pl.DataFrame({"headline": list(said)}).write_parquet(tmp_path / "n.parquet")
    done = run("score", "n.parquet", "--model", "mini-open")
    assert done.code == 0, done.err
    found = pl.read_parquet(tmp_path / "n.scored.parquet")["sentiment"].to_list()
    assert found == list(said.values())


def test_where_no_adapter_will_do_it_is_not_advised(run: Callable[..., Result]) -> None:
    for command in (
        ("models", "convert", "mini-open", "-o", "out"),
        ("models", "describe", "mini", "--base", "mini-open"),
    ):
        done = run(*command)
        assert done.code == 66
        assert "mini-open is an adapter that comes with finsent-batch" in done.err
        assert "no model" not in done.err


def test_a_table_that_was_cut_short_is_not_taken_for_done(tmp_path: Path) -> None:
    texts = [f"{number:x}" * 9 for number in range(9000)]
    pl.DataFrame({"headline": texts}).write_parquet(tmp_path / "feed.parquet")
    script = FOLDER.parent / "mini" / "distil.sh"

    def transfer(before: str) -> int:
        command = f'work=. DATA=.; . "{script}"; {before} transfer feed.parquet'
        environment = {
            "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
            "PYTHONDONTWRITEBYTECODE": "1",  # what is short is to be the table alone
        }
        return subprocess.run(["sh", "-ec", command], cwd=tmp_path, env=environment).returncode

    made = tmp_path / "transfer.parquet"
    assert transfer("ulimit -f 8;") != 0
    assert not made.exists()
    assert transfer("") == 0
    assert pl.read_parquet(made)["headline"].to_list() == texts
