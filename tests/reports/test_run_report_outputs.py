"""`report`: which run, gates, formats, and outputs that cannot be written."""

import json
from html.parser import HTMLParser

import polars as pl
import pytest

from finsent_batch.config import ReportConfig, StoreConfig
from finsent_batch.reports.run_data import gather
from finsent_batch.store.store import Store

from ..helpers.nights import score_nights


class Tags(HTMLParser):
    """The tags of a document and what its image and link attributes name."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.names = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.names += [value for name, value in attrs if name in ("src", "href")]


@pytest.fixture
def nights(score, wordy, tmp_path):
    """The summaries of three runs."""
    return score_nights(score, wordy, tmp_path)


def as_json(run, *arguments):
    done = run("report", "--format", "json", *arguments)
    assert done.code == 0, done.err
    return done.json


# ---- which run


def test_a_run_is_named_by_its_id_or_the_beginning_of_it(run, nights):
    ids = [n["run_id"] for n in nights]
    assert as_json(run, "--run", ids[0])["run"]["run_id"] == ids[0]
    length = next(i for i in range(36) if ids[0][:i] not in (ids[1][:i], ids[2][:i]))
    assert as_json(run, "--run", ids[0][:length])["run"]["run_id"] == ids[0]


@pytest.mark.parametrize(
    ("wanted", "message"),
    [("nothing", "there is no run 'nothing' in"), ("0", "several runs begin with '0' in"),
     ("%", "there is no run '%'"), ("", "several runs begin with ''")],
)  # fmt: skip
def test_a_run_that_is_not_there(run, nights, wanted, message):
    done = run("report", "--run", wanted, "-o", "r.html")
    assert done.code == 2
    assert f"--run: {message}" in done.err
    assert "finsent-batch runs lists them" in done.err
    assert done.err.count("\n") == 1


# ---- gates


def test_a_gate_that_fails_exits_3_after_the_report_is_written(run, nights, tmp_path):
    done = run("report", "-o", "r.json", "--gate", "rows<10", "--gate", "psi<100")
    assert done.code == 3
    assert done.err == "finsent-batch: error: gate failed: rows is 42, not < 10\n"
    found = json.loads((tmp_path / "r.json").read_text())
    assert found["gates"] == [
        {"gate": "rows<10", "value": 42, "holds": False, "reason": "rows is 42, not < 10"},
        {"gate": "psi<100", "value": found["metrics"]["psi"], "holds": True,
         "reason": f"psi is {found['metrics']['psi']:.6g}"},
    ]  # fmt: skip
    assert run("report", "-o", "r.html", "--gate", "rows<10").code == 3
    assert "Gate failed: rows is 42, not &lt; 10." in (tmp_path / "r.html").read_text()
    assert run("report", "--gate", "rows<10").out.startswith("# Run report: n2.parquet\n")


@pytest.mark.parametrize(
    ("gate", "message"),
    [("psi about 0", "write METRIC COMPARISON NUMBER; COMPARISON is >=, <=, > or <; METRIC is one "
      "of psi, psi_labels"),
     ("pis<0.2", "no metric 'pis'; there are: psi, psi_labels, psi_confidence")],
)  # fmt: skip
def test_a_gate_that_cannot_be_meant_writes_nothing(run, nights, tmp_path, gate, message):
    done = run("report", "-o", "r.html", "--gate", gate)
    assert done.code == 2
    assert message in done.err
    assert not (tmp_path / "r.html").exists()


def test_every_metric_named_in_the_grammar_is_there(run, nights):
    metrics = as_json(run)["metrics"]
    # Three nights are too few to say what is usual, and these have no column of sources.
    unknown = {"volume_ratio", "sources", "missing_sources", "largest_source_move"}
    assert {name for name, value in metrics.items() if value is None} == unknown
    done = run("report", "--gate", "?")
    assert done.err.strip().endswith(", ".join(metrics))


# ---- formats and outputs


def test_html_is_one_file_that_names_no_other(run, nights, tmp_path):
    assert run("report", "-o", "r.html").code == 0
    page = Tags((tmp_path / "r.html").read_text("utf-8"))
    assert "script" not in page.tags
    assert page.tags.count("img") == 6
    assert all(name.startswith("data:") for name in page.names)


ATTACK = '<script>alert("x")</script> | [a](javascript:b) `c` *d* $e$ \\ &amp; \u202e'


def test_what_headlines_say_stays_text(run, score, wordy, tmp_path):
    frame = pl.DataFrame({"headline": [f"{ATTACK} {text}" for text in wordy(12)]})
    frame.write_parquet(tmp_path / "<b>x.parquet")
    score("<b>x.parquet", "-o", "out.parquet")
    assert run("report", "-o", "r.html").code == 0
    text = (tmp_path / "r.html").read_text("utf-8")
    assert not {"script", "b", "a"} & set(Tags(text).tags)
    assert "&lt;script&gt;alert(&#34;x&#34;)&lt;/script&gt;" in text
    markdown = run("report").out
    assert "<script>" not in markdown
    assert r"&lt;script&gt;alert" in markdown
    assert r"\| \[a\](javascript:b) \`c\` \*d\* \$e\$ \\ &amp;amp;" in markdown


def test_without_an_output_the_report_is_printed(run, nights):
    assert run("report").out.startswith("# Run report: n2.parquet\n\nrun ")
    assert run("report", "--format", "html").out.startswith("<!doctype html>\n")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["-o", "finsent.duckdb"], 2, "-o finsent.duckdb: a report is .html, .md or .json"),
        (["-o", "n2.parquet", "--format", "html"], 2, "a report is .html, .md or .json"),
        (["-o", "r.html", "--format", "json"], 2, "as --format says if it is given"),
        (["-o", "no/r.html"], 73, "cannot write no/r.html (No such file or directory)"),
        (["-o", "folder.html"], 2, "File 'folder.html' is a directory"),
        (["--baseline-runs", "0"], 2, "0 is not in the range"),
    ],
)
def test_an_output_that_cannot_be_written(run, nights, tmp_path, arguments, code, message):
    (tmp_path / "folder.html").mkdir()
    before = {f.name: f.stat().st_mtime_ns for f in tmp_path.iterdir()}
    done = run("report", *arguments)
    assert done.code == code
    assert message in done.err
    assert {f.name: f.stat().st_mtime_ns for f in tmp_path.iterdir()} == before


def test_without_a_store_there_is_nothing_to_report(run):
    done = run("report", "-o", "r.html")
    assert done.code == 66
    assert "score something first, or name --store" in done.err


def test_a_store_in_use_is_named(run_process, nights, tmp_path):
    with Store.open(StoreConfig(path=tmp_path / "finsent.duckdb")):
        done = run_process("report", "-o", "r.html")
    assert done.code == 75
    assert "finsent.duckdb is in use by process" in done.err


def test_gathering_leaves_nothing_beside_the_store(nights, tmp_path):
    before = sorted(f.name for f in tmp_path.iterdir())
    data = gather(ReportConfig(store=StoreConfig(path=tmp_path / "finsent.duckdb")))
    assert data.labelled == 41
    assert sorted(f.name for f in tmp_path.iterdir()) == before
