-- How this file and the one that people read, or that commands write to, belong together.
CREATE TABLE IF NOT EXISTS snapshot (
    state VARCHAR NOT NULL,
    published VARCHAR,
    size BIGINT,
    mtime_ns BIGINT
);
