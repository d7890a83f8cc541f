"""What the benchmark scripts share: a table on stdout, JSON beside the scripts."""

import json
import platform
import sys
from pathlib import Path
from typing import Any

from finsent_batch.hardware import available_cores, cpu_model

RESULTS = Path(__file__).parent / "results"


def emit(
    name: str,
    columns: list[str],
    rows: list[list[Any]],
    *,
    results: Path = RESULTS,
    **more: Any,
) -> None:
    """Print rows as a table and write them with the machine's description."""
    cells = [columns, *([_cell(value) for value in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(columns))]
    for row in cells:
        print("  ".join(value.ljust(width) for value, width in zip(row, widths, strict=True)))
    machine = {
        "cpu": cpu_model(),
        "cores": available_cores(),
        "python": sys.version.split()[0],
        "system": platform.platform(),
    }
    results.mkdir(exist_ok=True)
    records = [dict(zip(columns, row, strict=True)) for row in rows]
    content = {"benchmark": name, "machine": machine, "rows": records, **more}
    target = results / f"{name}.json"
    target.write_text(json.dumps(content, indent=2) + "\n", "utf-8")
    print(f"on {machine['cpu']}, {machine['cores']} cores; written to {target}")


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.2f}" if abs(value) < 100 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
