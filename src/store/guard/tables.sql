-- What a position guard keeps in a database of yours, format 1. Several consumer groups share the tables.
-- Times are milliseconds since 1970, as in Kafka's records, where they are numbers.

CREATE TABLE IF NOT EXISTS orderflow_stores (
    group_name text PRIMARY KEY,
    name text NOT NULL,
    order_type text NOT NULL,
    format integer NOT NULL DEFAULT 1
);

CREATE TABLE IF NOT EXISTS orderflow_positions (
    group_name text NOT NULL,
    -- The topic's identity, or its name where brokers tell none.
    topic_key text NOT NULL,
    topic text NOT NULL,
    partition integer NOT NULL,
    next_offset bigint NOT NULL,
    -- The offsets beyond the next one that are settled already.
    settled bytea NOT NULL,
    leader_epoch integer NOT NULL,
    version bigint NOT NULL,
    -- Whose write the last one was, and what of it was not applied.
    token bytea NOT NULL,
    noted bytea NOT NULL,
    -- Why the position was last set on purpose.
    set_for text,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (group_name, topic_key, partition)
) WITH (fillfactor = 50);

CREATE TABLE IF NOT EXISTS orderflow_identities (
    group_name text NOT NULL,
    identity bytea NOT NULL,
    log_time bigint NOT NULL,
    PRIMARY KEY (group_name, identity)
);

CREATE TABLE IF NOT EXISTS orderflow_dead_letters (
    group_name text NOT NULL,
    id text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('dead_letter', 'refused')),
    state text NOT NULL CHECK (state IN ('open', 'resolved')),
    code text NOT NULL,
    reason text NOT NULL,
    attempts integer NOT NULL,
    identity bytea,
    topic text NOT NULL,
    partition integer NOT NULL,
    record_offset bigint NOT NULL,
    record_time bigint NOT NULL,
    first_failed timestamptz NOT NULL,
    last_failed timestamptz NOT NULL,
    record bytea NOT NULL,
    PRIMARY KEY (group_name, id)
);
CREATE INDEX IF NOT EXISTS orderflow_open_letters ON orderflow_dead_letters (group_name, identity) WHERE state = 'open';
