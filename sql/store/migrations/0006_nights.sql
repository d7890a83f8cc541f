-- What each run found before it published, so that a night can be compared with those before it.
CREATE TABLE IF NOT EXISTS nights (
    run_id VARCHAR NOT NULL,
    recorded_at TIMESTAMP NOT NULL,
    night DATE NOT NULL,
    feed VARCHAR NOT NULL,
    status VARCHAR NOT NULL,
    reason VARCHAR,
    model_fingerprint VARCHAR NOT NULL,
    figures JSON NOT NULL,
    details JSON NOT NULL
);
