"""A command with many options: its help shows them in groups, those that matter most first."""

from collections.abc import Mapping, Sequence
from typing import Any

import click

from ..config_file import option_name


class GroupedCommand(click.Command):
    """A command whose help has its options under headings."""

    def __init__(
        self, *arguments: Any, groups: Mapping[str, Sequence[str]], **settings: Any
    ) -> None:
        """Take the options' names by heading; those without come last, under `Other`."""
        super().__init__(*arguments, **settings)
        self.groups = groups

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options of each group."""
        records = {
            option_name(p): record
            for p in self.get_params(ctx)
            if isinstance(p, click.Option) and (record := p.get_help_record(ctx)) is not None
        }
        for heading, names in self.groups.items():
            with formatter.section(heading):
                formatter.write_dl([records.pop(name) for name in names if name in records])
        if records:
            with formatter.section("Other"):
                formatter.write_dl(list(records.values()))
