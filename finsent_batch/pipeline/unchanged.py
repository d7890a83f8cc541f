"""Inputs that are published already: known again without being read.

What an input and its output were on disk is noted when the one was published to the other: device,
inode, size, times of the last write and of the last change, which nobody can set. Where both are
that still, and settings and model the same, publishing again would give the same rows. Whatever
is not one file on this machine's disks is never known again, but for an output in a bucket: it is
its ETag.
"""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Final

from ..config import ScoreConfig
from ..io.base import Sink
from ..io.objects.addresses import is_address
from ..io.objects.sink import state_of
from ..io.pairs import FilePair
from ..io.whole.watched import file_state
from ..store.publications import NEWEST
from ..store.states import identity_of, log_of
from ..store.store import Store
from ..version import __version__
from .run import ScoreRun, ScoreTask
from .tasks import input_state, open_sink

_NO_MATTER: Final = (
    *("input", "output", "output_table", "store", "overwrite", "skip_unchanged", "publish_anyway"),
    *("first", "sure"),  # the fingerprint is of these, too
    *("gates", "default_gates", "as_of", "engine", "ray_address", "actors", "cpus_per_actor"),
    *("commit_seconds", "publish_wait", "metrics_file", "notify_command", "notify_seconds"),
)
"""Settings that no row of an output depends on, or that are compared by themselves."""
_KNOWN: Final = f"""
    SELECT s.input, input_state, s.output, s.output_table, output_state
    FROM published_states AS s JOIN (
        SELECT *, row_number() OVER (PARTITION BY input, input_table ORDER BY {NEWEST}) AS age
        FROM run_files) AS f
    ON s.run_id = f.run_id AND s.input = f.input AND f.input_table IS NULL
        AND s.output = f.output AND s.output_table IS NOT DISTINCT FROM f.output_table
    WHERE age = 1 AND forgotten_at IS NULL AND settings = ?"""


def to_be_scored(
    store: Store, pairs: list[FilePair], config: ScoreConfig, fingerprint: str
) -> list[FilePair]:
    """Return the pairs whose input must be scored and published: all without `skip_unchanged`."""
    if not config.skip_unchanged or config.overwrite:
        return pairs
    known = set(store.query(_KNOWN, [_settings(config, fingerprint)]))
    return [pair for pair in pairs if _as_published(store, pair) not in known]


def _as_published(store: Store, pair: FilePair) -> tuple[str | None, ...]:
    sink = open_sink(store, pair)
    path = str(pair.input.resolve())
    return (path, input_state(pair), sink.path, sink.table, _output_state(sink.path))


def _output_state(path: str) -> str | None:
    if is_address(path):
        return state_of(path)
    file = Path(path)
    log = identity_of(log_of(file))
    return None if log is not None and log.size else file_state(file)


def _settings(config: ScoreConfig, fingerprint: str) -> str:
    values = {name: v for name, v in asdict(config).items() if name not in _NO_MATTER}
    values |= {"model_fingerprint": fingerprint, "program": __version__}
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()


class Noted:
    """Notes in the store what an input and its output are, around the publication of the one."""

    def __init__(self, run: ScoreRun, task: ScoreTask) -> None:
        self._run = run
        self._task = task
        self._before = _output_state(task.sink.path)

    def published(self, sink: Sink) -> None:
        """Note what is there now; what else was noted of the output's file stays true."""
        output, now = sink.path, _output_state(sink.path)
        shared = self._run.config.append
        with self._run.store.transaction() as connection:
            connection.execute(
                "DELETE FROM published_states WHERE output = $1 "
                "AND output_table IS NOT DISTINCT FROM $2 AND (input = $3 OR NOT $4)",
                [output, sink.table, self._task.source.path, shared],
            )
            if now is None:
                return
            connection.execute(
                "UPDATE published_states SET output_state = ? WHERE output = ? "
                "AND output_state = ?",
                [now, output, self._before],
            )
            if self._task.input_state is not None:
                self._run.store.insert(
                    "published_states",
                    {
                        "run_id": self._run.summary.run_id,
                        "input": self._task.source.path,
                        "input_state": self._task.input_state,
                        "settings": _settings(self._run.config, self._run.fingerprint),
                        "output": output,
                        "output_table": sink.table,
                        "output_state": now,
                    },
                )
