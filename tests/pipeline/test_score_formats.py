"""`score` end to end: whatever the format, the same labels, and every original value kept."""

import duckdb
import polars as pl
import pytest

from finsent_batch.io.result_columns import RESULT_SCHEMA

ADDED = RESULT_SCHEMA.names


@pytest.fixture
def inputs(headlines, tmp_path):
    """The twelve rows in every input format."""
    flat = headlines.drop("tags")
    headlines.write_parquet(tmp_path / "p.parquet")
    flat.write_csv(tmp_path / "c.csv", quote_style="non_numeric")
    flat.write_csv(tmp_path / "z.csv.gz", quote_style="non_numeric", compression="gzip")
    with duckdb.connect(str(tmp_path / "d.duckdb")) as connection:
        connection.execute("CREATE TABLE news AS FROM headlines")
    return {
        "parquet": ["p.parquet"],
        "csv": ["c.csv"],
        "csv.gz": ["z.csv.gz"],
        "duckdb": ["d.duckdb", "--table", "news"],
    }


def table(file, name, columns="*"):
    with duckdb.connect(str(file), read_only=True) as connection:
        return connection.sql(f'SELECT {columns} FROM "{name}"').pl()


def read(file, name=None):
    if file.suffix == ".duckdb":
        return table(file, name)
    return pl.read_parquet(file) if file.suffix == ".parquet" else pl.read_csv(file)


@pytest.mark.parametrize("kind", ["parquet", "csv", "csv.gz", "duckdb"])
def test_every_input_and_output_format_gives_the_same_labels(score, inputs, kind, tmp_path):
    score("p.parquet", "-o", "reference.parquet")
    results = ["sentiment", "score_status", "p_negative", "p_neutral", "p_positive"]
    reference = pl.read_parquet(tmp_path / "reference.parquet").select(results)
    for suffix in ("parquet", "csv", "duckdb"):
        file = tmp_path / f"out.{suffix}"
        summary = score(*inputs[kind], "-o", file)
        assert summary["rows"] == {
            "read": 12, "scored": 10, "reused": 10, "duplicate": 2, "truncated": 0,
            "empty": 2, "invalid": 0, "unique_scored": 0,
        }  # fmt: skip
        stem = inputs[kind][-1].split(".")[0]
        found = read(file, f"{stem}_scored")
        assert found.columns[-len(ADDED) :] == ADDED
        assert found["id"].cast(int).to_list() == list(range(12))
        same = found.select(pl.col(results[:2]), pl.col(results[2:]).cast(pl.Float32))
        assert same.equals(reference)


def test_the_added_columns_have_the_types_of_the_contract(score, inputs, tmp_path):
    score("p.parquet")
    frame = pl.read_parquet(tmp_path / "p.scored.parquet")
    types = [pl.String] + [pl.Float32] * 4 + [pl.String] * 3 + [pl.Datetime("us")]
    assert list(zip(frame.columns[4:], frame.dtypes[4:], strict=True)) == list(
        zip(ADDED, types, strict=True)
    )
    score(*inputs["duckdb"])
    with duckdb.connect(str(tmp_path / "d.duckdb")) as connection:
        found = connection.execute("DESCRIBE news_scored").fetchall()[4:]
    kinds = ["VARCHAR"] + ["FLOAT"] * 4 + ["VARCHAR"] * 3 + ["TIMESTAMP"]
    assert [row[:2] for row in found] == list(zip(ADDED, kinds, strict=True))


def test_scores_and_statuses_hang_together(score, inputs, tmp_path):
    score("p.parquet")
    frame = pl.read_parquet(tmp_path / "p.scored.parquet")
    labelled = frame.filter(pl.col("score_status") == "scored")
    probabilities = labelled.select("p_negative", "p_neutral", "p_positive").to_numpy()
    assert abs(probabilities.sum(axis=1) - 1).max() < 1e-5
    words = ["negative", "neutral", "positive"]
    assert labelled["sentiment"].to_list() == [words[i] for i in probabilities.argmax(axis=1)]
    difference = labelled["p_positive"] - labelled["p_negative"]
    assert (difference - labelled["sentiment_score"]).abs().max() < 1e-6
    empty = frame.filter(pl.col("headline").fill_null("").str.strip_chars() == "")
    assert empty["score_status"].to_list() == ["empty", "empty"]
    assert empty.select(set(ADDED) - {"score_status"}).null_count().row(0) == (2,) * 8


def test_a_table_goes_to_a_table_beside_it_by_default(score, inputs, tmp_path):
    summary = score(*inputs["duckdb"])
    assert summary["outputs"] == [f"{tmp_path}/d.duckdb::news_scored"]
    assert table(tmp_path / "d.duckdb", "news_scored", "id, headline, price, tags").equals(
        table(tmp_path / "d.duckdb", "news")
    )
    again = score(*inputs["duckdb"])
    assert again["rows"]["reused"] == 10


def test_a_table_keeps_every_type_on_its_way_to_a_table(score, tmp_path):
    with duckdb.connect(str(tmp_path / "d.duckdb")) as connection:
        connection.execute("""
            CREATE TYPE mood AS ENUM ('it''s', 'so "so"');
            CREATE TABLE kinds AS SELECT 'Oil falls ' || i AS headline,
                ['it''s', 'so "so"'][1 + i % 2]::mood AS e, uuid() AS u, ['so "so"'::mood] AS le,
                i * 85070591730234615865843651857942052863::HUGEINT AS h, 7::UHUGEINT AS uh,
                INTERVAL 3 MONTH + INTERVAL (i) DAY AS iv, '10:00:00+02'::TIMETZ AS ttz,
                TIMESTAMPTZ '2024-01-01 00:00:00+05' AS tz, DATE '2024-02-29' AS d,
                TIMESTAMP_NS '2024-01-01 00:00:00.123456789' AS ns, TIME '10:00:00.5' AS t,
                '2024-01-01'::TIMESTAMP_S AS s, '2024-01-01'::TIMESTAMP_MS AS ms, true AS b,
                1.25::DECIMAL(9, 2) AS dc, '101'::BIT AS bits, '\\xAA'::BLOB AS bl, NULL AS nl,
                [1, NULL] AS l, [1, 2, 3]::INTEGER[3] AS arr, {'x': 1, 'y': ['z']} AS st,
                MAP {'k': i} AS m, '{"a": 1}'::JSON AS j, 255::UTINYINT AS ut,
                union_value(num := i)::UNION(num BIGINT, s VARCHAR) AS un,
                {'e': 'so "so"'::mood, 'u': uuid()} AS nested
            FROM range(3) r(i)""")
    score("d.duckdb", "--table", "kinds")
    with duckdb.connect(str(tmp_path / "d.duckdb")) as connection:
        before = connection.execute("DESCRIBE kinds").fetchall()
        after = connection.execute("DESCRIBE kinds_scored").fetchall()
        assert [row[:2] for row in after[: len(before)]] == [row[:2] for row in before]
        rows = "SELECT {}::VARCHAR FROM {} ORDER BY rowid"
        for name, *_ in before:
            original = connection.execute(rows.format(name, "kinds")).fetchall()
            assert connection.execute(rows.format(name, "kinds_scored")).fetchall() == original


def test_a_folder_gives_a_file_for_each_of_its_files(score, headlines, tmp_path):
    (tmp_path / "in" / "deep").mkdir(parents=True)
    headlines.write_parquet(tmp_path / "in" / "a.parquet")
    headlines.drop("tags").write_csv(tmp_path / "in" / "deep" / "b.csv")
    headlines.write_parquet(tmp_path / "in" / "_hidden.parquet")
    (tmp_path / "in" / "notes.txt").write_text("no data")
    summary = score("in", "-o", "out")
    assert (summary["rows"]["read"], summary["rows"]["unique_scored"]) == (24, 8)
    outputs = [f"{tmp_path}/out/a.scored.parquet", f"{tmp_path}/out/deep/b.scored.parquet"]
    assert summary["outputs"] == outputs
    assert pl.read_parquet(outputs[0])["sentiment"].to_list() == (
        pl.read_parquet(outputs[1])["sentiment"].to_list()
    )


def test_a_glob_writes_beside_its_files_and_takes_no_output_for_input(score, headlines, tmp_path):
    for name in ("a", "b", "c"):
        headlines.head(3).write_parquet(tmp_path / f"{name}.parquet")
    for _ in range(2):
        summary = score("[ab].parquet")
        names = [output.rsplit("/", 1)[1] for output in summary["outputs"]]
        assert names == ["a.scored.parquet", "b.scored.parquet"]
    assert score("*.parquet")["rows"]["read"] == 9


def test_many_files_into_one_duckdb_file(score, headlines, tmp_path):
    for name in ("a", "b"):
        headlines.write_parquet(tmp_path / f"{name}.parquet")
    score("[ab].parquet", "-o", "all.duckdb")
    for name in ("a_scored", "b_scored"):
        assert table(tmp_path / "all.duckdb", name)["id"].to_list() == list(range(12))


def test_an_existing_folder_as_output(score, inputs, tmp_path):
    (tmp_path / "out").mkdir()
    score("c.csv", "-o", "out")
    assert (tmp_path / "out" / "c.scored.parquet").exists()


@pytest.mark.parametrize("limit", [0, 1, 5, 99])
def test_a_limit_takes_the_first_rows_of_each_file(score, inputs, limit, tmp_path):
    for kind in ("parquet", "csv", "duckdb"):
        summary = score(*inputs[kind], "--limit", limit, "-o", "out.parquet", "--overwrite")
        assert summary["rows"]["read"] == min(limit, 12)
        frame = pl.read_parquet(tmp_path / "out.parquet")
        assert frame["id"].cast(int).to_list() == list(range(min(limit, 12)))


def test_replacing_columns_scores_a_scored_file_again(score, inputs, tmp_path):
    score("p.parquet")
    first = pl.read_parquet(tmp_path / "p.scored.parquet")
    changed = first.rename({"sentiment": "Sentiment"}).with_columns(sentiment_score=pl.lit("x"))
    changed.select(changed.columns[::-1]).write_parquet(tmp_path / "again.parquet")
    score("again.parquet", "--replace-columns", "-o", "new.parquet")
    second = pl.read_parquet(tmp_path / "new.parquet")
    assert second.columns == ["tags", "price", "headline", "id", *ADDED]
    assert second.select(ADDED).equals(first.select(ADDED))


def test_a_suffix_in_capitals_is_that_suffix(score, inputs, tmp_path):
    for old, new in (("c.csv", "C.CSV"), ("z.csv.gz", "Z.CSV.Gz"), ("p.parquet", "P.Parquet")):
        (tmp_path / old).rename(tmp_path / new)
        assert score(new)["rows"]["read"] == 12
        assert pl.read_parquet(tmp_path / f"{new.split('.')[0]}.scored.parquet").height == 12
    (tmp_path / "d.duckdb").rename(tmp_path / "D.DUCKDB")
    score("D.DUCKDB", "--table", "news", "-o", "OUT.CSV")
    assert pl.read_csv(tmp_path / "OUT.CSV").height == 12
    score("P.Parquet", "-o", "OUT.DuckDB")
    assert table(tmp_path / "OUT.DuckDB", "P_scored").height == 12
    (tmp_path / "in").mkdir()
    (tmp_path / "C.CSV").rename(tmp_path / "in" / "C.CSV")
    assert score("in")["outputs"] == [f"{tmp_path}/in.scored/C.scored.parquet"]


@pytest.mark.parametrize("here", [".", "../in", "deep/.."])
def test_the_folder_one_is_in_gets_an_output_beside_it(score, inputs, tmp_path, monkeypatch, here):
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "p.parquet").rename(tmp_path / "in" / "p.parquet")
    monkeypatch.chdir(tmp_path / "in")
    score(here)
    assert (tmp_path / "in.scored" / "p.scored.parquet").exists()
