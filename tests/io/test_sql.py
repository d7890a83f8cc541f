"""Quoting that holds for any text, and the packaged SQL files."""

import re

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from finsent_batch.errors import UsageError
from finsent_batch.io.sql import quote_identifier, quote_literal
from finsent_batch.queries.catalog import load_query, query_names

# Text as users can type it or a file can hold it: SQL text holds no NUL and no lone surrogate.
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"))
hostile = st.sampled_from(
    ["'", '"', "''", '""', "'; DROP TABLE t; --", '"; DROP TABLE t; --', "\\'", "/*", "$1", "?"]
)


@pytest.fixture(scope="module")
def connection():
    with duckdb.connect(":memory:") as connection:
        yield connection


@given(texts | hostile)
def test_a_quoted_literal_comes_back_as_it_was(connection, text):
    assert connection.execute(f"SELECT {quote_literal(text)}").fetchall() == [(text,)]


@given((texts | hostile).filter(bool))
def test_a_quoted_identifier_names_one_column(connection, name):
    column = quote_identifier(name)
    connection.execute(f"CREATE OR REPLACE TEMP TABLE t ({column} INTEGER)")
    connection.execute(f"INSERT INTO t ({column}) VALUES (7)")
    result = connection.execute(f"SELECT {column} FROM t")
    assert [described[0] for described in result.description] == [name]
    assert result.fetchall() == [(7,)]


def test_quoting_doubles_quotes():
    assert quote_identifier('a"b') == '"a""b"'
    assert quote_literal("a'b") == "'a''b'"


def test_query_names_are_those_of_the_sql_folder():
    names = query_names()
    assert names == sorted(names)
    assert {"daily_sentiment", "label_mix", "low_confidence", "run_history"} <= set(names)


@pytest.mark.parametrize("name", query_names())
def test_every_query_file_is_complete(name):
    query = load_query(name)
    assert query.name == name
    assert query.summary[0].isupper()
    assert not query.summary.endswith(".")
    assert re.search(r"^-- columns: ", query.text, re.MULTILINE)
    assert len(query.text.splitlines()) <= 100


@pytest.mark.parametrize("name", query_names())
def test_a_query_declares_exactly_the_parameters_it_reads(name):
    query = load_query(name)
    assert {p.name for p in query.parameters} == set(
        re.findall(r"getvariable\('(\w+)'\)", query.text)
    )
    for parameter in query.parameters:
        assert parameter.required or "default" in parameter.description
        assert parameter.type in ("DATE", "DOUBLE", "INTEGER", "VARCHAR")


def test_queries_about_news_are_told_from_those_about_the_store():
    about_news = {name for name in query_names() if load_query(name).reads("scored_headlines")}
    assert {"daily_sentiment", "label_mix", "most_negative"} <= about_news
    assert not about_news & {"low_confidence", "quarantine", "run_history", "confusion"}


@pytest.mark.parametrize("name", ["zzz", "../store", ""])
def test_an_unknown_query_is_a_usage_error_that_lists_the_known(name):
    with pytest.raises(UsageError, match=r"no query named .*; there are: accuracy_by_class, "):
        load_query(name)


@pytest.mark.parametrize("name", ["label_mix.sql", "Label_Mix", "lable_mix", "_label_mix"])
def test_an_almost_known_query_is_a_usage_error_that_names_the_nearest(name):
    with pytest.raises(UsageError, match=r"no query named .*; did you mean label_mix"):
        load_query(name)


def test_a_header_is_the_comment_at_the_top():
    header = load_query("daily_sentiment").header.splitlines()
    assert header[0] == "Mean sentiment, label shares and count of published headlines by day"
    assert header[1].startswith("columns: day, headlines, ")
    assert header[-1] == "param until DATE: last day, default all"
