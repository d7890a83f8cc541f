"""Files that stay, and results that appear, whole or not at all."""
