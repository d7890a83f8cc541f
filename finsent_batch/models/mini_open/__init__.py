"""What a model for commercial use is made from: sentences of the project's own, by a grammar."""
