-- What was settled about the columns and times of an input when it was published.
-- Later stores of schema 1 have these columns already.
ALTER TABLE run_files ADD COLUMN IF NOT EXISTS number BIGINT;
ALTER TABLE run_files ADD COLUMN IF NOT EXISTS text_column VARCHAR;
ALTER TABLE run_files ADD COLUMN IF NOT EXISTS date_column VARCHAR;
ALTER TABLE run_files ADD COLUMN IF NOT EXISTS date_format VARCHAR;
ALTER TABLE run_files ADD COLUMN IF NOT EXISTS timezone VARCHAR;
ALTER TABLE run_files ADD COLUMN IF NOT EXISTS undated BIGINT;
ALTER TABLE run_files ADD COLUMN IF NOT EXISTS faults JSON;
ALTER TABLE run_files ADD COLUMN IF NOT EXISTS row_limit BIGINT;
ALTER TABLE run_files ADD COLUMN IF NOT EXISTS content VARCHAR;
ALTER TABLE run_files ADD COLUMN IF NOT EXISTS forgotten_at TIMESTAMP;
