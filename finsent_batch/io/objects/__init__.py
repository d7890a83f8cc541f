"""Objects in buckets as outputs: written whole and under a condition, read back as copies."""
