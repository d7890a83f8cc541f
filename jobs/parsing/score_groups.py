"""The headings in the help of `finsent-batch score`."""

GROUPS = {
    "Input": (
        "text-column", "date-column", "date-format", "timezone", "table", "input-format",
        "input-name", "encoding", "escape", "quote", "max-bad-rows", "limit",
        "source-column",
    ),
    "Output": (
        "output", "output-format", "output-table", "append", "partition-by", "overwrite",
        "replace-columns",
        "on-new-columns", "on-missing-columns", "on-changed-types",
        "min-confidence", "dry-run", "summary",
    ),
    "Model": (
        "model", "device", "weights", "max-batch-tokens", "base", "prompt", "quantisation",
        "model-labels", "first", "sure",
    ),
    "Several GPUs or machines": ("engine", "ray-address", "actors", "cpus-per-actor"),
    "Every night": (
        "skip-unchanged", "gate", "default-gates", "publish-anyway", "as-of", "metrics-file",
        "notify-command", "publish-wait", "commit-seconds", "store-text",
    ),
}  # fmt: skip
"""The options by the headings under which the help shows them."""
