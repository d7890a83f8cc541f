-- The tables of a store. A store of an earlier schema gets here by the files in migrations/.

-- One row for each schema that this store has had, and since when.
CREATE TABLE store_info (schema_version INTEGER NOT NULL, created_at TIMESTAMP);

-- One row for each distinct headline and model: the cache, and the checkpoint of a killed run.
CREATE TABLE scores (
    headline_key UUID NOT NULL,
    model_fingerprint VARCHAR NOT NULL,
    headline VARCHAR,
    p_negative FLOAT NOT NULL,
    p_neutral FLOAT NOT NULL,
    p_positive FLOAT NOT NULL,
    truncated BOOLEAN NOT NULL,
    run_id VARCHAR NOT NULL,
    scored_at TIMESTAMP NOT NULL
);

CREATE TABLE runs (
    run_id VARCHAR PRIMARY KEY,
    status VARCHAR NOT NULL,
    exit_code INTEGER,
    version VARCHAR,
    started_at TIMESTAMP NOT NULL,
    finished_at TIMESTAMP,
    input VARCHAR,
    output VARCHAR,
    model VARCHAR,
    model_fingerprint VARCHAR,
    device VARCHAR,
    rows_read BIGINT,
    rows_scored BIGINT,
    rows_reused BIGINT,
    rows_truncated BIGINT,
    rows_empty BIGINT,
    rows_invalid BIGINT,
    unique_scored BIGINT,
    tokens BIGINT,
    seconds DOUBLE,
    headlines_per_second DOUBLE,
    options JSON,
    summary JSON
);

-- One row for each output that a run published.
CREATE TABLE run_files (
    run_id VARCHAR NOT NULL,
    input VARCHAR NOT NULL,
    input_table VARCHAR,
    output VARCHAR NOT NULL,
    output_table VARCHAR,
    rows BIGINT,
    published_at TIMESTAMP,
    number BIGINT,
    text_column VARCHAR,
    date_column VARCHAR,
    date_format VARCHAR,
    timezone VARCHAR,
    undated BIGINT,
    faults JSON,
    row_limit BIGINT,
    content VARCHAR,
    forgotten_at TIMESTAMP
);

CREATE TABLE models (
    model_fingerprint VARCHAR PRIMARY KEY,
    model VARCHAR,
    family VARCHAR,
    base VARCHAR,
    weights VARCHAR,
    path VARCHAR,
    first_used_at TIMESTAMP,
    details JSON
);

CREATE TABLE evaluations (
    evaluated_at TIMESTAMP NOT NULL,
    model VARCHAR,
    model_fingerprint VARCHAR NOT NULL,
    data VARCHAR,
    n BIGINT,
    accuracy DOUBLE,
    macro_f1 DOUBLE,
    weighted_f1 DOUBLE,
    ece DOUBLE,
    metrics JSON
);

CREATE TABLE promotions (
    promoted_at TIMESTAMP NOT NULL,
    model VARCHAR NOT NULL,
    model_fingerprint VARCHAR NOT NULL,
    weights VARCHAR NOT NULL,
    data VARCHAR,
    gates VARCHAR[],
    metrics JSON,
    rolled_back_at TIMESTAMP
);

-- Rows of inputs that were set aside, and why.
CREATE TABLE quarantine (
    run_id VARCHAR NOT NULL,
    input VARCHAR NOT NULL,
    row_number BIGINT,
    line_number BIGINT,
    reason VARCHAR NOT NULL,
    content VARCHAR,
    recorded_at TIMESTAMP NOT NULL
);

-- The hashes of large model files, each valid while the file is untouched.
CREATE TABLE hashed_files (
    path VARCHAR PRIMARY KEY,
    device UBIGINT NOT NULL,
    inode UBIGINT NOT NULL,
    size BIGINT NOT NULL,
    mtime_ns BIGINT NOT NULL,
    ctime_ns BIGINT NOT NULL,
    sha256 VARCHAR NOT NULL
);

-- The provenance of outputs that cannot hold it themselves, such as CSV.
CREATE TABLE file_marks (
    path VARCHAR NOT NULL,
    size BIGINT NOT NULL,
    mtime_ns BIGINT NOT NULL,
    mark JSON NOT NULL
);

-- One row for each run that was judged: what it found before it published, or was held back.
CREATE TABLE nights (
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

-- How this file and the one that people read, or that commands write to, belong together.
CREATE TABLE snapshot (
    state VARCHAR NOT NULL,
    published VARCHAR,
    size BIGINT,
    mtime_ns BIGINT
);

-- One row for each headline of a sample drawn for review: the label it then had, and how many
-- headlines it stands for.
CREATE TABLE review_samples (
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

-- What people answered; the last answer of a reviewer about a headline counts.
CREATE TABLE reviews (
    headline_key UUID NOT NULL,
    headline VARCHAR NOT NULL,
    label VARCHAR NOT NULL,
    reviewer VARCHAR NOT NULL,
    reviewed_at TIMESTAMP NOT NULL
);

-- What inputs and outputs on this machine's disks were when the one was published to the other.
CREATE TABLE published_states (
    run_id VARCHAR NOT NULL,
    input VARCHAR NOT NULL,
    input_state VARCHAR NOT NULL,
    settings VARCHAR NOT NULL,
    output VARCHAR NOT NULL,
    output_table VARCHAR,
    output_state VARCHAR NOT NULL
);
