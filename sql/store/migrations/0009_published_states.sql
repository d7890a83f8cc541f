-- What inputs and outputs on this machine's disks were when the one was published to the other.
CREATE TABLE IF NOT EXISTS published_states (
    run_id VARCHAR NOT NULL,
    input VARCHAR NOT NULL,
    input_state VARCHAR NOT NULL,
    settings VARCHAR NOT NULL,
    output VARCHAR NOT NULL,
    output_table VARCHAR,
    output_state VARCHAR NOT NULL
);
