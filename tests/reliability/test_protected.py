"""What is given is not written over, and what is secret is not kept."""

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

COMMAND = Path(sys.executable).parent / "finsent-batch"


@pytest.fixture
def place(run, tiny_model, tmp_path):
    """Return a folder with a feed, its output, a store, a model and a configuration file."""
    pl.DataFrame({"headline": ["Oil rises", "Oil falls"]}).write_parquet(tmp_path / "a.parquet")
    shutil.copytree(tiny_model, tmp_path / "m")
    (tmp_path / "c.toml").write_text("[score]\nweights = 'fp32'\n")
    done = run("score", "a.parquet", "-o", "o.parquet", "--model", "m", "--weights", "fp32")
    assert done.code == 0, done.err
    return tmp_path


OURS = ["finsent.duckdb", "a.parquet", "o.parquet", "m/config.json", "m/tokenizer.json"]


@pytest.mark.parametrize(
    "command",
    [
        ("score", "a.parquet", "-o", "o.parquet", "--model", "m", "--weights", "fp32",
         "--metrics-file"),
        ("report", "--format", "json", "-o"),
        ("query", "label_mix", "--format", "json", "-o"),
    ],
)  # fmt: skip
def test_no_output_takes_their_place(run, place, command):
    (place / "link").symlink_to("finsent.duckdb")
    before = {name: (place / name).read_bytes() for name in OURS}
    for target in (*OURS, "./m/../m/model.safetensors", "link"):
        done = run(*command, target)
        assert done.code == 2, (target, done.err)
        assert done.err.count("\n") == 1
        assert {name: (place / name).read_bytes() for name in OURS} == before, target


def test_nor_that_of_the_configuration(run, place):
    before = (place / "c.toml").read_bytes()
    for command in (
        ("query", "label_mix", "--format", "json", "-o"),
        ("report", "--format", "json", "-o"),
        ("score", "a.parquet", "--metrics-file"),
    ):
        done = run("--config", "c.toml", *command, "c.toml")
        assert done.code == 2, done.err
        assert "--config file" in done.err
    assert (place / "c.toml").read_bytes() == before


SECRET = "s3cr3t"


def test_credentials_in_an_address_are_refused_and_kept_nowhere(run, tmp_path):
    done = run(
        "--log-format", "json", "score", f"s3://AKIA:{SECRET}@bucket/a.parquet", "-o", "o",
        "--summary", "json", "--metrics-file", "m.prom", "--notify-command", "tee told",
    )  # fmt: skip
    assert done.code == 2
    assert SECRET not in done.out + done.err
    assert "AWS_ACCESS_KEY_ID" in done.err
    assert not any(SECRET.encode() in f.read_bytes() for f in tmp_path.rglob("*") if f.is_file())


def test_a_token_of_the_notify_command_is_not_in_store_or_export(run, place):
    done = run(
        "score", "a.parquet", "-o", "o.parquet", "--model", "m", "--weights", "fp32",
        "--notify-command", f"true {SECRET}",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert run("store", "export", "-o", "copy").code == 0
    assert run("report", "-o", "r.json", "--format", "json").code == 0
    options = run("query", "--sql", "SELECT options FROM runs ORDER BY started_at DESC LIMIT 1",
                  "--format", "json")  # fmt: skip
    assert options.json[0]["options"]["notify_command"] == "given"
    assert not any(SECRET.encode() in f.read_bytes() for f in place.rglob("*") if f.is_file())


def test_the_work_folder_is_for_its_owner_alone(run, place, monkeypatch):
    from finsent_batch.pipeline import tasks

    seen = []
    whole = tasks.stage_csv

    def looked(path, folder, **options):
        seen.append(stat.S_IMODE(folder.stat().st_mode))
        return whole(path, folder, **options)

    monkeypatch.setattr(tasks, "stage_csv", looked)
    (place / "b.csv").write_text("headline\nOil rises\n")
    assert run("score", "b.csv", "--model", "m", "--weights", "fp32").code == 0
    assert seen == [0o700]


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (1, 2), (0, 1, 2)])
def test_closed_standard_streams(place, closed):
    redirect = " ".join(f"{n}{'<' if n == 0 else '>'}&-" for n in closed)
    done = subprocess.run(
        f"{COMMAND} query label_mix --format csv -o mix.csv {redirect}", shell=True, cwd=place,
        capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (place / "mix.csv").exists()


def test_a_table_on_a_stdout_of_ascii(place):
    done = subprocess.run(
        [COMMAND, "query", "--sql", "SELECT 'Erträge' AS t", "--format", "table"], cwd=place,
        env={**os.environ, "PYTHONIOENCODING": "ascii"}, capture_output=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"Ertr\\xe4ge" in done.stdout


def test_a_working_folder_that_is_gone(tmp_path):
    gone = tmp_path / "gone"
    gone.mkdir()
    done = subprocess.run(
        f"cd {gone}; rmdir {gone}; {COMMAND} runs", shell=True, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 66
    assert done.stderr == (
        "finsent-batch: error: the working folder does not exist any more: cd to one that does\n"
    )


def test_a_pipe_in_an_input_folder_is_left_out(run, place):
    (place / "in").mkdir()
    shutil.copyfile(place / "a.parquet", place / "in" / "a.parquet")
    os.mkfifo(place / "in" / "x.parquet")
    done = run("score", "in", "-o", "outs", "--model", "m", "--weights", "fp32")
    assert done.code == 0, done.err
    assert "x.parquet" in done.out + done.err


@pytest.fixture
def labelled(place):
    """Labelled headlines of three labels, in a folder of their own under the results' names."""
    rows = {"headline": [f"oil {i} deals" for i in range(30)],
            "label": ["negative", "neutral", "positive"] * 10}  # fmt: skip
    for name in ("predictions.parquet", "train.parquet"):
        (place / "d").mkdir(exist_ok=True)
        pl.DataFrame(rows).write_parquet(place / "d" / name)
    (place / "same").symlink_to("d")
    return place


@pytest.mark.parametrize(
    "command",
    [
        ("evaluate", "--model", "m", "--weights", "fp32", "--data", "d/predictions.parquet"),
        ("prepare", "d/train.parquet"),
        ("prepare", "a.txt", "--exclude", "d/train.parquet", "--overwrite"),
    ],
)
def test_no_folder_of_results_takes_their_place(run, labelled, command):
    (labelled / "a.txt").write_text("Oil rises@positive\n")
    before = {f: f.read_bytes() for f in labelled.rglob("*") if f.is_file()}
    for output in ("d", "./d", "same"):
        done = run(*command, "-o", output)
        assert done.code == 2, (output, done.err)
        assert "which is an input" in done.err
        assert {f: f.read_bytes() for f in labelled.rglob("*") if f.is_file()} == before, output


def test_a_folder_that_is_a_file_of_ours_is_no_output(run, labelled):
    """Nor one below it; this is told before any work, and so without what that would warn of."""
    for target in ("finsent.duckdb", "a.parquet", "a.parquet/x/y"):
        file = labelled / target.split("/")[0]
        before = file.read_bytes()
        for command in (
            ("evaluate", "--model", "m", "--weights", "fp32", "--data", "d/train.parquet"),
            ("prepare", "d/train.parquet"),
            ("train", "--data", "d"),
        ):
            done = run(*command, "-o", target)
            assert done.code == 73, done.err
            assert done.err.count("\n") == 1
            assert file.read_bytes() == before
