"""SQL functions over headlines that are already scored, and a store's scores read for them.

    python benchmarks/sql_functions.py --rows 1000000

The store is filled with made-up probabilities under mini's fingerprint: no model is loaded, and
a query that needed one would fail. Beside each query the same one over a table that holds the
scores already, which is what no function can beat. CPU time is that of all threads.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import duckdb
from report import emit

import finsent_batch as fb
from finsent_batch.config import ModelConfig, StoreConfig
from finsent_batch.headlines import key_sql
from finsent_batch.models.directory import open_configured
from finsent_batch.models.weight_files import FileHashes
from finsent_batch.store.store import Store

TEXT = "concat('Company ', i % 5000, ' says event ', i, ' moves its outlook')"


def fill(path: Path, rows: int) -> None:
    """Make a store in which mini has scored all headlines."""
    config = ModelConfig(model="mini")
    fingerprint = open_configured(config).resolve(config, FileHashes()).fingerprint
    with Store.open(StoreConfig(path=path, memory_limit="4GB")) as store:
        store.connection.execute(
            f"""INSERT INTO scores SELECT {key_sql(TEXT)}, $1, NULL, 0.1, 0.2, 0.7, false, 'run',
                TIMESTAMP '2013-01-01' FROM range({rows}) AS r (i)""",
            [fingerprint],
        )


def timed(work: Callable[[], object], rounds: int) -> tuple[float, float]:
    """Return the median wall and CPU seconds of some work."""
    walls, cpus = [], []
    for _ in range(rounds):
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    return statistics.median(walls), statistics.median(cpus)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    table = []
    with tempfile.TemporaryDirectory() as folder, duckdb.connect() as connection:
        path = Path(folder) / "store.duckdb"
        fill(path, given.rows)
        connection.execute(f"""CREATE TABLE news AS SELECT {TEXT} AS headline, i % 40 AS source,
            0.6::FLOAT AS sentiment_score, 'positive' AS sentiment
            FROM range({given.rows}) AS r (i)""")
        seconds = timed(lambda: fb.register(connection, store=path), given.rounds)
        table.append(["register", *seconds, None])
        for name, select, group in (
            ("mean score by source", "avg({})", "sentiment_score"),
            ("headlines by label", "count(*) FILTER ({} = 'positive')", "sentiment"),
        ):
            sql = f"SELECT source, {select} FROM news GROUP BY source"
            ours, column = (
                timed(partial(connection.execute, sql.format(value)), given.rounds)
                for value in (f"{group}(headline)", group)
            )
            table.append([name, *ours, column[0]])
    columns = ["work", "seconds", "CPU seconds", "seconds with a column"]
    emit("sql_functions", columns, table, headlines=given.rows)


if __name__ == "__main__":
    main()
