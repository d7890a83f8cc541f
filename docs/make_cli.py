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
SESSIONS = Path(__file__).parent / "sessions"
HEAD = """# Commands

What `--help` prints for each command, and what some of them show. This page is written by
`make docs-cli`; `make docs-sessions` records anew what commands show.

The shell completes commands, options and their values, query names, models, runs and the columns of
the input, once it was told so, for instance in `~/.bashrc`:

```sh
eval "$(_FINSENT_BATCH_COMPLETE=bash_source finsent-batch)"    # bash
eval "$(_FINSENT_BATCH_COMPLETE=zsh_source finsent-batch)"     # zsh
_FINSENT_BATCH_COMPLETE=fish_source finsent-batch | source     # fish
```

The options of `finsent-batch` itself, such as `--store` or `-q`, may stand before the command or
anywhere behind it.

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


def sessions(command: str) -> list[str]:
    """Return what was recorded of a command, on terminals of several widths."""
    files = SESSIONS.glob(f"{command}.*.txt")
    return [
        f"On a terminal of {file.suffixes[0][1:]} columns:\n\n"
        f"```text\n{file.read_text('utf-8').rstrip()}\n```\n"
        for file in sorted(files, key=lambda file: int(file.suffixes[0][1:]))
    ]


def page() -> str:
    """Return the whole page."""
    sections = [HEAD]
    for context in commands(cli, None):
        title = context.command_path if context.parent is None else context.command_path[14:]
        text = inspect.cleandoc(context.get_help())
        sections.append(f"## {title}\n\n```text\n{text}\n```\n")
        sections += sessions(title.replace(" ", "-"))
    return "\n".join(sections)


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
