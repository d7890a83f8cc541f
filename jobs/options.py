"""Options that several jobs share."""

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from finsent_batch.config import (
    AUTO,
    DEFAULT_MODEL,
    LEAST_SURE,
    OPEN_MODEL,
    PROMOTED_MODEL,
    LabelledFormat,
    ModelConfig,
    StoreConfig,
)

from .completion import complete_column, complete_model

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, kw_only=True)
class Globals:
    """The options before the command."""

    store: StoreConfig
    log_format: str
    quiet: bool


class FiniteFloat(click.FloatRange):
    """A number in a range; NaN, which is beyond no bound, is refused."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        number = float(super().convert(value, param, ctx))
        if math.isnan(number):
            self.fail(f"{value!r} is not a number.", param, ctx)
        return number


class Sure(FiniteFloat):
    """The probability from which a cascade's first model is sure, or `auto`."""

    def __init__(self) -> None:
        super().__init__(min=LEAST_SURE, max=1.0)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return value if value == AUTO else super().convert(value, param, ctx)


def first_option(text: str) -> Callable[[F], F]:
    """Return the option that names the model that is asked first."""
    return click.option("--first", metavar="MODEL", shell_complete=complete_model, help=text)


def model_options(function: F) -> F:
    """Add `--model` and what `model_run_options` adds."""
    option = click.option(
        "--model",
        default=ModelConfig.model,
        shell_complete=complete_model,
        help=f"{PROMOTED_MODEL} (the store's default, else {DEFAULT_MODEL}), {DEFAULT_MODEL}, "
        f"{OPEN_MODEL}, a model directory, or the Hub id of a 3-class classifier or a causal "
        "model.",
    )
    return option(model_run_options(function))


def model_run_options(function: F) -> F:
    """Add the options that say what a model is and how it runs; see `model_config`."""
    for option in reversed(
        (
            *foreign_options(),
            labels_option(),
            click.option(
                "--device",
                type=click.Choice(["auto", "cpu", "cuda"]),
                default=ModelConfig.device,
                help="Where the model runs; auto takes a GPU if there is one.",
            ),
            click.option(
                "--weights",
                type=click.Choice(["auto", "nf4", "bf16", "fp8", "fp32", "int8"]),
                default=ModelConfig.weights,
                help="Arithmetic of the model; auto takes the fastest that keeps the labels.",
            ),
            click.option(
                "--max-batch-tokens",
                type=click.IntRange(min=1),
                default=None,
                help="Tokens in one forward pass, padding included.  "
                "[default: measured for the device]",
            ),
        )
    ):
        function = option(function)
    return function


def foreign_options() -> tuple[Callable[[F], F], ...]:
    """Return the options that say of a model what its files do not."""
    return (
        click.option(
            "--base", metavar="DIR", help="Where an adapter's base is.  [default: its own]"
        ),
        click.option(
            "--prompt",
            metavar="FILE.toml",
            help="What a causal model without a manifest is asked.  [default: the tutorial's]",
        ),
        click.option(
            "--quantisation",
            type=click.Choice(["none", "nf4"]),
            help="The base that an adapter without a manifest was trained on: nf4 in 4 bits.",
        ),
    )


def labels_option() -> Callable[[F], F]:
    """Return the option that says what a classifier's outputs mean."""
    return click.option(
        "--model-labels",
        multiple=True,
        metavar="OUTPUT=LABEL,…",
        help="What a classifier's outputs are, by number or name, such as 0=negative,1=positive; "
        "drop leaves one out.  [default: the model's own names]",
    )


def with_foreign_options(function: F) -> F:
    """Add `--base`, `--prompt` and `--quantisation`."""
    for option in reversed(foreign_options()):
        function = option(function)
    return function


DIALECT_OPTIONS = (
    click.option(
        "--escape",
        type=click.Choice(["\\", '"']),
        help="What stands before a quote inside a quoted CSV field.  [default: a quote]",
    ),
    click.option(
        "--quote",
        type=click.Choice(['"', "none"]),
        help="What CSV fields are quoted with; none takes quotes for text.",
    ),
)


def dialect_options(function: F) -> F:
    """Add the options that say how CSV fields are quoted."""
    for option in reversed(DIALECT_OPTIONS):
        function = option(function)
    return function


_MODEL_SETTINGS = ("base", "prompt", "quantisation", "device", "weights", "max_batch_tokens")


def model_config(model: str, options: dict[str, Any]) -> ModelConfig:
    """Take what `model_run_options` added out of a command's options, as settings of a model."""
    outputs = [part for value in options.pop("model_labels") for part in value.split(",")]
    return ModelConfig(
        model=model,
        model_labels=parse_pairs([part for part in outputs if part], "--model-labels"),
        **{name: options.pop(name) for name in _MODEL_SETTINGS},
    )


def labelled_options(function: F) -> F:
    """Add the options that say how labelled files are read."""
    for option in reversed(
        (
            click.option(
                "--text-column",
                shell_complete=complete_column,
                help="Headline column of a CSV or Parquet file.",
            ),
            click.option(
                "--label-column",
                shell_complete=complete_column,
                help="Label column of a CSV or Parquet file.",
            ),
            click.option(
                "--label-map",
                multiple=True,
                metavar="VALUE=LABEL",
                help="What a label in the file means, such as 0=negative. Repeatable.",
            ),
            click.option("--encoding", help="Encoding of text files.  [default: by format]"),
            *DIALECT_OPTIONS,
        )
    ):
        function = option(function)
    return function


def take_format(options: dict[str, Any]) -> LabelledFormat:
    """Take the values of `labelled_options` out of a command's options."""
    label_map = parse_pairs(options.pop("label_map"), "--label-map")
    names = ("text_column", "label_column", "encoding", "escape", "quote")
    return LabelledFormat(label_map=label_map, **{name: options.pop(name) for name in names})


def parse_pairs(values: Sequence[str], option: str) -> tuple[tuple[str, str], ...]:
    """Split `a=b` values."""
    pairs = []
    for value in values:
        key, separator, rest = value.partition("=")
        if not separator or not key:
            raise click.BadParameter(f"{value!r} is not KEY=VALUE", param_hint=option)
        pairs.append((key, rest))
    return tuple(pairs)


def file_path(*, dir_okay: bool = False) -> click.Path:
    """Return the type of a path option; existence is checked by the library."""
    return _NamedPath(dir_okay=dir_okay, path_type=Path)


CONFIG_FILE = "finsent_batch.config_file"
"""Under which a command line's context keeps the path of its --config file."""


class _NamedPath(click.Path):
    """A path that is not empty: that of a variable without a value would be the working folder."""

    def convert(
        self,
        value: str | os.PathLike[str],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Any:
        if not os.fspath(value):
            self.fail("the name is empty", param, ctx)
        used = ctx.meta.get(CONFIG_FILE) if ctx is not None else None
        written = param is not None and param.name in ("output", "metrics_file")
        if used and written and os.path.realpath(value) == os.path.realpath(used):
            self.fail(f"{os.fspath(value)} is the --config file: name another", param, ctx)
        return super().convert(value, param, ctx)
