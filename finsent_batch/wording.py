"""Numbers and names in sentences."""


def counted(number: float, thing: str) -> str:
    """Return `1 row`, or `1,200 rows`."""
    return f"{number:,.0f} {thing}{'' if number == 1 else 's'}"


def in_shell(name: str) -> str:
    """Return a name as a shell takes it for one word, in quotes."""
    return "'" + name.replace("'", "'\\''") + "'"
