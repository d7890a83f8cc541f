"""Layers of models arranged for training, with fewer and fused kernels."""
