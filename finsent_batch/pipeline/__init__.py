"""The `score` command: plan, score, publish, record, notify."""
