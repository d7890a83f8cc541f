"""The version of finsent-batch."""

__version__ = "0.1.0"
