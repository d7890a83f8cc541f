"""Gates of `score`: what would be published is measured and judged before it is."""
