"""Engines that run the scorer: this process or Ray."""
