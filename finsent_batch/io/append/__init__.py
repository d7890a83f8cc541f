"""What nights do to the table that they share."""
