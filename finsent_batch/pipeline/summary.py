"""The summary of a run: what `--summary json` prints and the store keeps."""

import json
import resource
import shlex
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..config import ScoreConfig
from ..errors import FinsentError
from ..hardware import torch_if_loaded
from ..io.objects.addresses import shown, without_credentials
from ..wording import counted

SUMMARY_SCHEMA_VERSION = 1
_SHOWN_INPUTS = 3


def _named(values: dict[str, Any]) -> dict[str, Any]:
    return {"path" if name == "batching" else name: value for name, value in values.items()}


@dataclass(kw_only=True)
class Summary:
    """One `score` run.

    `rows.read = scored + truncated + empty + invalid`; `rows.reused` are the rows
    answered from the store or by an identical headline of the same run;
    `rows.duplicate` are the latter alone.
    `headlines_per_second` is the scorer's rate, distinct headlines scored per
    second of the score stage; None when nothing had to be scored.
    """

    schema_version: int = SUMMARY_SCHEMA_VERSION
    run_id: str = ""
    status: str = "running"
    exit_code: int = 0
    error: str | None = None
    """Why the run failed, in the words of stderr."""
    input: str = ""
    output: str = ""
    outputs: list[str] = field(default_factory=list)
    model: str = ""
    promoted: bool = False
    """Whether no model was named and the store's promoted one was taken."""
    model_fingerprint: str = ""
    license: str | None = None
    """What the model's card names; None where it names none."""
    device: str = ""
    weights: str = ""
    engine: str | None = None
    """Who ran the model: `local` or `ray`; None when nothing had to be scored."""
    actors: int | None = None
    """How many actors on Ray gave scores; None for the local engine."""
    batching: str | None = None
    """How the scorer ran its batches; None when it was not needed."""
    files: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(("read", "left_out", "unchanged", "empty"), 0)
    )
    """Inputs read; files of the folder that no suffix of ours says to read; with
    `--skip-unchanged` inputs that were published already, of which nothing else is counted."""
    rows: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(
            (
                *("read", "scored", "reused", "duplicate", "truncated", "empty", "invalid"),
                "unique_scored",
            ),
            0,
        )
    )
    quarantined: int = 0
    """Entries that this run made in the store's `quarantine`: rows that do not parse, rows that
    cannot be scored, and up to a thousand of an input whose time cannot be read."""
    labels: dict[str, int] = field(default_factory=dict)
    columns: list[dict[str, Any]] = field(default_factory=list)
    """Where the news stand: `text_column`, `date_column` (None without one), `date_format` (the
    order of numbers, or a format, where it was settled), `timezone` of times that name none, and
    the number of `files` that this is of."""
    times: dict[str, Any] = field(default_factory=lambda: {"dated": 0, "undated": 0, "faults": {}})
    """Rows whose time was read, rows whose time was not, and why; without a time column neither."""
    figures: dict[str, float | None] = field(default_factory=dict)
    """What gates can name, measured before anything was published; None without a value."""
    night: dict[str, Any] | None = None
    """The run's night beside those before it: `night` (a date), `feed`, how many `nights` it was
    compared with, the `bands` of what is usual by figure, the figures that are `unusual`, the
    `sources` that moved most, and `columns` that changed."""
    gates: list[dict[str, Any]] = field(default_factory=list)
    """Each gate with the `value` found, whether it `holds` (None where there was no value) and
    the `reason` in words."""
    published_anyway: str | None = None
    """With `--publish-anyway`: the run whose gates had failed."""
    content: str | None = None
    """A digest of what the gates judged, so that nothing else is published later."""
    cascade: dict[str, Any] | None = None
    """With `--first`: the models `first` and `second` with `first_fingerprint` and
    `second_fingerprint`, `sure`, where that is from (`sure_from`: given, or evaluation), how many
    headlines each scored now (`first_scored`, `second_scored`) and how many rows each answers
    (`first_rows`, `second_rows`)."""
    limit: int | None = None
    """With `--limit`: how many rows of each input were read at most."""
    confidence: dict[str, float | None] | None = None
    """With `--min-confidence`: `min_confidence`, the `confident` rows, and `coverage`, their
    share of the labelled ones (None where there are none)."""
    histograms: dict[str, list[int]] = field(default_factory=dict)
    """Rows by confidence and by sentiment score, over the bins of `distributions`."""
    seconds: dict[str, float] = field(
        default_factory=lambda: dict.fromkeys(
            ("plan", "load_model", "score", "publish", "total"), 0.0
        )
    )
    tokens: int = 0
    headlines_per_second: float | None = None
    peak_rss_mb: float = 0.0
    peak_vram_mb: float | None = None
    warnings: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return the summary as plain JSON values; `batching` keeps the key it always had."""
        return _named(asdict(self))

    def to_json(self) -> str:
        """Return the summary as one line of JSON."""
        # Nothing in it is a dataclass, and copying all of it takes as long as writing it.
        return json.dumps(_named(vars(self)), ensure_ascii=False)

    def note_coverage(self, min_confidence: float | None, confident: int) -> None:
        """Record how many labelled rows reach the minimum confidence."""
        if min_confidence is None:
            return
        labelled = self.rows["scored"] + self.rows["truncated"]
        coverage = round(confident / labelled, 4) if labelled else None
        self.confidence = {
            "min_confidence": min_confidence,
            "confident": confident,
            "coverage": coverage,
        }

    def note_files(
        self, read: int, left_out: list[str], *, unchanged: int, empty: list[str]
    ) -> None:
        """Count the inputs, and name the files that are none or have nothing in them."""
        self.files = {
            "read": read, "left_out": len(left_out), "unchanged": unchanged, "empty": len(empty),
        }  # fmt: skip
        for files, what, why in (
            (
                left_out, "file",
                "left out, not named as CSV, TSV, JSON lines or Parquet are",
            ),
            (empty, "empty file", "taken as without rows, with no output"),
        ):  # fmt: skip
            if files:
                named = ", ".join(files[:10]) + (" …" if len(files) > 10 else "")
                self.warnings.append(f"{counted(len(files), what)} {why}: {named}")

    def measure_memory(self) -> None:
        """Take the peaks of this process so far, in MB (10^6 bytes)."""
        self.peak_rss_mb = round(_peak_rss_bytes() / 1e6, 1)
        cuda = getattr(torch_if_loaded(), "cuda", None)
        if cuda is not None and cuda.is_initialized():  # by a model, not by a mere import
            here = round(cuda.max_memory_allocated() / 1e6, 1)
            self.peak_vram_mb = max(here, self.peak_vram_mb or 0.0)


def summary_of_failure(config: ScoreConfig, error: BaseException) -> Summary:
    """Return the summary of the run that an error ended, or one that says why none began."""
    summary = getattr(error, "summary", None)
    if isinstance(summary, Summary):
        return summary
    # The message of a bug may hold anything, a headline included.
    message = str(error) if isinstance(error, FinsentError) else type(error).__name__
    return Summary(
        status="failed",
        exit_code=getattr(error, "exit_code", 1),
        error=message,
        input=shown_inputs(config),
        output=without_credentials(shown(config.output)) if config.output else "",
        model=config.model.model,
    )


def shown_inputs(config: ScoreConfig) -> str:
    """Return a run's inputs as a shell takes them; of more than a few the first and how many."""
    names = [without_credentials(name) for name in config.inputs]
    if len(names) == 1:
        return names[0]
    if len(names) <= _SHOWN_INPUTS:
        return shlex.join(names)
    return f"{shlex.quote(names[0])} and {len(names) - 1} more"


def _peak_rss_bytes() -> int:
    # A process inherits its parent's ru_maxrss; the kernel's high-water mark is its own.
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text("ascii", "replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024)
