"""Write docs/cli.md from the `--help` of every command.

    make docs-cli

tests/test_docs.py fails while the page differs from what this prints.
"""

import inspect
from collections.abc import Iterator
from pathlib import Path

import click
from finsent_batch.jobs.cli import cli

PAGE = Path(__file__).parent / "cli.md"
HEAD = """# Commands

What `--help` prints for each command. This page is written by `make docs-cli`.

Every option can also be set by an environment variable (`FINSENT_STORE`,
`FINSENT_SCORE_MODEL`, …) or in a TOML file; see [Settings](scoring.md#settings).
"""


def commands(command: click.Command, parent: click.Context | None) -> Iterator[click.Context]:
    """Yield the context of a command and of all those below it."""
    name = command.name if parent else "finsent-batch"
    settings = {**command.context_settings, "terminal_width": 80}
    context = click.Context(command, parent=parent, info_name=name, **settings)
    yield context
    for child in command.commands.values() if isinstance(command, click.Group) else ():
        yield from commands(child, context)


def page() -> str:
    """Return the whole page."""
    sections = [HEAD]
    for context in commands(cli, None):
        title = context.command_path if context.parent is None else context.command_path[14:]
        text = inspect.cleandoc(context.get_help())
        sections.append(f"## {title}\n\n```text\n{text}\n```\n")
    return "\n".join(sections)


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
