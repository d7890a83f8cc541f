"""Every packaged query over a store of one million scored headlines, published as a year of nights.

    python benchmarks/query_latency.py

Headlines and probabilities are made up. A second model has scored a quarter of the
headlines; ten thousand predictions stand for an evaluation. Each time is that of
`run_query`: the store opened, the views made, the rows fetched; `--command` times
the whole command as a process of its own instead. CPU time is that of both cores
together, and says what a busy machine hides.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from report import emit

from finsent_batch.config import StoreConfig
from finsent_batch.labels import SENTIMENT_SQL
from finsent_batch.queries.catalog import query_names
from finsent_batch.queries.run import run_query, run_sql
from finsent_batch.store.store import Store
from finsent_batch.store.views import refresh_views

NEEDED = {"sentiment_by": [("by_column", "source")]}
OWN = """
SELECT source, CAST(news_time AS DATE), avg(sentiment_score) FROM scored_headlines
GROUP BY ALL ORDER BY ALL"""
MODELS = ("a" * 32, "b" * 32)


def fill(folder: Path, headlines: int, nights: int) -> StoreConfig:
    """Make the store, its published files and its predictions."""
    config = StoreConfig(path=folder / "store.duckdb", memory_limit="4GB")
    with Store.open(config) as store:
        connection = store.connection
        connection.execute("SELECT setseed(0.5)")
        connection.execute(f"""
            CREATE TABLE plan.news AS
            SELECT *, {SENTIMENT_SQL} AS sentiment FROM (
                SELECT *, (1 - p_negative) * u AS p_neutral, (1 - p_negative) * (1 - u)
                    AS p_positive
                FROM (SELECT i, uuid() AS headline_key, random() AS p_negative, random() AS u,
                    concat('Company ', i % 5000, ' says event ', i, ' moves its outlook')
                        AS headline
                    FROM range({headlines}) t(i)))""")
        _fill_store(store, headlines, nights)
        for night in range(nights):
            _publish(store, folder, night, nights)
        _evaluate(store, folder)
        refresh_views(store)
    return config


def _fill_store(store: Store, headlines: int, nights: int) -> None:
    for fingerprint, share, name in zip(MODELS, (1, 4), ("mini", "other"), strict=True):
        store.insert("models", {"model_fingerprint": fingerprint, "model": name})
        store.connection.execute(
            f"""INSERT INTO scores SELECT headline_key, $1, headline,
                {
                "p_negative, p_neutral, p_positive"
                if share == 1
                else "p_neutral, p_negative, p_positive"
            }, false, 'run', TIMESTAMP '2013-01-01'
            FROM plan.news WHERE i % {share} = 0""",
            [fingerprint],
        )
    store.connection.execute(f"""
        INSERT INTO runs (run_id, status, started_at, input, model, model_fingerprint, rows_read,
            unique_scored, rows_reused, seconds, headlines_per_second)
        SELECT 'run ' || i, 'done', TIMESTAMP '2013-01-01' + INTERVAL (i) DAY, 'night ' || i,
            'mini', '{MODELS[0]}', {headlines // nights}, {headlines // nights}, 0, 4, 700
        FROM range({nights}) t(i)""")
    store.connection.execute("""
        INSERT INTO quarantine SELECT 'run', 'night', i, NULL, 'not UTF-8', NULL,
            TIMESTAMP '2013-01-01' FROM range(1000) t(i)""")


def _publish(store: Store, folder: Path, night: int, nights: int) -> None:
    file = folder / f"night{night:03}.scored.parquet"
    store.connection.execute(f"""
        COPY (SELECT TIMESTAMP '2013-01-01' + INTERVAL ({night}) DAY AS published_at,
            'source ' || i % 40 AS source, headline, sentiment,
            CAST(p_positive - p_negative AS FLOAT) AS sentiment_score,
            CAST(p_negative AS FLOAT) AS p_negative, CAST(p_neutral AS FLOAT) AS p_neutral,
            CAST(p_positive AS FLOAT) AS p_positive, 'scored' AS score_status,
            '{MODELS[0]}' AS model_fingerprint, 'run {night}' AS run_id,
            TIMESTAMP '2013-01-01' AS scored_at
            FROM plan.news WHERE i % {nights} = {night}) TO '{file}'""")
    row = {"run_id": f"run {night}", "input": f"night {night}", "output": str(file)}
    store.connection.execute(
        "INSERT INTO run_files VALUES ($1, $2, NULL, $3, NULL, 0, TIMESTAMP '2013-01-01')",
        list(row.values()),
    )


def _evaluate(store: Store, folder: Path) -> None:
    file = folder / "predictions.parquet"
    store.connection.execute(f"""
        COPY (SELECT headline, sentiment, CASE WHEN i % 5 = 0 THEN 'neutral' ELSE sentiment END
            AS label, p_negative, p_neutral, p_positive FROM plan.news LIMIT 10000) TO '{file}'""")
    store.connection.execute(
        """INSERT INTO evaluations (evaluated_at, model, model_fingerprint, data, metrics)
        VALUES (TIMESTAMP '2013-01-01', 'mini', $1, 'test.parquet', $2)""",
        [MODELS[0], f'{{"predictions": "{file}"}}'],
    )


def seconds(work: Callable[[], object], rounds: int) -> list[tuple[float, float]]:
    """Return wall and CPU times of several rounds after one that warms the file cache."""
    work()
    found = []
    for _ in range(rounds):
        begun, used = time.perf_counter(), cpu_seconds()
        work()
        found.append((time.perf_counter() - begun, cpu_seconds() - used))
    return found


def cpu_seconds() -> float:
    """Return what this process, its threads and its children have used."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def timed(name: str, config: StoreConfig, *, as_command: bool) -> Callable[[], object]:
    """Return the work of one query, in this process or as the command users type."""
    needed = NEEDED.get(name, [])
    if not as_command:
        if name == "--sql":
            return partial(run_sql, OWN, config)
        return partial(run_query, name, config, parameters=needed)
    words = [OWN] if name == "--sql" else [f"--param={k}={v}" for k, v in needed]
    program = str(Path(sys.executable).parent / "finsent-batch")
    line = [program, "--store", str(config.path), "query", name, *words]
    return partial(subprocess.run, line, check=True, capture_output=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--headlines", type=int, default=1_000_000)
    parser.add_argument("--nights", type=int, default=365)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--command", action="store_true")
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        filled = fill(Path(scratch), arguments.headlines, arguments.nights)
        config = StoreConfig(path=filled.path)
        for name in [*query_names(), "--sql"]:
            work = timed(name, config, as_command=arguments.command)
            found = seconds(work, arguments.rounds)
            wall, cpu = zip(*found, strict=True)
            medians = [statistics.median(times) * 1000 for times in (wall, cpu)]
            rows.append([name, medians[0], max(wall) * 1000, medians[1]])
    emit(
        "query_latency" + ("_command" if arguments.command else ""),
        ["query", "median ms", "worst ms", "CPU ms"],
        rows,
        headlines=arguments.headlines,
        files=arguments.nights,
        rounds=arguments.rounds,
    )


if __name__ == "__main__":
    main()
