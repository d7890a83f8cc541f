"""Settings: command line over environment over TOML file over default, and typed TOML."""

import csv
import dataclasses
import re

import pytest

from finsent_batch import config as settings
from finsent_batch import train_config
from finsent_batch.reports.config import ReportConfig
from finsent_batch.reviews.config import ReviewExportConfig, ReviewImportConfig
from finsent_batch.training.train import resolved

from ..helpers.tables import read_table


def shown(done):
    """The rows of `config show`: option to (value, where it came from)."""
    assert done.code == 0, done.err
    rows = csv.reader(done.out.splitlines()[1:])
    return {option: (value, source) for option, value, source in rows}


@pytest.fixture
def toml(tmp_path):
    """Write a configuration file and return its path."""

    def write(text):
        file = tmp_path / "finsent.toml"
        file.write_text(text)
        return file

    return write


@pytest.fixture
def feed(tmp_path, headlines, tiny_model):
    """Twelve rows as Parquet, and the arguments that score them with the tiny model."""
    headlines.write_parquet(tmp_path / "feed.parquet")
    return ["score", "feed.parquet", "--model", tiny_model, "--weights", "fp32"]


def test_defaults_live_in_frozen_keyword_only_dataclasses():
    homes = vars(settings) | vars(train_config)
    classes = [c for c in homes.values() if dataclasses.is_dataclass(c)]
    assert len(classes) >= 5
    for found in classes:
        assert found.__dataclass_params__.frozen
        assert all(field.kw_only for field in dataclasses.fields(found))


def test_every_setting_is_shown_with_its_default(run):
    rows = shown(run("config", "show"))
    assert rows["store"] == ("finsent.duckdb", "default")
    assert rows["score.model"] == ("promoted", "default")
    assert rows["score.output"] == ("not set", "default")
    assert rows["score.store-text"] == ("True", "default")
    assert rows["query.from"] == ("not set", "default")
    assert {source for _, source in rows.values()} == {"default"}


def test_a_variable_with_a_wrong_value_is_named(run, feed, monkeypatch):
    monkeypatch.setenv("FINSENT_SCORE_MAX_BAD_ROWS", "abc")
    done = run(*feed)
    assert done.code == 2
    assert "'abc' is not a valid integer range (from FINSENT_SCORE_MAX_BAD_ROWS)" in done.err


@pytest.mark.parametrize("option", ["--commit-seconds", "--min-confidence"])
def test_nan_is_no_number(run, feed, option):
    done = run(*feed, option, "nan")
    assert done.code == 2
    assert "'nan' is not a number" in done.err


def test_a_command_of_a_group_has_its_table(run, toml, monkeypatch):
    file = toml('store = "a.duckdb"\n[models.promote]\ngate = ["accuracy>=0.9"]\n')
    monkeypatch.setenv("FINSENT_STORE_COMPACT_KEEP_RUNS", "5")
    rows = shown(run("--config", file, "config", "show"))
    assert rows["models.promote.gate"] == ("accuracy>=0.9", "config file")
    assert rows["store.compact.keep-runs"] == ("5", "environment")
    assert rows["store"] == ("a.duckdb", "config file")
    done = run("--config", toml("[models.promot]\n"), "config", "show")
    assert done.code == 78
    known = "convert, describe, format, history, promote"
    assert f"unknown key 'promot' in [models]; known: {known}" in done.err


def test_the_store_and_its_commands_share_a_table(run, toml):
    file = toml('[store]\npath = "a.duckdb"\n[store.compact]\nkeep-runs = 5\n')
    rows = shown(run("--config", file, "config", "show"))
    assert rows["store.compact.keep-runs"] == ("5", "config file")
    assert rows["store"] == ("a.duckdb", "config file")
    file = toml("[store.compact]\nkeep-runs = 5\n")
    assert shown(run("--config", file, "config", "show"))["store"] == ("finsent.duckdb", "default")


def test_a_variable_that_an_option_refuses_is_shown_with_the_reason(run, monkeypatch):
    monkeypatch.setenv("FINSENT_SCORE_LIMIT", "ten")
    value, source = shown(run("config", "show", "score"))["score.limit"]
    assert value.startswith("refused: 'ten' is not a valid integer")
    assert source == "environment"


def test_defaults_of_the_command_line_are_those_of_the_library(run):
    rows = shown(run("config", "show"))
    compared = 0
    for command, config in (
        ("score", settings.ScoreConfig),
        ("score", settings.ModelConfig),
        ("evaluate", settings.ModelConfig),
        ("prepare", settings.PrepareConfig),
        ("report", ReportConfig),
        ("review.export", ReviewExportConfig),
        ("review.import", ReviewImportConfig),
    ):
        for field in dataclasses.fields(config):
            option = f"{command}.{field.name.replace('_', '-')}"
            if option in rows and isinstance(field.default, bool | int | float | str):
                assert rows[option] == (str(field.default), "default")
                compared += 1
    assert compared >= 20


@pytest.mark.parametrize("preset", list(train_config.TRAIN_PRESETS))
def test_settings_of_a_preset_are_those_of_the_library(run, preset):
    done = run("train", "--data", "d", "-o", "m", "--preset", preset, "--show-config")
    assert done.code == 0, done.err
    found = {row["setting"]: row["value"] for row in read_table(done.out)}
    # What `auto` leaves to the machine is decided; test_train_settings.py says how.
    config = resolved(train_config.TrainConfig.for_preset(preset, data=("d",), output="m"))
    for field in dataclasses.fields(config):
        if field.name not in ("data", "output"):
            value = getattr(config, field.name)
            shown = ", ".join(value) if isinstance(value, tuple) else str(value)
            assert found[field.name] == shown


def test_config_show_of_one_command(run):
    rows = shown(run("config", "show", "query"))
    assert {"store", "query.param", "query.from", "query.format", "query.output"} <= set(rows)
    assert not any(name.startswith("score.") for name in rows)
    done = run("config", "show", "nothing")
    assert done.code == 2
    assert "no command 'nothing'; there are: score, prepare" in done.err


def test_the_command_line_wins_over_environment_file_and_default(run, toml, monkeypatch):
    file = toml('store = "file.duckdb"\nmemory-limit = "1GB"\nlog-format = "json"\n')
    monkeypatch.setenv("FINSENT_STORE", "environment.duckdb")
    monkeypatch.setenv("FINSENT_MEMORY_LIMIT", "2GB")
    rows = shown(run("--config", file, "--store", "line.duckdb", "config", "show"))
    assert rows["store"] == ("line.duckdb", "command line")
    assert rows["memory-limit"] == ("2GB", "environment")
    assert rows["log-format"] == ("json", "config file")
    assert rows["quiet"] == ("False", "default")


def test_a_command_s_options_come_from_environment_file_and_default(run, toml, monkeypatch):
    file = toml('[score]\nmodel = "from-file"\nlimit = 3\n[query]\nformat = "json"\n')
    monkeypatch.setenv("FINSENT_SCORE_LIMIT", "5")
    rows = shown(run("--config", file, "config", "show"))
    assert rows["score.model"] == ("from-file", "config file")
    assert rows["score.limit"] == ("5", "environment")
    assert rows["score.device"] == ("auto", "default")
    assert rows["query.format"] == ("json", "config file")
    assert rows["evaluate.model"] == ("promoted", "default")


@pytest.mark.parametrize(
    ("given", "rows"),
    [(0, 12), (1, 3), (2, 5), (3, 2)],
    ids=["default", "file", "environment", "command line"],
)
def test_precedence_in_a_real_run(run, toml, feed, monkeypatch, given, rows):
    before, after = [], ["--summary", "json", "--dry-run"]
    if given >= 1:
        before = ["--config", toml("[score]\nlimit = 3\n")]
    if given >= 2:
        monkeypatch.setenv("FINSENT_SCORE_LIMIT", "5")
    if given >= 3:
        after += ["--limit", 2]
    done = run(*before, *feed, *after)
    assert done.code == 0, done.err
    assert done.json["rows"] == rows


def test_a_run_takes_all_it_is_not_told_from_the_file(run, toml, headlines, tiny_model, tmp_path):
    headlines.write_parquet(tmp_path / "feed.parquet")
    file = toml(
        f'store = "nightly.duckdb"\n[score]\nmodel = "{tiny_model}"\nweights = "fp32"\n'
        'output = "labelled.csv"\nsummary = "json"\nstore-text = false\nmax_batch_tokens = 64\n'
    )
    done = run("--config", file, "score", "feed.parquet")
    assert done.code == 0, done.err
    assert done.json["output"] == "labelled.csv"
    assert done.json["model"] == str(tiny_model)
    assert (tmp_path / "labelled.csv").exists()
    assert (tmp_path / "nightly.duckdb").exists()


def test_the_file_may_be_named_in_the_environment(run, toml, monkeypatch):
    monkeypatch.setenv("FINSENT_CONFIG", str(toml("[runs]\nlimit = 7\n")))
    assert shown(run("config", "show"))["runs.limit"] == ("7", "config file")


def test_variables_are_named_after_the_options(run, monkeypatch):
    monkeypatch.setenv("FINSENT_QUERY_FROM", "a.parquet")
    monkeypatch.setenv("FINSENT_SCORE_SUMMARY", "json")
    monkeypatch.setenv("FINSENT_EVALUATE_GATE", "accuracy>=0.8 no-regression")
    monkeypatch.setenv("FINSENT_SCORE_REPLACE_COLUMNS", "true")
    monkeypatch.setenv("FINSENT_SCORE_STORE_TEXT", "no")
    rows = shown(run("config", "show"))
    assert rows["query.from"] == ("a.parquet", "environment")
    assert rows["score.summary"] == ("json", "environment")
    assert rows["evaluate.gate"] == ("accuracy>=0.8, no-regression", "environment")
    assert rows["score.replace-columns"] == ("True", "environment")
    assert rows["score.store-text"] == ("False", "environment")


def test_a_variable_that_is_no_option_changes_nothing(run, monkeypatch):
    monkeypatch.setenv("FINSENT_VERSION", "1.2")
    assert shown(run("config", "show"))["store"][1] == "default"


def test_a_store_in_the_file_is_for_the_store_s_commands_too(run, toml):
    done = run("--config", toml('store = "there.duckdb"\n'), "store", "verify")
    assert done.code == 66
    assert re.search(r"no store at .*there\.duckdb: score something first", done.err)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "nope = 1",
            "unknown key 'nope' in the top level; known: compare, doctor, evaluate",
        ),
        (
            "[score]\nnope = 1",
            "unknown key 'nope' in [score]; known: actors, append, ",
        ),
        ("[scores]\nlimit = 1", "unknown key 'scores' in the top level"),
        ("score = 1", "score = 1: must be a table, [score]"),
        ("[models]\npromote = 3", "models.promote = 3: must be a table, [models.promote]"),
        ('[score]\ninput = "x"', "unknown key 'input' in [score]"),
        ('config = "x.toml"', "unknown key 'config' in the top level"),
        ("[score]\nversion = true", "unknown key 'version' in [score]"),
        ('[score]\nlimit = "many"', "score.limit = 'many': must be a whole number"),
        ("[score]\nlimit = 3.5", "score.limit = 3.5: must be a whole number"),
        ("[score]\nlimit = true", "score.limit = True: must be a whole number"),
        ("[score]\nlimit = -1", "score.limit = -1: -1 is not in the range x>=0"),
        ('[score]\ncommit-seconds = "5"', "score.commit-seconds = '5': must be a number"),
        ("[score]\nmodel = 3", "score.model = 3: must be text"),
        ('[score]\noverwrite = "yes"', "score.overwrite = 'yes': must be true or false"),
        ('[score]\ndevice = "tpu"', "score.device = 'tpu': 'tpu' is not one of 'auto', 'cpu'"),
        ('[prepare]\nlabel-map = "0=x"', "prepare.label-map = '0=x': must be a list"),
        ("[prepare]\nlabel-map = [0]", "prepare.label-map = [0]: must be a list of text"),
        ("[store.verify]\nx = 1", "unknown key 'verify' in [store]"),
        ("[store]\npath = 1", "store.path = 1: must be text"),
        ("[score", "is not valid TOML"),
    ],
)
def test_a_mistake_in_the_file_is_a_configuration_error(run, toml, text, message):
    done = run("--config", toml(text + "\n"), "config", "show")
    assert done.code == 78
    assert message in done.err
    assert "finsent.toml" in done.err
    assert done.out == ""


def test_a_configuration_file_that_is_not_there(run):
    done = run("--config", "gone.toml", "config", "show")
    assert done.code == 66
    assert "--config gone.toml does not exist: check the path" in done.err


def test_lists_and_whole_numbers_for_fractions_are_fine(run, toml):
    file = toml('[score]\ncommit-seconds = 5\n[prepare]\nlabel-map = ["0=negative", "1=neutral"]\n')
    rows = shown(run("--config", file, "config", "show"))
    assert rows["score.commit-seconds"] == ("5.0", "config file")
    assert rows["prepare.label-map"] == ("0=negative, 1=neutral", "config file")
