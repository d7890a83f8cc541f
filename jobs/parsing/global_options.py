"""Global options may stand anywhere on the command line: they are brought to its front."""

from collections.abc import Iterator

import click

Options = dict[str, click.Option]


def global_options_first(group: click.Group, arguments: list[str]) -> list[str]:
    """Return the arguments with the group's own options before the command.

    An option of that name that the command has itself, the value of another option and
    whatever follows `--` stay where they are.
    """
    shared: Options = _options_by_name(group)
    own: Options = {}
    command: click.Command = group
    first: list[str] = []
    rest: list[str] = []
    words = iter(arguments)
    for word in words:
        if word == "--":
            return [*first, *rest, word, *words]
        if word.startswith("--"):
            name = word.partition("=")[0]
            of_command = name in own or name not in shared
            option = own.get(name) or shared.get(name)
            (rest if of_command else first).extend((word, *_value(option, name != word, words)))
        elif word.startswith("-") and word != "-":
            _sort_short(word, own, shared, (first, rest), words)
        else:
            rest.append(word)
            if isinstance(command, click.Group):
                command = command.commands.get(word, command)
                own = _options_by_name(command) if command is not group else {}
    return first + rest


def _sort_short(
    word: str,
    own: Options,
    shared: Options,
    lists: tuple[list[str], list[str]],
    words: Iterator[str],
) -> None:
    """Take letters such as those of `-qo` apart: `-q` is everybody's, `-o` the command's."""
    first, rest = lists
    for at, letter in enumerate(word[1:], 1):
        name = f"-{letter}"
        if name in own or name not in shared:
            behind = word[at + 1 :]
            rest.extend((name + behind, *_value(own.get(name), bool(behind), words)))
            return
        first.append(name)


def _options_by_name(command: click.Command) -> Options:
    options = [p for p in command.params if isinstance(p, click.Option)]
    return {name: option for option in options for name in (*option.opts, *option.secondary_opts)}


def _value(option: click.Option | None, has_value: bool, words: Iterator[str]) -> list[str]:
    """Return the next word if it is the option's value."""
    if option is None or has_value or option.is_flag or option.count:
        return []
    return [word for word in (next(words, None),) if word is not None]
