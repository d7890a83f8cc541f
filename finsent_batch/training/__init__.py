"""`train` and `merge`: adapters for encoders and causal models."""
