"""The `finsent-batch` command: global options, configuration, exit codes.

Nothing imported here or in the job modules at their top may pull in torch,
polars or duckdb: `--help` answers at once.
"""

import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from finsent_batch.config import StoreConfig
from finsent_batch.errors import FinsentError, MissingInputError
from finsent_batch.version import __version__

from .compare import compare
from .config_file import load_config_file, settings_of
from .config_show import config
from .doctor import doctor
from .evaluate import evaluate
from .merge import merge
from .models import models
from .options import FiniteFloat, Globals, file_path
from .parsing.global_options import global_options_first
from .prepare import prepare
from .query import query
from .report import report
from .review import review
from .runs import runs
from .score import score
from .store import store
from .terminal import open_standard_streams, set_up_logging
from .train import train


@contextmanager
def _pipe_may_close() -> Iterator[None]:
    """Take it for the end, not for a failure, when the reader of our output has had enough."""
    try:
        yield
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise click.exceptions.Exit(0) from None


class _Cli(click.Group):
    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, global_options_first(self, args))

    # click.Command.main would turn a closed pipe into exit code 1.
    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        with _pipe_may_close():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        with _pipe_may_close():
            return super().invoke(ctx)


@click.group(
    cls=_Cli,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "show_default": True,
        "max_content_width": 100,
    },
)
@click.option(
    "--config",
    "config_file",
    type=file_path(),
    is_eager=True,
    expose_value=False,
    callback=load_config_file,
    help="TOML file with settings: global options at the top, then a table for each command.",
    envvar="FINSENT_CONFIG",
)
@click.option(
    "--store",
    "store_path",  # the group `store` has a table of its name in the file
    type=file_path(),
    default=StoreConfig.path,
    help="DuckDB file that keeps every score.",
)
@click.option(
    "--memory-limit",
    default=StoreConfig.memory_limit,
    help="Memory that planning and publishing may use before they spill to disk.",
)
@click.option(
    "--lock-wait",
    type=FiniteFloat(min=0.0),
    default=StoreConfig.lock_wait,
    metavar="SECONDS",
    help="How long to wait for another run that holds the store.",
)
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default="text",
    help="Log to stderr as text, or as JSON with the run id and the counts of each stage.",
)
@click.option("-v", "--verbose", count=True, default=0, help="Log more; twice for debugging.")
@click.option("-q", "--quiet", is_flag=True, default=False, help="Log errors only; no progress.")
@click.version_option(__version__, "-V", "--version", prog_name="finsent-batch")
@click.pass_context
def cli(
    ctx: click.Context,
    store_path: Path,
    memory_limit: str,
    lock_wait: float,
    log_format: str,
    verbose: int,
    quiet: bool,
) -> None:
    """Label financial headlines in batches: CSV, Parquet or DuckDB in, labelled rows out.

    \b
    finsent-batch score news.parquet
    finsent-batch query label_mix

    The options below may stand before the command or anywhere behind it.

    Every option can also be set by an environment variable: FINSENT_STORE for
    --store, FINSENT_SCORE_MODEL for --model of score. The command line wins over
    the environment, the environment over the --config file, the file over the
    defaults.
    """
    set_up_logging(log_format, verbose, quiet=quiet)
    ctx.obj = Globals(
        store=StoreConfig(path=store_path, memory_limit=memory_limit, lock_wait=lock_wait),
        log_format=log_format,
        quiet=quiet,
    )


for command in (
    score, prepare, train, evaluate, compare, merge, query, report, review, runs, models, store,
    doctor, config,
):  # fmt: skip
    cli.add_command(command)


def _name_variables(command: click.Command, prefix: str) -> None:
    """Name each option's variable after the option as users write it, whatever Python calls it."""
    for name, option in settings_of(command).items():
        option.envvar = f"{prefix}_{name.replace('-', '_').upper()}"
    for name, found in (command.commands if isinstance(command, click.Group) else {}).items():
        _name_variables(found, f"{prefix}_{name.upper()}")


_name_variables(cli, "FINSENT")


def run(arguments: list[str] | None = None) -> int:
    """Run one command line and return its exit code; bugs propagate."""
    code, tell = _ended(arguments)
    tell()
    return code


def _ended(arguments: list[str] | None) -> tuple[int, Callable[[], None]]:
    """Run one command line; return its exit code, and what tells people why it failed."""
    set_up_logging("text", 0, quiet=False)  # for what goes wrong before the options are known
    try:
        result: Any = cli.main(arguments, prog_name="finsent-batch", standalone_mode=False)
        return result if isinstance(result, int) else 0, _nothing
    except click.exceptions.NoArgsIsHelpError as error:
        return error.exit_code, error.show
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        help_line = f"; see {context.command_path} --help" if context else ""
        message = error.format_message().rstrip(".") + _place_of(error) + help_line
        return error.exit_code, partial(_say, message)
    except click.Abort:
        return 130, partial(_say, "interrupted")
    except FinsentError as error:
        fields = {"exit_code": error.exit_code, **_run_of(error)}
        return error.exit_code, partial(_say, str(error), **fields)
    except OSError as error:
        from finsent_batch.io.whole.system_errors import refused

        told = refused(error)
        if told is None:
            raise
        return told.exit_code, partial(_say, str(told))


def _nothing() -> None:
    """Tell nothing: the command has said all itself."""


def main() -> None:
    """Entry point of the console script."""
    open_standard_streams()
    try:
        Path.cwd()
    except FileNotFoundError:
        _say_at_start("the working folder does not exist any more: cd to one that does")
        sys.exit(MissingInputError.exit_code)
    try:
        code, tell = _ended(None)
        if code:
            # Ctrl-C would add a second line, and another code, to what has ended the command.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
    except KeyboardInterrupt:
        code, tell = 130, partial(_say_at_start, "interrupted")
    tell()
    # Nor is there anything to stop any more, in what the interpreter still waits for.
    signal.signal(signal.SIGINT, lambda *_: os._exit(code or 130))
    sys.exit(code)


def _say_at_start(message: str) -> None:
    set_up_logging("text", 0, quiet=False)
    _say(message)


def _place_of(error: click.ClickException) -> str:
    """Return which variable a value is from that no option takes."""
    if isinstance(error, click.BadParameter) and error.ctx is not None and error.param is not None:
        source = error.ctx.get_parameter_source(str(error.param.name))
        if source is ParameterSource.ENVIRONMENT:
            return f" (from {error.param.envvar})"
    return ""


def _run_of(error: FinsentError) -> dict[str, str]:
    return {"run_id": error.summary.run_id} if error.summary is not None else {}


def _say(message: str, **fields: object) -> None:
    logging.getLogger("finsent_batch").error("%s", " ".join(message.split()), extra=fields)
