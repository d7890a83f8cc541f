"""Sequence classifiers: BERT-like encoders with a head."""
