"""Text files as they come: compressed, quoted in more than one way, or JSON lines."""
