-- Later stores of schema 1 have this table already.
CREATE TABLE IF NOT EXISTS promotions (
    promoted_at TIMESTAMP NOT NULL,
    model VARCHAR NOT NULL,
    model_fingerprint VARCHAR NOT NULL,
    weights VARCHAR NOT NULL,
    data VARCHAR,
    gates VARCHAR[],
    metrics JSON,
    rolled_back_at TIMESTAMP
);
