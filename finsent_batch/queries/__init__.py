"""SQL over the results: the packaged queries and one's own."""
