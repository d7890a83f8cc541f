"""How the results of the commands are looked at: whole, torn or not there."""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import buckets
from faulty_commands import STORE, Command

_VARYING = ("run_id", "scored_at", "reviewed_at")


def look(folder: Path, command: Command) -> dict[str, str]:
    """Return a digest of each result that appears for itself, by its name.

    Equal results have equal ones; where there is none it is `none`, or `torn` and why.
    """
    if command.result == "lake":
        return _by_days(folder, command.result)
    if command.name == "score a folder":
        names = (f"{command.result}/{i}.scored.parquet" for i in range(2))
        return {name: look_at(folder, name) for name in names}
    return {command.result: look_at(folder, command.result)} if command.result else {}


def _by_days(folder: Path, result: str) -> dict[str, str]:
    """Look at each day as any reader does, and at the whole as the next run or query does."""
    from finsent_batch.io.append.day_files import NO_DAY, complete
    from finsent_batch.io.atomic import temporary_of

    days = [f"{result}/day={day}" for day in (*(f"2024-01-0{i}" for i in range(1, 5)), NO_DAY)]
    found = {day: look_at(folder, day) for day in days}
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / result
        for there, here in ((folder / result, copy), (temporary_of(folder / result), None)):
            if there.exists():
                shutil.copytree(there, here or temporary_of(copy))
        complete(copy)
        return found | {f"{result}, completed": look_at(copy.parent, result)}


def look_at(folder: Path, result: str) -> str:
    """Return a digest of one result; see `look`."""
    if buckets.is_in_one(result):
        return _object(result)
    path, _, table = result.partition("::")
    file = folder / path
    if not file.exists():
        return "none"
    try:
        if (file / "_delta_log").exists():
            return _digest(_delta(file))
        if result == STORE:
            return _promoted(file)
        if file.is_dir():
            return _folder(file)
        return _digest(_file(file, table))
    except Exception as error:  # noqa: BLE001 - whatever a half-written file gives
        return f"torn: {type(error).__name__}: {error}"[:200]


def _object(address: str) -> str:
    """Return a digest of an object in the bucket; see `look`."""
    if not Path(address).suffix:
        return _digest(_delta(address, buckets.options(address)))
    content = buckets.read(address)
    if content is None:
        return "none"
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / Path(address).name
        file.write_bytes(content)
        return look_at(file.parent, file.name)


def _file(file: Path, table: str = "") -> Any:
    import duckdb
    import polars as pl

    # Opened once, as a reader must where files are replaced: polars opens a path again.
    if file.suffix == ".parquet":
        return pl.read_parquet(file.read_bytes()).drop(_VARYING, strict=False).write_csv()
    if file.suffix == ".csv":
        return (
            pl.read_csv(file.read_bytes(), infer_schema=False)
            .drop(_VARYING, strict=False)
            .write_csv()
        )
    if file.suffix == ".duckdb":
        with duckdb.connect(str(file), read_only=True) as connection:
            tables = [name for (name,) in connection.execute("SHOW TABLES").fetchall()]
            wanted = [table] if table in tables else [] if table else tables
            frames = [connection.sql(f"FROM {name} ORDER BY ALL").pl() for name in wanted]
        return [frame.drop(_VARYING, strict=False).write_csv() for frame in frames] or "empty"
    text = file.read_text("utf-8")
    if file.suffix == ".html":
        assert text.rstrip().endswith("</html>")
        return "a whole page"
    if file.name == "finsent.json":
        return {k: v for k, v in json.loads(text).items() if k != "metrics"}
    if file.suffix == ".json":
        found = json.loads(text)
        # The names alone: the values are times, too.
        return [sorted(part) for part in (found if isinstance(found, list) else [found])]
    return text if file.suffix in (".txt", ".jinja") else hashlib.sha256(text.encode()).hexdigest()


def _delta(folder: Path | str, options: dict[str, str] | None = None) -> str:
    import polars as pl
    from deltalake import DeltaTable

    if not DeltaTable.is_deltatable(str(folder), options):
        return "none"
    frame = pl.from_arrow(DeltaTable(folder, storage_options=options).to_pyarrow_table())
    return frame.drop(_VARYING, strict=False).sort("place").write_csv()


def _promoted(store: Path) -> str:
    from finsent_batch.config import StoreConfig
    from finsent_batch.models.registry import current_promotion
    from finsent_batch.store.store import Store

    with Store.open(StoreConfig(path=store), read_only=True) as opened:
        found = current_promotion(opened)
    return Path(found.model).name if found else "none"


def _folder(folder: Path) -> str:
    if (folder / "manifest.json").exists():
        from finsent_batch.store.export import check_export

        check_export(folder)
        return "a whole export"
    if not any(folder.iterdir()):
        return "none"
    found: dict[str, Any] = {}
    for file in sorted(folder.rglob("*")):
        name = str(file.relative_to(folder))
        if file.is_dir() or name.startswith(("logs", "checkpoints")) or file.name[0] == ".":
            continue
        if file.suffix == ".safetensors":
            found[name] = hashlib.sha256(file.read_bytes()).hexdigest()
        elif file.suffix not in (".md", ".html"):
            found[name] = _file(file)
    metrics = folder / "metrics.json"
    if metrics.exists():
        found["n"] = json.loads(metrics.read_text())["n"]
    return _digest(found)


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def without_run(keys: Sequence[str]) -> set[str]:
    """Return the scores' keys without the run that gave them."""
    return {key.rpartition(" ")[0] for key in keys}


def scores(file: Path) -> list[str]:
    """Return the keys of all scores in one of a store's two files, as often as they are there.

    A key is the headline's, the model's and the run's that gave the score, divided by spaces.
    """
    import duckdb

    if not file.exists():
        return []
    with duckdb.connect(str(file), read_only=True) as connection:
        if ("scores",) not in connection.execute("SHOW TABLES").fetchall():
            return []
        sql = "SELECT concat_ws(' ', headline_key, model_fingerprint, run_id) FROM scores"
        return [key for (key,) in connection.execute(sql).fetchall()]
