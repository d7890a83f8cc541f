"""SQL files, one query each, installed as `finsent_batch.sql`."""
