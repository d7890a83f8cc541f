-- Headlines that were drawn for people to label, and what they answered.
CREATE TABLE IF NOT EXISTS review_samples (
    sample_id VARCHAR NOT NULL,
    sampled_at TIMESTAMP NOT NULL,
    headline_key UUID NOT NULL,
    model_fingerprint VARCHAR NOT NULL,
    sentiment VARCHAR NOT NULL,
    confidence FLOAT NOT NULL,
    source VARCHAR,
    month DATE,
    weight DOUBLE NOT NULL
);
CREATE TABLE IF NOT EXISTS reviews (
    headline_key UUID NOT NULL,
    headline VARCHAR NOT NULL,
    label VARCHAR NOT NULL,
    reviewer VARCHAR NOT NULL,
    reviewed_at TIMESTAMP NOT NULL
);
