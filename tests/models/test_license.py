"""The licence of a model: read from its card, written to the cards of what is trained."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import finsent_batch
from finsent_batch.models.license import license_of
from finsent_batch.models.model_card import render_card

MINI = Path(finsent_batch.__file__).parent / "models" / "mini"


@pytest.mark.parametrize(
    ("card", "expected"),
    [
        ("---\nlicense: mit\n---\n# A model\n", "mit"),
        ("---\r\ntags: [a]\r\nlicense: 'apache-2.0'\r\n---\r\n", "apache-2.0"),
        ('---\nlicense: "cc-by-nc-sa-3.0"\nother: 1\n---\n', "cc-by-nc-sa-3.0"),
        ("---\ntags: [a]\n---\nlicense: mit\n", None),
        ("license: mit\n", None),
        ("---\nlicense: \x1b[31mred\n---\n", None),
        (f"---\nlicense: {'x' * 65}\n---\n", None),
        ("---\nlicense:\n- mit\n---\n", None),
        ("---\nlicense: mit\n", None),
        ("", None),
    ],
)
def test_the_head_of_a_card_names_it(card: str, expected: str | None, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text(card, "utf-8", newline="")
    assert license_of(tmp_path) == expected


def test_without_a_card_there_is_none(tmp_path: Path) -> None:
    assert license_of(tmp_path) is None
    assert license_of(tmp_path / "gone") is None
    (tmp_path / "README.md").mkdir()
    assert license_of(tmp_path) is None


def test_what_learned_from_phrasebank_says_so() -> None:
    card: dict[str, Any] = json.loads((MINI / "finsent.json").read_text("utf-8"))
    assert "\nlicense: cc-by-nc-sa-3.0\n" in render_card(card)
    assert license_of(MINI) == "cc-by-nc-sa-3.0"
    for data in card["training"]["data"]:
        data["sources"] = [{"file": "SEntFiN-v1.1.csv"}]
    assert "license" not in render_card(card).split("---")[1]
    assert "PhraseBank" not in render_card(card)
    card["training"]["data"][0]["sources"] = [{"file": "all-data.csv"}]  # as Kaggle spreads it
    assert "\nlicense: cc-by-nc-sa-3.0\n" in render_card(card)
    assert "FinancialPhraseBank is CC BY-NC-SA 3.0" in render_card(card)


def test_summary_list_and_description_name_it(
    run: Callable[..., Any], feed: pl.DataFrame, tiny_model: Path
) -> None:
    done = run("score", "feed.parquet", "--model", tiny_model, "--summary", "json")
    assert done.json["license"] is None
    listed = {row["model"]: row["license"] for row in run("models", "--format", "json").json}
    assert listed == {"mini": "cc-by-nc-sa-3.0", "mini-open": "mit", str(tiny_model): None}
    assert "its card names none" in run("models", "describe", tiny_model).out
    assert "cc-by-nc-sa-3.0" in run("models", "describe", "mini").out
