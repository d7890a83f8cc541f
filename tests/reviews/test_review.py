"""Headlines drawn for review, answers taken back, and what they show: through the command line."""

import csv
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import cohen_kappa_score

from finsent_batch.labelled.split_folders import load_splits, split_notes
from finsent_batch.labels import LABELS
from finsent_batch.metrics.proportions import weighted_share, wilson
from finsent_batch.reviews.training_data import data_folders

ODD = [
    "=SUM(A1) shares rise", "+5 % for Nokia", "-3 cents a share", "@nokia posts profit",
    "'Record' profit, says \"Nokia\"", "Jan 2014", "1-2", "TRUE", "Sales; profit, loss",
    "Élan für die Börse – 12 €", "''", "=1+1",
]  # fmt: skip
"""Headlines that a spreadsheet may change."""
SOURCES = ("wire", "paper", "web")


@pytest.fixture
def store(tmp_path, wordy, score):
    """A store with two months of scored news in the working folder."""
    texts = [*ODD, *wordy(288)]
    start = datetime(2014, 1, 20)
    pl.DataFrame(
        {
            "published_at": [start + timedelta(hours=i * 2) for i in range(300)],
            "headline": texts,
            "source": [SOURCES[i % 3] for i in range(300)],
        }
    ).write_parquet(tmp_path / "news.parquet")
    return score("news.parquet")


def read(file):
    with Path(file).open(encoding="utf-8-sig", newline="") as stream:
        return list(csv.DictReader(stream))


def write(file, rows, **dialect):
    with Path(file).open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), **dialect)
        writer.writeheader()
        writer.writerows(rows)


def model_labels():
    frame = pl.read_parquet("news.scored.parquet")
    return dict(zip(frame["headline"], frame["sentiment"], strict=True))


def plain(row):
    return row["headline"].removeprefix("'")


def answered(rows, wrong=(), reviewer=""):
    """Fill a sheet with the model's labels, but for those of these rows."""
    said = model_labels()
    for i, row in enumerate(rows):
        label = said[plain(row)]
        other = LABELS[(LABELS.index(label) + 1) % 3]
        row |= {"label": other if i in wrong else label, "reviewer": reviewer}
    return rows


def test_a_sample_is_drawn_by_its_seed_and_comes_back_from_a_spreadsheet_unchanged(store, run):
    done = run("review", "export", "-o", "all.csv", "--rows", 1000)
    assert done.code == 0, done.err
    assert done.out == "wrote all.csv: 300 of 300 headlines\n"
    rows = read("all.csv")
    assert list(rows[0]) == ["key", "headline", "label", "reviewer"]
    assert {plain(row) for row in rows} == set(model_labels())
    assert not any(row["headline"][0] in "=+-@" for row in rows)
    drawn = [
        (run("review", "export", "-o", f"{name}.csv", "--rows", 60, "--seed", seed, "--since",
             "2014-02-01", *more), Path(f"{name}.csv").read_bytes())
        for name, seed, more in (("a", 1, ()), ("b", 1, ()), ("c", 2, ("--show-labels",)))
    ]  # fmt: skip
    assert [done.code for done, _ in drawn] == [0, 0, 0]
    assert drawn[0][1] == drawn[1][1]
    rows = read("c.csv")
    assert {row["key"] for row in rows} != {row["key"] for row in read("a.csv")}
    assert len(rows) == 60
    assert all(row["model_label"] == model_labels()[plain(row)] for row in rows)
    nowhere = run("review", "export", "-o", "none/a.csv")
    assert (nowhere.code, len(nowhere.err.splitlines())) == (73, 1)
    again = run("review", "export", "-o", "a.csv")
    assert again.code == 73
    assert "may hold answers" in again.err
    # Each stratum has its due, and the weights add up to all that was drawn from.
    weights = run("query", "--sql", "SELECT sample_id, source, sum(weight) AS w, count(*) AS n "
                  "FROM review_samples GROUP BY ALL", "--format", "json").json  # fmt: skip
    of_c = [w for w in weights if w["n"] < 60]
    assert {w["source"] for w in of_c} == set(SOURCES)
    assert all(w["n"] == pytest.approx(20, abs=2) for w in of_c)
    assert all(w["w"] == pytest.approx(52, rel=0.2) for w in of_c)


def test_answers_are_kept_once_and_show_accuracy_agreement_and_mistakes(store, run):
    run("review", "export", "-o", "s.csv", "--rows", 400)
    rows = answered(read("s.csv"), wrong=range(30))
    rows[299]["label"] = ""
    write("s.csv", rows, delimiter=";")  # as a spreadsheet of another country saves it
    first = run("review", "import", "s.csv", "--reviewer", "Anna")
    assert first.code == 0, first.err
    assert "299 answers added, 0 changed, 0 known; 1 row without a label" in first.out
    second = run("review", "import", "s.csv", "--reviewer", "Anna")
    assert "0 answers added, 0 changed, 299 known" in second.out
    shown = run("review", "show", "--format", "json").json
    assert [row["month"] for row in shown] == ["2014-01", "2014-02", "all"]
    total = shown[-1]
    assert (total["headlines"], total["accuracy"]) == (299, pytest.approx(269 / 299))
    low, high = wilson(269 / 299, 299)
    assert (total["accuracy_low"], total["accuracy_high"]) == (
        pytest.approx(low),
        pytest.approx(high),
    )
    assert total["estimated_accuracy"] == pytest.approx(
        store["figures"]["estimated_accuracy"], abs=1e-5
    )
    # A second reviewer, who agrees on all but ten, and a correction.
    write("t.csv", answered(read_again("s.csv"), wrong=range(20), reviewer="Ben"))
    assert run("review", "import", "t.csv").code == 0
    agreement = run("review", "show", "--only", "agreement", "--format", "json").json
    labels = [[row["label"] for row in rows[:299]], [r["label"] for r in read("t.csv")[:299]]]
    [pair] = agreement
    assert (pair["one"], pair["other"], pair["headlines"]) == ("Anna", "Ben", 299)
    assert pair["kappa"] == pytest.approx(cohen_kappa_score(*labels))
    wrong = run("review", "show", "--only", "wrong", "--format", "json").json
    assert len(wrong) == 30
    sure = [row["confidence"] for row in wrong]
    assert sure == sorted(sure, reverse=True)
    assert {row["reviewers"].count(": ") for row in wrong} == {2}
    assert sum(row["accuracy"] for row in run("review", "show", "--format", "json").json[2:]) == (
        pytest.approx((270 + 5) / 300)
    )
    write("u.csv", answered(read("t.csv")[:1], reviewer="Ben"))
    assert "0 answers added, 1 changed, 0 known" in run("review", "import", "u.csv").out
    assert len(run("query", "reviews", "--format", "json").json) == 599
    table = run("review", "show", "--format", "table").out
    assert all(title in table for title in ("Accuracy by review", "Agreement", "call wrong"))
    page = run("report", "--format", "md").out
    assert "- reviewed accuracy: **0.9" in page
    assert run("store", "verify").code == 0
    # An export of the store brings them to another one.
    assert run("store", "export", "-o", "kept").code == 0
    assert run("--store", "other.duckdb", "store", "import", "kept").code == 0
    moved = run("--store", "other.duckdb", "review", "show", "--format", "json").json
    assert [row["accuracy"] for row in moved] == [
        row["accuracy"] for row in run("review", "show", "--format", "json").json
    ]


def read_again(file):
    """The rows of a file with semicolons."""
    with Path(file).open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream, delimiter=";"))


REFUSED = (
    ({"label": "good"}, 65, "has labels other than negative, neutral, positive: 'good'"),
    ({"key": "x"}, 65, "row 2 has a key that this store gave to no review"),
    ({"headline": "Nokia posts a loss"}, 65, "row 2 no longer has its headline"),
    ({"reviewer": ""}, 2, "no reviewer is named in row 2"),
)


def test_what_cannot_be_kept_is_one_line_and_nothing_is_kept(store, run):
    run("review", "export", "-o", "s.csv", "--rows", 5)
    for change, code, told in REFUSED:
        rows = answered(read("s.csv"), reviewer="Anna")
        rows[0] |= change
        write("t.csv", rows)
        done = run("review", "import", "t.csv")
        assert done.code == code
        assert told in done.err
        assert len(done.err.splitlines()) == 1
        assert run("review", "show", "--format", "json").json == []
    write("t.csv", answered(read("s.csv"), reviewer="Anna") + answered(read("s.csv"), {0}, "Anna"))
    done = run("review", "import", "t.csv")
    assert (done.code, "in row 2 and" in done.err) == (65, True)
    rows[0] |= {"label": "good", "reviewer": "Anna"}
    write("t.csv", rows)
    mapped = run("review", "import", "t.csv", "--label-map", "good=positive")
    assert "5 answers added" in mapped.out
    gone = run("--store", "none.duckdb", "review", "import", "s.csv")
    assert gone.code == 66
    for options, code in (
        (("--model", "x"), 2), (("--run", "x"), 2), (("--since", "2015-01-01"), 66)
    ):  # fmt: skip
        done = run("review", "export", "-o", "x.csv", *options)
        assert (done.code, len(done.err.splitlines())) == (code, 1)


def test_a_weighted_sample_tells_the_accuracy_of_all():
    """Over many draws the estimate is right on average, and its interval covers as it should."""
    draw = np.random.default_rng(0)
    sure = draw.uniform(0.4, 1, 4000)
    right = draw.uniform(size=4000) < sure
    chance = np.sqrt(np.minimum(sure, 0.95) * (1 - np.minimum(sure, 0.95)))
    chance *= 200 / chance.sum()
    found = []
    for _ in range(400):
        taken = draw.uniform(size=4000) < chance
        found.append(weighted_share(right[taken].astype(float), 1 / chance[taken]))
    assert np.mean([s.share for s in found]) == pytest.approx(right.mean(), abs=0.005)
    assert np.mean([s.low <= right.mean() <= s.high for s in found]) >= 0.93
    assert weighted_share(np.ones(5), np.ones(5)).low == pytest.approx(wilson(1, 5)[0])
    for rows in range(1, 60):
        assert wilson(1, rows)[1] == 1
        assert wilson(0, rows)[0] == 0


def test_reviews_are_data_to_train_on(store, run, tmp_path):
    run("review", "export", "-o", "s.csv", "--rows", 300)
    rows = answered(read("s.csv"), reviewer="Anna")
    for i, row in enumerate(rows):
        row["label"] = LABELS[i % 3]
    write("s.csv", rows)
    run("review", "import", "s.csv")
    # Ben disagrees on ten: nobody knows what they are.
    write("t.csv", answered(read("s.csv")[:10], reviewer="Ben"))
    for row, other in zip(doubted := read("t.csv"), rows, strict=False):
        row["label"] = LABELS[(LABELS.index(other["label"]) + 1) % 3]
    write("t.csv", doubted)
    run("review", "import", "t.csv")
    folder = tmp_path / "split"
    run("query", "reviews", "-o", "answers.parquet")
    assert run("prepare", "answers.parquet", "-o", folder).code == 0
    with data_folders((Path(f"review:{tmp_path / 'finsent.duckdb'}"),)) as folders:
        data = load_splits(folders)
        notes = split_notes(folders[0])
    assert notes["folder"] == "review"
    assert notes["rows"] == {"train": 245, "valid": 15, "test": 29}
    labels = {plain(row): row["label"] for row in rows}
    for frame in data.splits.values():
        assert all(labels[headline] == label for headline, label, *_ in frame.rows())
    assert not {plain(row) for row in doubted} & {
        h for f in data.splits.values() for h in f["headline"]
    }
    done = run("train", "--data", "review:none.duckdb", "-o", "model")
    assert (done.code, Path("model").exists()) == (66, False)
