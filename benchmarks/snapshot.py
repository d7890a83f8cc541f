"""What it costs to publish the snapshot of a store: wall and CPU seconds by number of scores.

    python benchmarks/snapshot.py --scores 40000 1000000 10000000

Headlines and probabilities are made up. `publish` is what every writing command does at its
end: checkpoint, copy, force to disk, rename. `COPY FROM DATABASE` is DuckDB's own way to the same
file, not forced to disk.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from report import emit

from finsent_batch.config import StoreConfig
from finsent_batch.store.connection import STORE_CATALOG
from finsent_batch.store.store import Store


def fill(store: Store, scores: int) -> None:
    """Insert made-up scores, in the nights of 40,000 in which they would come."""
    store.connection.execute(
        """INSERT INTO scores SELECT uuid(), repeat('a', 32),
            concat('Company ', i % 5000, ' says event ', i, ' moves its outlook'),
            random(), random(), random(), false, concat('run ', i // 40000), now()
        FROM range(?) t(i)""",
        [scores],
    )
    store.connection.execute(f"CHECKPOINT {STORE_CATALOG}")


def timed(do: Callable[[], object]) -> tuple[float, float]:
    """Return wall and CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    do()
    return round(time.perf_counter() - wall, 3), round(time.process_time() - cpu, 3)


def duckdb_copy(store: Store, file: Path) -> None:
    """Copy the store as DuckDB does."""
    store.connection.execute(f"ATTACH '{file}' AS copied (TYPE duckdb)")
    store.connection.execute(f"COPY FROM DATABASE {STORE_CATALOG} TO copied")
    store.connection.execute("DETACH copied")


def measure(folder: Path, scores: int) -> list[object]:
    """Return a row of the table."""
    config = StoreConfig(path=folder / "store.duckdb", memory_limit="2GB")
    with Store.open(config) as store:
        fill(store, scores)
        session = store.session
        assert session is not None
        best = min(timed(lambda: session.publish(store.file)) for _ in range(3))
        other = timed(lambda: duckdb_copy(store, folder / "copy.duckdb"))
    return [f"{scores:,}", round(config.path.stat().st_size / 1e6, 1), *best, *other]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scores", type=int, nargs="+", default=[40_000, 1_000_000])
    arguments = parser.parse_args()
    rows = []
    for scores in arguments.scores:
        with tempfile.TemporaryDirectory() as folder:
            rows.append(measure(Path(folder), scores))
    columns = ["scores", "MB", "publish s", "CPU s", "COPY FROM DATABASE s", "CPU s"]
    emit("snapshot", columns, rows)


if __name__ == "__main__":
    main()
