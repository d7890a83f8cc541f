"""What a run tells others: the metrics file, the notify command, the log."""

import json
import os
import re
import sys
import time
from pathlib import Path

import polars as pl
import pytest

METRICS = ("--metrics-file", "finsent.prom")


def metrics(folder):
    """Read a Prometheus text file, each line of which must be well-formed: name to value."""
    found = {}
    for line in (folder / "finsent.prom").read_text().splitlines():
        if not line.startswith("#"):
            name, value = re.fullmatch(
                r'(finsent_[a-z_]+(?:\{[a-z]+="[^"]+"\})?) (\S+)', line
            ).groups()
            assert name not in found
            found[name] = float(value)
    return found


def command(folder, code=0):
    """A command that keeps its standard input in told.json and ends with `code`."""
    script = folder / "notify.py"
    script.write_text(
        "import pathlib, sys\n"
        "pathlib.Path('told.json').write_text(sys.stdin.read())\n"
        f"print('told')\nsys.exit({code})\n"
    )
    return ("--notify-command", f"'{sys.executable}' '{script}'")


def test_metrics_of_a_run_that_succeeds(score, feed, tmp_path):
    before = time.time()
    summary = score("feed.parquet", *METRICS)
    found = metrics(tmp_path)
    assert before <= found["finsent_last_success_timestamp_seconds"] <= time.time()
    assert found["finsent_last_run_exit_code"] == 0
    assert found['finsent_last_run_rows{kind="read"}'] == 12
    assert found['finsent_last_run_rows{kind="duplicate"}'] == 2
    assert found['finsent_last_run_labels{label="positive"}'] == summary["labels"]["positive"]
    assert found["finsent_last_run_seconds"] == summary["seconds"]["total"]
    assert found["finsent_last_run_quarantined_rows"] == summary["quarantined"] == 0
    assert oct((tmp_path / "finsent.prom").stat().st_mode)[-3:] in ("644", "664")


def test_metrics_count_what_was_set_aside(score, run, tmp_path):
    (tmp_path / "n.csv").write_text("headline,published_at\nOil falls,some day\na,b,c\n")
    summary = score("n.csv", "--max-bad-rows", 1, "--no-default-gates", *METRICS)
    assert metrics(tmp_path)["finsent_last_run_quarantined_rows"] == summary["quarantined"] == 2
    listed = run("query", "--sql", "SELECT count(*) AS n FROM quarantine", "--format", "csv")
    assert listed.out == "n\n2\n"


def test_a_failure_leaves_the_time_of_the_last_success(score, run, feed, tmp_path):
    run("score", "gone.parquet", *METRICS)
    never = metrics(tmp_path)
    assert never["finsent_last_success_timestamp_seconds"] == 0
    assert never["finsent_last_run_exit_code"] == 66
    score("feed.parquet", *METRICS)
    success = metrics(tmp_path)["finsent_last_success_timestamp_seconds"]
    assert run("score", "gone.parquet", *METRICS).code == 66
    failed = metrics(tmp_path)
    assert failed["finsent_last_success_timestamp_seconds"] == success
    assert failed["finsent_last_run_timestamp_seconds"] > success
    assert failed["finsent_last_run_exit_code"] == 66
    assert {f.name for f in tmp_path.glob(".*finsent*")} == set()


@pytest.mark.parametrize("place", ["no/such/folder.prom", "in/elsewhere.prom"])
def test_metrics_that_cannot_be_written_are_warned_of(run, feed, tmp_path, tiny_model, place):
    (tmp_path / "out").mkdir()
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "elsewhere.prom").symlink_to(tmp_path / "out" / "there.prom")
    done = run("score", "feed.parquet", "--model", tiny_model, "--metrics-file", place)
    assert done.code == 0
    assert f"warning: the metrics file {place} was not written: " in done.err
    assert not any((tmp_path / "out").iterdir())


def test_the_command_gets_the_summary_and_prints_to_stderr(score, feed, tmp_path):
    summary = score("feed.parquet", *command(tmp_path))
    told = json.loads((tmp_path / "told.json").read_text())
    assert told == summary
    assert told["status"] == "done"


def test_the_command_is_told_of_failures_before_and_within_a_run(run, feed, tmp_path, tiny_model):
    done = run("score", "gone.parquet", *command(tmp_path))
    told = json.loads((tmp_path / "told.json").read_text())
    assert (done.code, told["exit_code"], told["status"]) == (66, 66, "failed")
    assert told["error"] == "gone.parquet does not exist: check the path"
    assert done.out == ""
    assert "told" in done.err
    (tmp_path / "bad.csv").write_text("headline\na\nb,c\n")
    run("score", "bad.csv", *command(tmp_path), "--model", tiny_model)
    assert json.loads((tmp_path / "told.json").read_text())["exit_code"] == 65


def test_the_command_may_open_the_store(score, feed, tmp_path):
    python = "import duckdb; duckdb.connect('finsent.duckdb').execute('CREATE TABLE seen (i INT)')"
    (tmp_path / "n.py").write_text(python)
    score("feed.parquet", "--notify-command", f"'{sys.executable}' n.py")
    import duckdb

    with duckdb.connect(tmp_path / "finsent.duckdb") as store:
        assert store.execute("FROM seen").fetchall() == []


def test_a_command_that_fails_changes_no_exit_code(run, feed, tmp_path, tiny_model):
    arguments = ("--model", tiny_model, "--weights", "fp32")
    done = run("score", "feed.parquet", *arguments, *command(tmp_path, code=7))
    assert done.code == 0
    assert "warning: the notify command failed with exit code 7" in done.err
    done = run("score", "feed.parquet", *arguments, "--notify-command", "no-such-command --now")
    assert done.code == 0
    assert "could not be run: No such file or directory: no-such-command" in done.err
    assert run("score", "gone.parquet", *command(tmp_path, code=7)).code == 66
    done = run("score", "feed.parquet", *arguments, "--notify-command", "say 'well")
    assert done.code == 2
    assert "No closing quotation" in done.err


def test_a_command_that_hangs_is_ended(feed, tmp_path, tiny_model, monkeypatch, caplog):
    import logging

    from finsent_batch.config import ScoreConfig
    from finsent_batch.pipeline.notifications import send_notifications
    from finsent_batch.pipeline.summary import Summary

    monkeypatch.setattr(logging.getLogger("finsent_batch"), "propagate", True)
    config = ScoreConfig(input="x", notify_command="sleep 600", notify_seconds=0.1)
    send_notifications(config, Summary())
    assert "the notify command was ended: it took more than 0.1 s" in caplog.text


def test_json_lines_carry_run_id_stage_and_counts(run, feed, tiny_model):
    arguments = ("--model", tiny_model, "--weights", "fp32", "--summary", "json")
    done = run("--log-format", "json", "score", "feed.parquet", *arguments)
    lines = [json.loads(line) for line in done.err.splitlines()]
    stages = [line for line in lines if "stage" in line]
    assert [line["stage"] for line in stages] == ["plan", "score", "publish"]
    assert {line["run_id"] for line in stages} == {done.json["run_id"]}
    assert stages[0]["counts"] == {"rows": 12, "to_score": 8}
    assert stages[1]["counts"] == {"headlines": 8}
    assert stages[2]["counts"] == done.json["rows"]
    done = run("--log-format", "json", "score", "gone.parquet", *arguments)
    [line] = [json.loads(line) for line in done.err.splitlines()]
    assert (line["level"], line["exit_code"]) == ("error", 66)


CANARY = "Zyxwvut Holdings canary"


@pytest.mark.parametrize("form", ["good", "ragged", "quote", "bytes", "types", "changed"])
def test_no_headline_is_ever_logged(run, tmp_path, tiny_model, monkeypatch, form):
    file = tmp_path / "feed.csv"
    if form in ("good", "changed"):
        file.write_text(f"headline\n{CANARY}\n")
    elif form == "ragged":
        file.write_text(f"headline,n\n{CANARY},1,2\n")
    elif form == "quote":
        file.write_text(f'headline,n\n"{CANARY},1\n')
    elif form == "bytes":
        file.write_bytes(f"headline\n{CANARY} ".encode() + b"\xff\n")
    else:
        file = tmp_path / "feed.parquet"
        pl.DataFrame({"headline": [[CANARY]]}).write_parquet(file)
    if form == "changed":
        from finsent_batch.io.parquet import ParquetSource

        monkeypatch.setattr(ParquetSource, "signature", lambda self: os.urandom(8))
    told = command(tmp_path)
    done = run("-vv", "--log-format", "json", "score", file, "--model", tiny_model, *told)
    assert done.code == {"good": 0, "changed": 75}.get(form, 65)
    assert "canary" not in done.err
    assert "canary" not in (tmp_path / "told.json").read_text()


SCHEDULE = Path(__file__).parent.parent.parent / "jobs" / "schedule"


def in_place(text, folder):
    """Put a folder of the test in place of the paths and commands that the examples name."""
    bin_ = str(Path(sys.executable).parent)
    places = {
        "/opt/finsent/.venv/bin": bin_,
        "/srv/finsent": f"{folder}/srv",
        "/srv/feeds": f"{folder}/in",
        "/etc/finsent": str(folder),
        "/var/lib/prometheus/node-exporter": str(folder),
        "logger -t finsent-batch": "tee told.json",
    }
    for old, new in places.items():
        text = text.replace(old, new)
    return text


def shipped_command(kind, which):
    """Return the command line of a schedule file: for the whole folder, or of yesterday's file."""
    if kind == "systemd":
        unit = (SCHEDULE / "finsent-nightly.service").read_text()
        if which == "folder":
            return re.search("^ExecStart=(.+)$", unit, re.MULTILINE)[1]
        line = re.search("^#ExecStart=/bin/sh -c '(.+)'$", unit, re.MULTILINE)[1]
        return line.replace("%%", "%")
    lines = (SCHEDULE / "crontab").read_text().splitlines()
    start = "0 3 * * *" if which == "folder" else "#0 3 * * *"
    [line] = [line for line in lines if line.startswith(start)]
    return line.split(maxsplit=5)[5].replace("\\%", "%")


@pytest.mark.parametrize(("which", "rows"), [("folder", 24), ("yesterday", 12)])
@pytest.mark.parametrize("kind", ["systemd", "cron"])
def test_the_scheduled_command_as_shipped(tmp_path, feed, kind, which, rows):
    import subprocess

    (tmp_path / "srv").mkdir()
    (tmp_path / "in").mkdir()
    date = ["date", "-d", "yesterday", "+%F"]
    yesterday = subprocess.run(date, capture_output=True, text=True, check=True)
    feed.write_parquet(tmp_path / "in" / f"{yesterday.stdout.strip()}.parquet")
    feed.write_parquet(tmp_path / "in" / "2014-01-06.parquet")  # a night that was missed
    (tmp_path / "in" / ".today.parquet").write_bytes(b"PAR1 half of it")
    settings = (SCHEDULE / "nightly.toml").read_text()
    (tmp_path / "nightly.toml").write_text(in_place(settings, tmp_path))
    line = shipped_command(kind, which)
    done = subprocess.run(
        ["/bin/sh", "-c", in_place(line, tmp_path)],
        cwd=tmp_path / "srv",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "srv" / "told.json").read_text())["rows"]["read"] == rows
    assert metrics(tmp_path)["finsent_last_run_exit_code"] == 0
    assert (tmp_path / "srv" / "news.duckdb").exists()


def test_systemd_accepts_the_units():
    import shutil
    import subprocess

    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze on this machine")
    units = [SCHEDULE / "finsent-nightly.service", SCHEDULE / "finsent-nightly.timer"]
    done = subprocess.run(
        ["systemd-analyze", "verify", *units], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
