"""`--publish-anyway`: the settings of a run that was held back, to publish what it scored."""

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Final

from ...config import ModelConfig, ScoreConfig
from ...errors import UsageError
from ...io.append.options import DELTA
from ...io.objects.addresses import address_of
from ...io.paths import STANDARD_STREAM
from ...store.store import Store

OF_THIS_COMMAND: Final = (
    *("store", "publish_anyway", "gates", "default_gates", "metrics_file", "notify_command"),
    *("notify_seconds", "publish_wait", "engine", "ray_address", "actors", "cpus_per_actor"),
)
"""What the command says that publishes; all else is as the held run had it."""


def settings_of_held(config: ScoreConfig) -> ScoreConfig:
    """Return the settings by which the run `config.publish_anyway` is published.

    Raises:
        UsageError: there is no such run, or it was not held back.
        FinsentError: the store cannot be read.
    """
    assert config.publish_anyway is not None
    with Store.open(config.store, read_only=True) as store:
        run_id, options = _find(store, config.publish_anyway)
    folder = Path(options.get("folder") or ".")
    known = {f.name for f in fields(ScoreConfig)} - set(OF_THIS_COMMAND)
    given: dict[str, Any] = {name: v for name, v in options.items() if name in known}
    given |= {"input": _inputs(folder, given["input"]), "output": _path(folder, given["output"])}
    model = given["model"]
    model |= {name: _name(folder, model[name]) for name in ("model", "base", "prompt")}
    given["model"] = ModelConfig(**model)
    given["first"] = _name(folder, given.get("first"))
    return replace(config, publish_anyway=run_id, **given)


def _find(store: Store, wanted: str) -> tuple[str, dict[str, Any]]:
    rows = store.query(
        "SELECT run_id, status, options FROM runs WHERE starts_with(run_id, ?) "
        "ORDER BY started_at DESC LIMIT 2",
        [wanted],
    )
    if len(rows) != 1 or not wanted:
        what = f"several runs begin with {wanted!r}" if rows else f"there is no run {wanted!r}"
        raise UsageError(
            f"--publish-anyway: {what} in the store {store.path}; finsent-batch runs lists them"
        )
    run_id, status, options = rows[0]
    if status != "held":
        raise UsageError(
            f"--publish-anyway: run {run_id} was not held back by a gate, it is {status}; "
            "finsent-batch runs lists those that were"
        )
    return str(run_id), json.loads(options)


def _inputs(folder: Path, value: str | list[str]) -> Any:
    """Return one input or several as they were in the folder that the run was started in.

    Raises:
        UsageError: one was standard input, which is gone.
    """
    values = [value] if isinstance(value, str) else value
    if "-" in values:
        raise UsageError(
            "--publish-anyway: that run read standard input, which is gone: pipe the same rows "
            "into score again with the gate eased"
        )
    paths = tuple(_path(folder, name) for name in values)
    return paths[0] if isinstance(value, str) else paths


def _path(folder: Path, value: str | None) -> str | None:
    """Return a path or address of a run as it was in the folder that the run was started in."""
    if value is None or "://" in value or value == STANDARD_STREAM or address_of(value):
        return value
    if value.startswith(DELTA):
        return DELTA + str(folder / Path(value.removeprefix(DELTA)).expanduser())
    return str(folder / Path(value).expanduser())


def _name(folder: Path, value: str | None) -> str | None:
    """Return what may be a path or another name, such as a model's."""
    path = _path(folder, value)
    return path if path is not None and Path(path).exists() else value
