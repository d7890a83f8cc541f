"""Labelled headlines: formats, duplicates, splits, training mixture, augmentation."""
