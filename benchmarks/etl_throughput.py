"""Plan and publish alone: a year of headlines, every score already in the store.

    python benchmarks/etl_throughput.py ../shared/data
    python benchmarks/etl_throughput.py ../shared/data --rows 10000000 --rounds 1

With `--rows` the year is repeated to that many rows, from the second time on with
headlines of its own each time. A first run plans the file and fills the store with
made-up scores (no model is loaded, in either run); then the command is timed as a
process of its own.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from report import emit

from finsent_batch.config import ModelConfig, ScoreConfig, StoreConfig
from finsent_batch.io.columns import choose_text_column
from finsent_batch.io.parquet import ParquetSource
from finsent_batch.pipeline.plan import make_plan
from finsent_batch.pipeline.score import open_run
from finsent_batch.progress import StopRequest, no_progress


def repeated(year: Path, rows: int, file: Path) -> Path:
    """Write the year again and again, from the second time on with its headlines varied."""
    table = pq.read_table(year)
    with pq.ParquetWriter(file, table.schema, compression="zstd") as writer:
        for i in range(-(-rows // table.num_rows)):
            part = table.slice(0, min(table.num_rows, rows - i * table.num_rows))
            if i:
                at = part.schema.get_field_index("headline")
                kind = part.schema.field(at).type
                number, space = pa.scalar(str(i), kind), pa.scalar(" ", kind)
                varied = pc.binary_join_element_wise(part["headline"], number, space)
                part = part.set_column(at, part.schema.field(at), varied)
            writer.write_table(part, row_group_size=122_880)
    return file


def fill(file: Path, store: Path, model: str) -> None:
    """Give every headline of the file a score, computed by nobody."""
    config = ScoreConfig(
        input=str(file),
        model=ModelConfig(model=model),
        store=StoreConfig(path=store, memory_limit="2GB"),
    )
    with open_run(config, no_progress, StopRequest()) as run:
        source = ParquetSource(file)
        column = choose_text_column(source.schema, None, file)
        make_plan(run.store, [(source, column)], run.model.fingerprint, no_progress)
        run.store.connection.execute(
            """INSERT INTO scores SELECT headline_key, $1, headline, 0.2, 0.5, 0.3, false, $2,
                now() AT TIME ZONE 'UTC' FROM plan.pending""",
            [run.model.fingerprint, run.summary.run_id],
        )


def measure(
    file: Path, folder: Path, suffix: str, model: str, memory_limit: str
) -> dict[str, float]:
    """Run the command once and return its summary's figures."""
    command = [
        str(Path(sys.executable).parent / "finsent-batch"),
        "--store", str(folder / "store.duckdb"), "--memory-limit", memory_limit,
        "score", str(file),
        "-o", str(folder / f"out{suffix}"), "--summary", "json",
        "--model", model,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ)
    summary = json.loads(done.stdout)
    assert summary["rows"]["unique_scored"] == 0, "a score was missing"
    assert summary["path"] is None, "a model was loaded"
    return {
        "rows/s": summary["rows"]["read"] / summary["seconds"]["total"],
        "plan s": summary["seconds"]["plan"],
        "publish s": summary["seconds"]["publish"],
        "peak MB": summary["peak_rss_mb"],
        "rows": summary["rows"]["read"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--rows", type=int, help="repeat and vary the year to this many rows")
    parser.add_argument("--memory-limit", default=StoreConfig.memory_limit)
    parser.add_argument("--outputs", nargs="+", default=[".parquet", ".duckdb", ".csv"])
    arguments = parser.parse_args()
    file = arguments.data / "feeds" / "reuters_2013.parquet"
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        if arguments.rows:
            file = repeated(file, arguments.rows, folder / "years.parquet")
        fill(file, folder / "store.duckdb", arguments.model)
        rows = []
        for suffix in arguments.outputs:
            found = [
                measure(file, folder, suffix, arguments.model, arguments.memory_limit)
                for _ in range(arguments.rounds)
            ]
            (folder / f"out{suffix}").unlink()
            medians = {k: statistics.median(f[k] for f in found) for k in found[0]}
            rows.append([f"Parquet → {suffix[1:]}", *medians.values()])
    emit(
        "etl_throughput",
        ["way", *medians],
        rows,
        rounds=arguments.rounds,
        memory_limit=arguments.memory_limit,
    )


if __name__ == "__main__":
    main()
