"""Causal models that are asked a prompt and answer with a label word."""
