"""The Python API: its names, settings and messages, and that it prints nothing."""

import ast
import re
import subprocess
import sys
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

import finsent_batch as fb
from finsent_batch import api, query_api
from finsent_batch.errors import ConfigError, MissingInputError, UsageError
from finsent_batch.python_messages import in_python
from finsent_batch.version import __version__

ROOT = Path(__file__).parent.parent
FUNCTIONS = (
    *("score", "score_frame", "prepare", "train", "evaluate", "compare", "promote", "merge"),
    *("report", "query", "query_sql", "register", "diagnose"),
)
SETTINGS = (
    *("ScoreConfig", "ModelConfig", "StoreConfig", "PrepareConfig", "TrainConfig", "MergeConfig"),
    *("EvaluateConfig", "CompareConfig", "PromoteConfig", "ReportConfig", "LabelledFormat"),
)
REQUIRED = {"input": "i", "output": "o", "data": "d", "sources": "s", "model": "m", "other": "n"}


# ---- names


def test_the_package_shows_its_public_names_and_nothing_else() -> None:
    assert dir(fb) == sorted([*FUNCTIONS, *SETTINGS, "Scorer", "FinsentError", "__version__"])
    assert sorted(fb.__all__) == dir(fb)
    for name in dir(fb):
        assert getattr(fb, name) is not None
    from finsent_batch.io import paths  # noqa: F401 - a module that is loaded shows no more

    assert dir(fb) == sorted(fb.__all__)


def test_type_checkers_see_the_names_that_are_there() -> None:
    tree = ast.parse((ROOT / "finsent_batch" / "__init__.py").read_text())
    (checked,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {
        alias.asname: node.module
        for node in checked.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == fb._EXPORTS


def test_an_unknown_name_is_no_part_of_the_package() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        fb.nothing  # noqa: B018


def test_the_api_s_own_functions_are_those_that_are_exported() -> None:
    for name, module in (("query", query_api), ("query_sql", query_api), ("score_frame", api)):
        assert getattr(fb, name).__wrapped__ is getattr(module, name)


def test_the_version_has_one_home() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "version" not in project["project"]
    assert project["tool"]["setuptools"]["dynamic"]["version"]["attr"] == (
        "finsent_batch.version.__version__"
    )
    assert fb.__version__ == __version__


# ---- settings


def test_settings_take_text_and_paths_alike() -> None:
    text = fb.ScoreConfig(input="in.csv", output="out.parquet", model="mini", store="s.duckdb")
    paths = fb.ScoreConfig(
        input=Path("in.csv"),
        output=Path("out.parquet"),
        model=fb.ModelConfig(model=Path("mini")),
        store=fb.StoreConfig(path=Path("s.duckdb")),
    )
    assert text == paths
    assert text.output == Path("out.parquet")
    assert text.model == fb.ModelConfig(model="mini")


def test_several_may_be_one_and_pairs_a_mapping() -> None:
    config = fb.PrepareConfig(
        sources="a.csv", output="split", format=fb.LabelledFormat(label_map={"1": "positive"})
    )
    assert config.sources == (Path("a.csv"),)
    assert config.format.label_map == (("1", "positive"),)
    gated = fb.EvaluateConfig(data="d", output="o", gates=["accuracy>=0.8"])
    assert gated.gates == ("accuracy>=0.8",)
    assert fb.TrainConfig(data=["a", Path("b")], output="m").data == (Path("a"), Path("b"))


@pytest.mark.parametrize("name", SETTINGS)
def test_a_wrong_type_is_one_clear_error(name: str) -> None:
    """Every setting of every kind: an object is none of the things that it may be."""
    kind = getattr(fb, name)
    given = {f.name: REQUIRED[f.name] for f in fields(kind) if f.name in REQUIRED}
    for item in fields(kind):
        with pytest.raises(TypeError, match=rf"^{name}: {item.name} must be .*, not object "):
            kind(**{**given, item.name: object()})


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"input": None}, "input must be text or several of text, not None"),
        ({"input": "x", "output": 3}, "output must be text or a path or None, not int 3"),
        ({"input": "x", "limit": "3"}, "limit must be a whole number or None, not str '3'"),
        ({"input": "x", "limit": True}, "limit must be a whole number or None, not bool True"),
        ({"input": "x", "overwrite": "no"}, "overwrite must be True or False, not str"),
        ({"input": "x", "commit_seconds": "5"}, "commit_seconds must be a number, not str"),
        ({"input": "x", "model": 3}, "model must be a ModelConfig or text, not int 3"),
        ({"input": "x", "store": fb.ModelConfig()}, "store must be a StoreConfig or text, not"),
    ],
)
def test_the_error_names_the_setting_and_what_it_takes(
    settings: dict[str, Any], reason: str
) -> None:
    with pytest.raises(TypeError, match=re.escape(f"ScoreConfig: {reason}")):
        fb.ScoreConfig(**settings)


@pytest.mark.parametrize(
    "name", ["score", "prepare", "train", "evaluate", "compare", "promote", "merge", "report"]
)
@pytest.mark.parametrize("given", ["news.csv", None, {"input": "x"}, fb.StoreConfig()])
def test_a_job_takes_its_settings_alone(name: str, given: object) -> None:
    with pytest.raises(TypeError, match=rf"{name} takes a \w+Config, not {type(given).__name__}"):
        getattr(fb, name)(given)


# ---- messages


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("name one with --date-column", "name one with date_column"),
        ("replace it with --overwrite", "replace it with overwrite=True"),
        ("use --overwrite or another -o", "use overwrite=True or another output"),
        ("-o out.txt: flips are", "output out.txt: flips are"),
        ("--weights fp4: a classifier", "weights fp4: a classifier"),
        ("no published rows: leave out --from", "no published rows: leave out published"),
        (
            "run finsent-batch train --preset mini -o m",
            "run finsent-batch train --preset mini -o m",
        ),
        ("a well-known so-o-so -- as it is", "a well-known so-o-so -- as it is"),
        ("pip install 'finsent-batch[llm]'", "pip install 'finsent-batch[llm]'"),
    ],
)
def test_options_are_told_as_arguments(message: str, expected: str) -> None:
    assert in_python(message) == expected
    assert in_python(in_python(message)) == expected


def test_errors_name_python_arguments(tmp_path: Path, tiny_model: Path) -> None:
    taken = tmp_path / "taken.parquet"
    for name in ("taken", "in"):
        pl.DataFrame({"headline": ["Oil falls"]}).write_parquet(tmp_path / f"{name}.parquet")
    duckdb.connect(tmp_path / "news.duckdb").close()
    settings: dict[str, Any] = {"model": tiny_model, "store": tmp_path / "s.duckdb"}
    with pytest.raises(fb.FinsentError, match=r"name another with output, or .* overwrite=True"):
        fb.score(fb.ScoreConfig(input=tmp_path / "in.parquet", output=taken, **settings))
    with pytest.raises(fb.FinsentError, match="name a table with table"):
        fb.score(fb.ScoreConfig(input=tmp_path / "news.duckdb", **settings))
    with pytest.raises(ConfigError, match="not an adapter of a causal model"):
        fb.merge(fb.MergeConfig(model=tiny_model, output=tmp_path / "m"))
    with pytest.raises(MissingInputError):
        fb.evaluate(fb.EvaluateConfig(data=tmp_path / "no.csv", output=tmp_path / "e"))
    with pytest.raises(UsageError, match=r"^soft_labels"):
        fb.train(
            fb.TrainConfig.for_preset(
                "llama2-7b", data=tmp_path, output=tmp_path / "m", soft_labels=(taken,)
            )
        )


def test_diagnose_takes_a_store_by_its_path(tmp_path: Path) -> None:
    store = tmp_path / "s.duckdb"
    for given in (store, str(store), fb.StoreConfig(path=store)):
        assert fb.diagnose(given)[-1].what == f"store {store}"


# ---- silence

QUIET = """
import logging, sys
import finsent_batch as fb
import duckdb
import polars as pl
assert "torch" not in sys.modules and "transformers" not in sys.modules
frame = pl.DataFrame({"headline": ["Oil falls", "Shares rise on deal", None]})
for model in sys.argv[1:]:
    with fb.Scorer(model, store="s.duckdb") as scorer:
        scorer.score_frame(frame)
        scorer.score_frame(frame.with_columns(pl.col("headline") + " again"))
fb.query("run_history", store="s.duckdb")
frame.write_csv("feed.csv")
fb.score(fb.ScoreConfig(input="feed.csv", model=sys.argv[1], store="s.duckdb"))
"""


def test_importing_and_scoring_print_nothing(
    tmp_path: Path, tiny_model: Path, causal_base: Any
) -> None:
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", QUIET, "mini", tiny_model, causal_base()],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)
