"""Settings of every job: frozen dataclasses, the only home of a default.

Those of training are in `train_config.py`. The command line reads its `default=` from
here, the Python API takes these objects, and each run stores the settings it had.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from .settings import Settings

DEFAULT_STORE: Final = Path("finsent.duckdb")
DEFAULT_MODEL: Final = "mini"
OPEN_MODEL: Final = "mini-open"
"""The embedded model that may be used commercially."""
EMBEDDED_MODELS: Final = (DEFAULT_MODEL, OPEN_MODEL)
PROMOTED_MODEL: Final = "promoted"
"""The model that `models promote` made the store's default; `mini` where there is none."""
AUTO: Final = "auto"
"""The threshold of a cascade that an evaluation found."""
LEAST_SURE: Final = 0.34
"""The lowest threshold of a cascade: of three labels the likeliest has at least a third."""
BASE: Final = "base"
"""What `--against` calls the base of a causal adapter."""
DEFAULT_GATES: Final = ("rows>=1", "labelled_share>=0.5", "dated_share>=0.95")
"""What every `score` but a trial must pass, where no gate on the same figure is given."""


@dataclass(frozen=True, kw_only=True)
class StoreConfig(Settings):
    """Where scores are kept and how much memory planning and publishing may take."""

    path: Path = DEFAULT_STORE
    memory_limit: str = "512MB"
    """What DuckDB may hold before it spills to disk; the model's memory comes on top."""
    lock_wait: float = 0.0
    """Seconds to wait for another process that holds the store."""


@dataclass(frozen=True, kw_only=True)
class ModelConfig(Settings):
    """Which model scores, on what, in which arithmetic."""

    model: str = PROMOTED_MODEL
    """`promoted`, `mini`, `mini-open`, a model directory, or a Hub id: 3-class or causal model."""
    base: str | None = None
    """Where an adapter's base is, instead of where its files say."""
    prompt: str | None = None
    """What a causal model is asked: a TOML file, or a name of `models.prompts.PROMPTS`."""
    quantisation: str | None = None
    """`nf4` for an adapter without a manifest that was trained on a base in 4 bits; `none`."""
    model_labels: tuple[tuple[str, str], ...] = ()
    """What a classifier's outputs mean, by number or name: a label each, or `drop`; () takes the
    model's own names."""
    device: str = "auto"
    weights: str = "auto"
    max_batch_tokens: int | None = None
    """Padded tokens in one forward pass; None takes the scorer's measured default."""


@dataclass(frozen=True, kw_only=True)
class ScoreConfig(Settings):
    """One `score` run."""

    input: str | tuple[str, ...]
    """One input or several: files, folders, globs, addresses in buckets; `-` is standard input."""
    output: Path | None = None
    """A file, or a folder for several inputs; `-` is standard output."""
    input_format: str | None = None
    output_format: str | None = None
    """What inputs and outputs are whose suffix does not say it."""
    input_name: str | None = None
    """The name of standard input: what comes again under it replaces what it published before."""
    text_column: str | None = None
    date_column: str | None = None
    """The column of the news's time; None takes the first usual name there is."""
    date_format: str | None = None
    """`dmy`, `mdy` or `ymd` for times in numbers, or a strptime format, where the column leaves
    it open."""
    timezone: str | None = None
    """Zone of times that name none; None takes UTC."""
    table: str | None = None
    output_table: str | None = None
    append: bool = False
    """Share the output with other inputs: replace the rows this input published there earlier."""
    partition_by: str | None = None
    """With `append`, `day` makes `output` a folder of Parquet by days."""
    on_new_columns: str = "fail"
    on_missing_columns: str = "fail"
    on_changed_types: str = "fail"
    """What `append` does with columns that differ: see `ColumnPolicy`."""
    model: ModelConfig = field(default_factory=ModelConfig)
    first: str | None = None
    """A smaller model that is asked before `model`, which answers what it is not sure of."""
    sure: float | str | None = None
    """The probability from which `first` is; `auto`, also meant by None, takes the one that
    `evaluate` with the same `first` found."""
    store: StoreConfig = field(default_factory=StoreConfig)
    engine: str = "auto"
    """Who runs the model: this process (`local`), `ray`, or Ray where there are several GPUs."""
    ray_address: str | None = None
    """A running Ray cluster to join, such as `auto` or `10.0.0.1:6379`; None starts Ray here."""
    actors: int | None = None
    """The most actors that Ray may start; None takes all that there is room for."""
    cpus_per_actor: int = 1
    """CPU cores of each actor; a GPU is one actor's alone."""
    limit: int | None = None
    """Read only the first rows of each input file."""
    replace_columns: bool = False
    overwrite: bool = False
    skip_unchanged: bool = False
    """Leave out inputs that are published already, by the same model and settings, where neither
    file has changed since; with `overwrite` none."""
    max_bad_rows: int = 0
    """CSV rows that do not parse and may be set aside in `quarantine` before the run fails."""
    encoding: str = "utf-8"
    escape: str | None = None
    """What stands before a quote inside a quoted CSV field: a backslash, or another quote."""
    quote: str | None = None
    """What CSV fields are quoted with; `none` takes quotes for part of the text."""
    gates: tuple[str, ...] = ()
    """Conditions on what would be published; where one does not hold, nothing is."""
    default_gates: bool = True
    """Whether those of `DEFAULT_GATES` are held against, too."""
    publish_anyway: str | None = None
    """A run that its gates held back, to be published with its inputs, output and model."""
    source_column: str | None = None
    """The column that says where a headline is from; None takes the first usual name there is."""
    as_of: str | None = None
    """The time that a night is taken as of, in UTC; None takes the time of the run."""
    min_confidence: float | None = None
    """Adds the column `sentiment_confident`: the label where its probability is at least this."""
    store_text: bool = True
    commit_seconds: float = 5.0
    """The most scoring time, in seconds, that a killed run can lose."""
    publish_wait: float = 60.0
    """Seconds to wait, once all is scored, for an output that another process holds."""
    metrics_file: Path | None = None
    """Prometheus text file to replace at the end, however the run ends."""
    notify_command: str | None = None
    """Command, split as a shell would but run without one, that gets the summary on stdin."""
    notify_seconds: float = 60.0
    """How long that command may take."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """The inputs, however many."""
        return (self.input,) if isinstance(self.input, str) else self.input


@dataclass(frozen=True, kw_only=True)
class LabelledFormat(Settings):
    """How to read a labelled file; None leaves it to the file's own layout."""

    text_column: str | None = None
    label_column: str | None = None
    label_map: tuple[tuple[str, str], ...] = ()
    encoding: str | None = None
    escape: str | None = None
    quote: str | None = None
    label_required: bool = True
    """False reads headlines alone where no column is named `label` and none is given."""
    owner: str = ""
    """Whose options these are, such as `prepare's `, where the running command lacks them."""


@dataclass(frozen=True, kw_only=True)
class PrepareConfig(Settings):
    """Labelled data in, train/valid/test out."""

    sources: tuple[Path, ...]
    output: Path
    recipe: str = "clean"
    format: LabelledFormat = field(default_factory=LabelledFormat)
    exclude: tuple[Path, ...] = ()
    """Labelled files none of whose headlines may enter any split."""
    valid_size: float = 0.05
    test_size: float = 0.1
    variations: int = 0
    """Variations of each training headline to write beside the split, for a teacher to label."""
    seed: int = 42
    overwrite: bool = False


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig(Settings):
    """Accuracy of a model on labelled data, alone or beside another."""

    data: Path
    output: Path
    model: ModelConfig = field(default_factory=ModelConfig)
    against: str | None = None
    first: str | None = None
    """A smaller model to ask first: how sure must it be to answer for `model`?"""
    agreement: float = 0.97
    """Share of the rows whose label is then to be that of `model`."""
    gates: tuple[str, ...] = ()
    format: LabelledFormat = field(default_factory=LabelledFormat)
    store: StoreConfig | None = None
    """Where to record the figures; None records them only in `output`."""
    overwrite: bool = False
    """Replace an evaluation of another model, or on other data, in `output`."""


@dataclass(frozen=True, kw_only=True)
class CompareConfig(Settings):
    """Two models on the same headlines, labelled or not."""

    data: Path
    one: ModelConfig = field(default_factory=ModelConfig)
    other: str
    """The second model; device and arithmetic are those of the first."""
    output: Path | None = None
    """Where to write every flip, as Parquet, CSV or JSON; None writes none."""
    format: LabelledFormat = field(default_factory=LabelledFormat)
    limit: int | None = None
    """Read only the first rows."""
    resamples: int = 10_000
    """Bootstrap samples behind the 95 % intervals."""
    seed: int = 0
    store: StoreConfig = field(default_factory=StoreConfig)
    """Whose promoted model `promoted` means."""


@dataclass(frozen=True, kw_only=True)
class PromoteConfig(Settings):
    """A model to become a store's default, if it passes its gates."""

    model: ModelConfig
    data: Path
    store: StoreConfig = field(default_factory=StoreConfig)
    gates: tuple[str, ...] = ("no-regression",)
    output: Path | None = None
    """Where to keep the evaluation; None keeps its figures in the store only."""
    overwrite: bool = False
    format: LabelledFormat = field(default_factory=LabelledFormat)


@dataclass(frozen=True, kw_only=True)
class MergeConfig(Settings):
    """An adapter to fold into its base."""

    model: ModelConfig
    """The adapter of a causal model."""
    output: Path
    overwrite: bool = False
