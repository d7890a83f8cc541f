# ruff: noqa: E501
"""Feeds as they really come: small inputs made anew from what people report in public trackers.

    python feeds.py FOLDER [CASE ...]      # writes FOLDER/CASE/...; no CASE: all of them

Each function writes one case's input into a folder. Its docstring says what to run there and what is
right. Needs pyarrow and duckdb. They are examples of kinds, not the whole of each kind.
"""

import datetime as dt
import gzip
import io
import sys
import zipfile
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

H = [
    "Nordkap lifts its guidance",
    "Helmsdale Bank swings to a loss",
    "Orvale Motors keeps its dividend",
    "Tarn Foods wins a supply contract",
    "Brixen Steel cuts 400 jobs",
    "Lumen Pharma meets expectations",
]


UTC = dt.UTC


def _csv(
    folder: Path, stamps: list[str], header: str = "id,headline,date", name: str = "n.csv"
) -> None:
    rows = [f'{i},{H[i % 6]},"{stamp}"' for i, stamp in enumerate(stamps)]
    (folder / name).write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")


def _parquet(file: Path, columns: dict, **how) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), file, **how)


def int96_sentinel(folder: Path) -> None:
    """score n.parquet -> `valid_to` and `published_at` of the output equal DuckDB's own reading:
    9999-12-31 and 1000-01-01 stay what they are (timestamp[us]); or the file is refused."""
    far = [dt.datetime(9999, 12, 31), dt.datetime(2014, 1, 6), dt.datetime(1000, 1, 1)]
    columns = {
        "headline": H[:3],
        "published_at": pa.array([dt.datetime(2014, 1, 6, 9, 30)] * 3, pa.timestamp("us")),
        "valid_to": pa.array(far, pa.timestamp("us")),
    }
    _parquet(
        folder / "n.parquet", columns, use_deprecated_int96_timestamps=True, store_schema=False
    )


def folder_named_like_label(folder: Path) -> None:
    """score train; query label_mix -> the labels that are in the files (per file: the model's),
    not those of the folders; `--sql 'SELECT sentiment, sentiment_score …'` never disagrees."""
    for label, heads in {"positive": H[:3], "negative": H[3:]}.items():
        columns = {"headline": heads, "published_at": ["2014-01-06"] * 3}
        _parquet(folder / "train" / f"sentiment={label}" / "0.parquet", columns)


def folder_named_like_date(folder: Path) -> None:
    """score 'date=2014-02-01/n.parquet'; query daily_sentiment -> 2014-01-06, -07, -08 with one
    headline each: what the column `date` holds, not the day of delivery in the folder's name."""
    days = pa.array([dt.datetime(2014, 1, day, 9) for day in (6, 7, 8)], pa.timestamp("us"))
    _parquet(folder / "date=2014-02-01" / "n.parquet", {"headline": H[:3], "date": days})


def hive_feed(folder: Path) -> None:
    """score feed -o all.duckdb --output-table h --append; query daily_sentiment -> 2014-01-06: 3,
    2014-01-07: 3 (the partition column kept), or a refusal that says it would be lost."""
    for day, heads in {"2014-01-06": H[:3], "2014-01-07": H[3:]}.items():
        _parquet(folder / "feed" / f"date={day}" / "part-0.parquet", {"headline": heads})
    (folder / "feed" / "_SUCCESS").touch()


def capital_date(folder: Path) -> None:
    """score n.csv; query daily_sentiment -> 2014-01-06: 2, 2014-01-07: 1 (as sql/_scored_parquet.sql
    gives in the shell), or an error that names `Date`; never the day of scoring without a word."""
    _csv(
        folder,
        ["2014-01-06 09:30:00", "2014-01-06 11:30:00", "2014-01-07 08:00:00"],
        "id,headline,Date",
    )


def other_text_column(folder: Path) -> None:
    """score n.csv --text-column Headlines; query most_negative -> the headlines' text, not blanks:
    the run knows which column it scored."""
    _csv(folder, [f"2014-01-06 0{i}:00:00 UTC" for i in range(6)], "id,Headlines,date")


def est_and_edt(folder: Path) -> None:
    """score n.csv; query daily_sentiment -> 2014-01-07: 1, 2014-01-08: 1, 2014-07-01: 2, or a word on
    the two rows that are left out."""
    _csv(
        folder,
        [
            "2014-01-06 21:30:00 EST",
            "2014-01-08 09:00:00 EST",
            "2014-07-01 09:00:00 EDT",
            "2014-07-01 10:00:00 EDT",
        ],
    )


def british_summer_time(folder: Path) -> None:
    """score n.csv; query daily_sentiment -> 2014-07-01: 3 (03:30 BST is 02:30 UTC), or an error that
    says BST is ambiguous; never 2014-06-30 (BST as Bangladesh)."""
    _csv(folder, ["2014-07-01 03:30:00 BST", "2014-07-01 04:30:00 BST", "2014-07-01 12:00:00 BST"])


def two_digit_years(folder: Path) -> None:
    """score n.csv; query daily_sentiment -> 2014-01-06: 2, 2014-01-07: 1, 2013-12-31: 1, or an error
    that asks for the format; never days of the year 1 and three rows of four."""
    _csv(folder, ["1/6/14 9:30", "1/6/14 10:05", "1/7/14 8:00", "12/31/13 16:00"])


def mixed_formats(folder: Path) -> None:
    """score n.csv; query daily_sentiment -> six headlines in all, or how many were left out and why."""
    stamps = [
        "2014-01-06 09:30:00",
        "2014-01-06",
        "01/07/2014",
        "January 8, 2014",
        "2014-01-09T10:00:00Z",
        "2014-01-09 09:30:00 +0530",
    ]
    _csv(folder, stamps)


def delta_table(folder: Path) -> None:
    """score news -> 2 rows (what the log says is live), or a refusal that names _delta_log; not 5."""
    _parquet(
        folder / "news" / "part-00000-v0.parquet", {"headline": H[:3], "date": ["2014-01-06"] * 3}
    )
    _parquet(
        folder / "news" / "part-00001-v1.parquet", {"headline": H[1:3], "date": ["2014-01-06"] * 2}
    )
    log = folder / "news" / "_delta_log"
    log.mkdir()
    (log / f"{0:020}.json").write_text('{"add":{"path":"part-00000-v0.parquet"}}\n')
    (log / f"{1:020}.json").write_text(
        '{"remove":{"path":"part-00000-v0.parquet"}}\n{"add":{"path":"part-00001-v1.parquet"}}\n'
    )


def folder_of_many_suffixes(folder: Path) -> None:
    """score in -> a word (or an error) on b.pq, c.parq, d.tsv, e.csv.bz2, part-0001, which hold
    headlines and are left out; today five files of seven are missing with exit code 0."""
    for name in ("a.parquet", "b.pq", "c.parq", "part-0001"):
        _parquet(folder / "in" / name, {"headline": H[:2]})
    (folder / "in" / "d.tsv").write_text(f"headline\n{H[2]}\n")
    (folder / "in" / "e.csv.bz2").write_bytes(b"BZh")
    (folder / "in" / "f.csv").write_text(f"headline\n{H[3]}\n")


def backslash_quotes(folder: Path) -> None:
    r"""score n.csv -> headline 1 is `Tarn "wins" a contract` (Spark's and MySQL's dialect), or an
    error that names the dialect; never `Tarn \wins\" a contract"`. m.csv has a comma too: readable
    with an option, not only "set them aside"."""
    (folder / "n.csv").write_text(
        'id,headline,source\n1,"Tarn \\"wins\\" a contract",A\n2,Lumen up,B\n'
    )
    (folder / "m.csv").write_text(
        'id,headline,source\n1,"Tarn \\"wins\\", says boss",A\n2,Lumen up,B\n'
    )


def quoted_first_word(folder: Path) -> None:
    """score n.csv -> `"Nordkap" lifts its guidance` with its quotes, or an error; not without them."""
    (folder / "n.csv").write_text(
        'id,headline,source\n1,"Nordkap" lifts its guidance,A\n2,Lumen up,B\n'
    )


def cp1252_labels(folder: Path) -> None:
    """prepare n.csv -o split -> 65 'not utf-8, name its encoding' as score says of the same file;
    not exit 0 with U+FFFD in place of each quote and dash."""
    rows = [
        f"Tarn\u2019s \u201cplan\u201d \u2013 {H[i % 6]} case {i},{('positive', 'negative', 'neutral')[i % 3]}"
        for i in range(90)
    ]
    (folder / "n.csv").write_bytes(("headline,label\n" + "\n".join(rows) + "\n").encode("cp1252"))


def nanoseconds_in_utc(folder: Path) -> None:
    """score good.csv; score n.parquet; query daily_sentiment -> 2014-01-05: 6, 2014-01-06: 3; today 65
    for every query about news, good.csv's rows included, and in the shell."""
    _csv(
        folder,
        [f"2014-01-05T0{i}:00:00Z" for i in range(6)],
        "id,headline,published_at",
        "good.csv",
    )
    times = [dt.datetime(2014, 1, 6, hour, tzinfo=UTC) for hour in (2, 3, 12)]
    _parquet(
        folder / "n.parquet",
        {"headline": H[:3], "published_at": pa.array(times, pa.timestamp("ns", "UTC"))},
    )


def late_quote(folder: Path) -> None:
    """score n.parquet -o o.csv; query daily_sentiment -> 2014-01-06: 21001; today a traceback, as the
    first quoted field of our own CSV stands behind the 20,480 rows that are sniffed."""
    heads = [H[0]] * 21_000 + ["Tarn, Lumen rise"]
    _parquet(folder / "n.parquet", {"headline": heads, "date": ["2014-01-06"] * len(heads)})


def row_of_three_megabytes(folder: Path) -> None:
    """score n.parquet -o o.csv; query label_mix -> 2 rows; today 65 'CSV Error on Line: 1'."""
    _parquet(
        folder / "n.parquet",
        {"headline": H[:2], "body": ["x" * 3_000_000, "y"], "date": ["2014-01-06"] * 2},
    )


def feeds_of_two_date_columns(folder: Path) -> None:
    """score good.csv; score n.parquet; query daily_sentiment -> good.csv's day at least, with a note; today
    65 for all, and the remedy it names (--param date_column=…) is refused whatever is named."""
    _csv(
        folder,
        [f"2014-01-05T0{i}:00:00Z" for i in range(6)],
        "id,headline,published_at",
        "good.csv",
    )
    _parquet(
        folder / "n.parquet",
        {
            "text": H[:3],
            "date": [1388999999, 1389099999, 1389199999],
            "when": ["2014-01-06", "2014-01-07", "2014-01-08"],
        },
    )


def other_schema(folder: Path) -> None:
    """score news.duckdb --table feeds.headlines -> scored (dlt, SQLMesh and dbt write no tables into
    main); today 66 'it has: none'."""
    with duckdb.connect(str(folder / "news.duckdb")) as connection:
        connection.execute("CREATE SCHEMA feeds")
        connection.execute("CREATE TABLE feeds.headlines AS SELECT unnest($1) AS headline", [H])


def view_with_its_database(folder: Path) -> None:
    """score news.duckdb --table stg -> scored, as `duckdb news.duckdb 'FROM stg'` works. Views that
    DuckDB 1.x keeps (dbt-duckdb: "news"."main"."t") do the same; 2.0 drops that name itself."""
    with duckdb.connect(str(folder / "news.duckdb")) as connection:
        connection.execute("CREATE TABLE t AS SELECT unnest($1) AS headline", [H])
        connection.execute("CREATE VIEW stg AS FROM query_table('news.main.t')")


def text_without_annotation(folder: Path) -> None:
    """score n.parquet -> scored (UTF-8 in BYTE_ARRAY, as Impala and old Spark write), or a remedy that
    helps; today 65 'name the headline column with --text-column', which names this one."""
    _parquet(
        folder / "n.parquet",
        {"headline": pa.array([h.encode() for h in H], pa.binary())},
        store_schema=False,
    )


def zip_named_csv(folder: Path) -> None:
    """score n.csv -> 65 'is a ZIP archive: unpack it'; today 'not utf-8, try --encoding latin-1', and
    with latin-1 'set them aside with --max-bad-rows'. g.csv is gzip."""
    text = "id,headline\n" + "\n".join(f"{i},{H[i % 6]}" for i in range(60)) + "\n"
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("n.csv", text)
    (folder / "n.csv").write_bytes(packed.getvalue())
    (folder / "g.csv").write_bytes(gzip.compress(text.encode()))


def trailing_delimiter(folder: Path) -> None:
    """score n.csv -> 3 rows (an empty field behind the last name), or a remedy that keeps rows; today all
    rows are 'bad', the advice is --max-bad-rows 3, and that gives 0 rows with exit code 0."""
    (folder / "n.csv").write_text(
        "id,headline,source\n" + "".join(f"{i},{H[i]},A,\n" for i in range(3))
    )


CASES = {
    name: made
    for name, made in list(globals().items())
    if getattr(made, "__module__", "") == __name__ and not name.startswith("_")
}


def main(arguments: list[str]) -> None:
    root = Path(arguments[0])
    for name in arguments[1:] or CASES:
        (root / name).mkdir(parents=True, exist_ok=True)
        CASES[name](root / name)


if __name__ == "__main__":
    main(sys.argv[1:])
