"""SQL that somebody keeps in the store: what would act within ours is refused."""

import re

import duckdb
import pytest

MACROS = (
    "sha256(x) AS 'same'",
    "read_parquet(x) AS TABLE SELECT 1 AS a",
    '"||"(a, b) AS a',
    "duckdb_functions() AS TABLE SELECT 1 AS a WHERE false",
    "bool_or(a) AS false",
    "count_star() AS 7",
)


@pytest.mark.parametrize("macro", MACROS)
@pytest.mark.parametrize(
    "command", ["score feed.parquet", "query label_mix", "store verify", "runs", "store compact"]
)
def test_a_macro_that_hides_a_function_is_refused(score, run, feed, tmp_path, macro, command):
    score("feed.parquet")
    with duckdb.connect(str(tmp_path / "finsent.duckdb")) as store:
        store.execute(f"CREATE MACRO {macro}")
    done = run(*command.split())
    assert done.code == 78, done.err
    assert done.err.count("\n") == 1
    advice = re.search(r"DROP MACRO \S+", done.err)
    assert advice is not None
    with duckdb.connect(str(tmp_path / "finsent.duckdb")) as store:
        store.execute(advice[0])
    assert run("store", "verify").code == 0


def test_a_trigger_is_refused(score, run, feed, tmp_path):
    score("feed.parquet")
    with duckdb.connect(str(tmp_path / "finsent.duckdb")) as store:
        store.execute(
            "CREATE TRIGGER planted AFTER INSERT ON runs FOR EACH STATEMENT "
            "UPDATE scores SET p_positive = 1"
        )
    done = run("store", "verify")
    assert done.code == 78
    advice = re.search(r"DROP TRIGGER \S+ ON \w+", done.err)
    assert advice is not None, done.err
    with duckdb.connect(str(tmp_path / "finsent.duckdb")) as store:
        store.execute(advice[0])
    assert run("store", "verify").code == 0


def test_a_macro_of_one_s_own_may_stay(score, run, feed, tmp_path):
    score("feed.parquet")
    with duckdb.connect(str(tmp_path / "finsent.duckdb")) as store:
        store.execute("CREATE MACRO strong(x) AS abs(x) > 0.9")
    assert run("query", "label_mix").code == 0
    assert score("feed.parquet")["rows"]["unique_scored"] == 0
