"""Texts in, probabilities out; torch is here and in training."""
