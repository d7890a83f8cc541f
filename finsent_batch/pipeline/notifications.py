"""Notifications at the end of a run: a Prometheus file and a command."""

import logging
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..config import ScoreConfig
from ..errors import FinsentError, UsageError
from ..io.atomic import replace_file
from ..io.pairs import FilePair
from ..io.whole.protected import check_free, protected
from .summary import Summary

logger = logging.getLogger(__name__)

_SUCCESS = "finsent_last_success_timestamp_seconds"


def check_notify_command(config: ScoreConfig) -> None:
    """Raise UsageError if the notify command cannot be split into words as a shell would."""
    try:
        words = shlex.split(config.notify_command or "true")
    except ValueError as error:
        raise UsageError(f"--notify-command {config.notify_command}: {error}") from None
    if not words:
        raise UsageError("--notify-command names no command: leave it out, or name one")


def check_metrics_file(config: ScoreConfig, pairs: Sequence[FilePair]) -> None:
    """Raise UsageError if the metrics would replace the store, an input, an output or a model."""
    if config.metrics_file is not None:
        others = protected(
            store=config.store.path,
            inputs=[pair.input for pair in pairs],
            outputs=[pair.output for pair in pairs],
        )
        check_free(config.metrics_file, others, "--metrics-file")


def send_notifications(config: ScoreConfig, summary: Summary) -> None:
    """Write the metrics file and run the notify command; what fails is only warned of."""
    if config.metrics_file is not None:
        try:
            write_metrics(config.metrics_file, summary)
        except (OSError, FinsentError) as error:
            why = str(error).replace("with -o", "with --metrics-file")
            logger.warning("the metrics file %s was not written: %s", config.metrics_file, why)
    if config.notify_command is not None:
        problem = _notify(config.notify_command, summary, config.notify_seconds)
        if problem:
            logger.warning("the notify command %s", problem)


def _notify(command: str, summary: Summary, seconds: float) -> str | None:
    """Run a command with the summary on its standard input; return what went wrong, if anything.

    What it prints goes to stderr: stdout is for the summary.
    """
    try:
        done = subprocess.run(
            shlex.split(command),
            input=(summary.to_json() + "\n").encode(),
            stdout=sys.stderr.fileno(),
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"was ended: it took more than {seconds:g} s"
    except OSError as error:
        return f"could not be run: {error.strerror}: {error.filename}"
    return f"failed with exit code {done.returncode}" if done.returncode else None


def write_metrics(file: Path, summary: Summary) -> None:
    """Replace a file in Prometheus' text format, as node_exporter's textfile collector reads it.

    The time of the last success is that of this run if it succeeded, else the one
    that the file had, or 0 if there never was one.

    Raises:
        CannotCreateError: the file is a link that leads elsewhere.
        OSError: it cannot be written.
    """
    now = time.time()
    success = now if summary.exit_code == 0 else _last_success(file)
    lines = [
        *_gauge(_SUCCESS, "When a run last succeeded; 0 for never.", [("", success)]),
        *_gauge("finsent_last_run_timestamp_seconds", "When the last run ended.", [("", now)]),
        *_gauge("finsent_last_run_exit_code", "How the last run ended.", [("", summary.exit_code)]),
        *_gauge(
            "finsent_last_run_rows",
            "Rows of the last run: read = scored + truncated + empty + invalid.",
            [(f'{{kind="{kind}"}}', rows) for kind, rows in summary.rows.items()],
        ),
        *_gauge(
            "finsent_last_run_quarantined_rows",
            "Rows of the last run that are in the store's quarantine.",
            [("", summary.quarantined)],
        ),
        *_gauge(
            "finsent_last_run_labels",
            "Rows of the last run with each label.",
            [(f'{{label="{label}"}}', rows) for label, rows in summary.labels.items()],
        ),
        *_gauge(
            "finsent_last_run_stage_seconds",
            "Time of each stage of the last run.",
            [(f'{{stage="{s}"}}', t) for s, t in summary.seconds.items() if s != "total"],
        ),
        *_gauge(
            "finsent_last_run_seconds", "Time of the last run.", [("", summary.seconds["total"])]
        ),
        *_gauge(
            "finsent_last_run_gate_failed",
            "1 for each gate of the last run that did not hold and kept it from being published.",
            [(f'{{gate="{g["gate"]}"}}', g["holds"] is False) for g in summary.gates],
        ),
        *_gauge(
            "finsent_last_run_figure",
            "What gates can name, as it was before the last run published; see docs/gates.md.",
            [(f'{{figure="{n}"}}', v) for n, v in summary.figures.items() if v is not None],
        ),
        *_gauge(
            "finsent_last_run_peak_memory_bytes",
            "Most resident memory of the last run.",
            [("", summary.peak_rss_mb * 1e6)],
        ),
    ]
    replace_file(file, "".join(f"{line}\n" for line in lines).encode())


def _gauge(name: str, meaning: str, values: Iterable[tuple[str, float]]) -> list[str]:
    found = [f"{name}{labels} {value:.15g}" for labels, value in values]
    return [f"# HELP {name} {meaning}", f"# TYPE {name} gauge", *found] if found else []


def _last_success(file: Path) -> float:
    try:
        match = re.search(rf"^{_SUCCESS} (\d+(\.\d+)?)$", file.read_text("utf-8"), re.MULTILINE)
    except (OSError, UnicodeDecodeError):
        return 0.0
    return float(match[1]) if match else 0.0
