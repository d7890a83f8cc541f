"""finsent-batch: label financial headlines in batches, each one once."""

__version__ = "0.1.0"
