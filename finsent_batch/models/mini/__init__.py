"""The embedded default model: a LoRA adapter for the packaged all-MiniLM-L6-v2."""
