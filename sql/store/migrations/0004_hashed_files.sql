-- The earlier cache knew a file by size and time of change alone: its hashes are not taken over.
-- Later stores of schema 1 have the new table already.
DROP TABLE IF EXISTS file_hashes;

CREATE TABLE IF NOT EXISTS hashed_files (
    path VARCHAR PRIMARY KEY,
    device UBIGINT NOT NULL,
    inode UBIGINT NOT NULL,
    size BIGINT NOT NULL,
    mtime_ns BIGINT NOT NULL,
    ctime_ns BIGINT NOT NULL,
    sha256 VARCHAR NOT NULL
);
