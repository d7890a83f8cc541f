"""Figures as pure functions: classification, paired tests, histograms, drift, gates."""
