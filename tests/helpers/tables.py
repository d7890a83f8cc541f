"""Read a table back from what a command printed."""

import re


def read_table(out: str, number: int = 0) -> list[dict[str, str]]:
    """Return the rows of one of the tables in an output, by their columns' names."""
    lines = out.splitlines()
    rule = [i for i, line in enumerate(lines) if re.fullmatch("[─ ]+", line) and "─" in line][
        number
    ]
    places = [found.span() for found in re.finditer("─+", lines[rule])]
    # A column ends where the next one begins.
    spans = [
        (start, following)
        for (start, _), following in zip(
            places, [*(start for start, _ in places[1:]), None], strict=True
        )
    ]
    head = rule
    while head and len(lines[head - 1]) >= places[-1][0] and lines[head - 1].strip():
        head -= 1
    names = []
    for start, end in spans:
        parts = [line[start:end].strip() for line in lines[head:rule]]
        names.append("".join(part if part.endswith("_") else f"{part} " for part in parts))
    rows = []
    for line in lines[rule + 1 :]:
        gaps = zip((end for _, end in places), (start for start, _ in places[1:]), strict=False)
        said_below = re.match(r"no r(ows|oom)|\d[\d,]* of ", line)
        if not line or said_below or any(line[end:start].strip() for end, start in gaps):
            break
        rows.append([line[start:end].strip() for start, end in spans])
    return [dict(zip(map(str.strip, names), row, strict=True)) for row in rows]
