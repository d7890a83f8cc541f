"""What `finsent-batch query NAME --help` says."""

import click


def query_help(name: str) -> str:
    """Return what a packaged query shows, its columns, and its parameters with defaults.

    Raises:
        UsageError: no such query.
    """
    from finsent_batch.queries.catalog import load_query
    from finsent_batch.queries.parameters import view_parameters

    query = load_query(name)
    of_view = view_parameters(query)
    rows = [
        (p.name, f"{p.type}. {_sentence(p.meaning)}{_default(p.default)}") for p in query.parameters
    ]
    rows += [
        (
            parameter,
            f"VARCHAR. Column of the {parameter.partition('_')[0]}.  "
            "[default: as settled when the rows were scored, else the usual names]",
        )
        for parameter in of_view
    ]
    formatter = click.HelpFormatter(max_width=100)
    formatter.write_usage("finsent-batch query", f"{name} [--param KEY=VALUE]... [OPTIONS]")
    formatter.write_paragraph()
    with formatter.indentation():
        formatter.write_text(f"{query.summary}.")
    with formatter.section("Columns"):
        formatter.write_text(query.columns)
    with formatter.section("Parameters"):
        formatter.write_dl(rows or [("none", "")])
    formatter.write_paragraph()
    formatter.write_text("The options are those of finsent-batch query --help.")
    return formatter.getvalue().rstrip()


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _default(value: str | None) -> str:
    return "  [required]" if value is None else f"  [default: {value}]"
