"""Who runs the scorer: this process or Ray."""
