"""`report`: which run, gates, formats, and outputs that cannot be written."""

import json
from datetime import datetime, timedelta
from html.parser import HTMLParser

import polars as pl
import pytest

from finsent_batch.config import StoreConfig
from finsent_batch.reports.config import ReportConfig
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


@pytest.fixture(scope="module")
def kept(wordy, tmp_path_factory, tiny_model):
    """Three runs, scored once for all tests that change nothing of what they published."""
    return score_nights(wordy, tmp_path_factory.mktemp("nights"), tiny_model)


@pytest.fixture
def nights(kept, tmp_path):
    """The summaries of three runs, whose files and store are in the working folder."""
    return kept.copy(tmp_path)


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


def test_a_run_that_was_run_again_still_has_its_headlines(run, score, wordy, tmp_path):
    pl.DataFrame({"headline": wordy(20)}).write_parquet(tmp_path / "n.parquet")
    to = ("-o", "t.duckdb", "--output-table", "t", "--append")
    runs = [score("n.parquet")["run_id"] for _ in range(2)]
    runs += [score("n.parquet", *to)["run_id"] for _ in range(2)]
    found = [as_json(run, "--run", run_id) for run_id in runs]
    assert all(f["most_positive"] or f["most_negative"] for f in found)
    assert [f["most_positive"] for f in found] == [found[0]["most_positive"]] * 4
    assert not [note for f in found for note in f["notes"] if "replaced" in note]
    # Other rows are what another run published.
    pl.DataFrame({"headline": wordy(19)}).write_parquet(tmp_path / "n.parquet")
    score("n.parquet")
    assert any("replaced by a later run" in n for n in as_json(run, "--run", runs[0])["notes"])


def test_markdown_has_in_figures_what_the_page_draws(run, nights):
    shown = run("report").out
    found = as_json(run)
    for title in ("Label mix", "Sentiment score", "Confidence", "Label mix, run by run",
                  "Where the rows' scores came from"):  # fmt: skip
        assert f"### {title}" in shown
    for label, count in found["labels"].items():
        share = count / sum(found["labels"].values())
        assert f"| {label} | {count} | {share:.1%} | " in shown
    bins = found["histograms"]["confidence"]
    assert f"| 0.95 to 1.00 | {bins[-1]} | {bins[-1] / sum(bins):.1%} |" in shown


# ---- days


def test_a_report_on_days_counts_what_is_published_of_them(run, score, wordy, tmp_path):
    start = datetime(2014, 1, 6, 23)
    for night in range(3):
        texts = wordy(60)[night * 20 : night * 20 + 20]
        times = [start + timedelta(days=night, minutes=6 * i) for i in range(20)]
        frame = pl.DataFrame({"published_at": times, "headline": texts})
        frame.write_parquet(tmp_path / f"n{night}.parquet")
    (tmp_path / "odd.csv").write_text("published_at,headline\nsome day,Oil falls\n")
    score("n0.parquet", "n1.parquet", "n2.parquet", "odd.csv")
    score("n1.parquet")  # again: no row counts twice

    def rows(where: str) -> int:
        sql = f"SELECT count(*) AS n FROM scored_headlines WHERE {where}"
        return int(run("query", "--sql", sql, "--format", "csv").out.split()[1])

    found = as_json(run, "--all")
    assert found["rows"]["read"] == sum(found["labels"].values()) == rows("true") == 61
    assert sum(found["histograms"]["confidence"]) == 61
    found = as_json(run, "--since", "2014-01-07", "--until", "2014-01-07")
    assert found["rows"]["read"] == rows("news_time::DATE = '2014-01-07'") == 20
    assert found["drift"]["baseline_rows"] == 10
    assert {row["time"][:10] for row in found["by_time"]} == {"2014-01-07"}
    assert any("1 published row without a time" in note for note in found["notes"])
    shown = run("report", "--until", "2014-01-07", "--gate", "rows>100")
    assert shown.code == 3
    assert shown.out.startswith("# Report: the beginning to 2014-01-07\n")
    assert (
        "Nothing that is published is of these days." in run("report", "--since", "2020-01-01").out
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--run", "0", "--all"), "--run is a report on one run"),
        (("--all", "--since", "2014-01-06"), "leave out --since and --until"),
        (("--since", "6.1.2014"), "'6.1.2014' is not a day: write it as 2014-01-31"),
        (("--since", "2014-01-07", "--until", "2014-01-06"), "is before --since"),
    ],
)
def test_days_that_cannot_be_meant(run, nights, arguments, message):
    done = run("report", *arguments)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert message in done.err


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


def test_a_run_that_writes_to_the_store_keeps_nobody_from_reporting(run_process, nights, tmp_path):
    with Store.open(StoreConfig(path=tmp_path / "finsent.duckdb")) as store:
        store.connection.execute("DELETE FROM runs")
        done = run_process("report", "-o", "r.html")
    assert (done.code, done.err) == (0, "")


def test_gathering_leaves_nothing_beside_the_store(nights, tmp_path):
    before = sorted(f.name for f in tmp_path.iterdir())
    data = gather(ReportConfig(store=StoreConfig(path=tmp_path / "finsent.duckdb")))
    assert data.labelled == 41
    assert sorted(f.name for f in tmp_path.iterdir()) == before
