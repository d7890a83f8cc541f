"""What files can be read and written as, by the names that options take."""

from typing import Final

INPUT_FORMATS: Final = ("csv", "tsv", "jsonl", "parquet")
"""What a file can be read as; text may be compressed."""
OUTPUT_FORMATS: Final = (
    "parquet",
    *(kind + compression for kind in INPUT_FORMATS[:3] for compression in ("", ".gz", ".zst")),
)
"""What a file can be written as, besides a table of a .duckdb file."""
