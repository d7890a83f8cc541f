-- Later stores of schema 1 have this table already.
CREATE TABLE IF NOT EXISTS file_marks (
    path VARCHAR NOT NULL,
    size BIGINT NOT NULL,
    mtime_ns BIGINT NOT NULL,
    mark JSON NOT NULL
);
