-- The schema of a store, format 1. A store belongs to one consumer group and one order type.
-- Times are milliseconds since 1970, as in Kafka's records; days are counted from 1970-01-01.

CREATE TABLE store (
    is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    format integer NOT NULL,
    name text NOT NULL,
    group_name text NOT NULL,
    order_type text NOT NULL
);

-- Sums that are kept once: `letter_bytes`, `event` and `forgotten`; `capacity` is locked while days are booked,
-- `relays` while shards change hands, `moves` while deliveries move. `handled` is 1 where a handler is asked first. `early`
-- counts the transactions that set updates aside whose deliveries were not there.
CREATE TABLE counters (
    name text PRIMARY KEY,
    value bigint NOT NULL
) WITH (fillfactor = 50);
INSERT INTO counters (name, value) VALUES ('letter_bytes', 0), ('event', 0), ('forgotten', 0), ('capacity', 0), ('relays', 0),
    ('moves', 0), ('handled', 0), ('early', 0);

CREATE TABLE topics (
    number integer GENERATED ALWAYS AS IDENTITY (MINVALUE 0) PRIMARY KEY,
    id bytea NOT NULL CHECK (length(id) = 16),
    name text NOT NULL
);
-- Brokers before 3.1 tell no identity: there a topic is its name (rule R11).
CREATE UNIQUE INDEX topics_by_id ON topics (id) WHERE id <> '\x00000000000000000000000000000000';
CREATE UNIQUE INDEX topics_by_name ON topics (name) WHERE id = '\x00000000000000000000000000000000';

CREATE TABLE positions (
    topic integer NOT NULL REFERENCES topics,
    partition integer NOT NULL,
    next_offset bigint NOT NULL DEFAULT 0,
    settled bytea NOT NULL DEFAULT '',
    leader_epoch integer NOT NULL DEFAULT -1,
    version bigint NOT NULL DEFAULT 0,
    token bytea NOT NULL DEFAULT '\x00000000000000000000000000000000',
    first_offset bigint NOT NULL DEFAULT 0,
    applied bigint NOT NULL DEFAULT 0,
    duplicates bigint NOT NULL DEFAULT 0,
    refused bigint NOT NULL DEFAULT 0,
    dead_letters bigint NOT NULL DEFAULT 0,
    no_record bigint NOT NULL DEFAULT 0,
    -- The newest record timestamp that was settled, and how many identities were new, over all accounts.
    log_time bigint NOT NULL DEFAULT -9223372036854775808,
    identities bigint NOT NULL DEFAULT 0,
    -- Which process has taken the partition over, and in which epoch or generation of the group it was a member then.
    owner bytea CHECK (length(owner) = 16),
    claim_epoch integer NOT NULL DEFAULT -1,
    PRIMARY KEY (topic, partition)
) WITH (fillfactor = 50);

-- Positions that were set on purpose, each with the account that it closed.
CREATE TABLE starts (
    topic integer NOT NULL,
    partition integer NOT NULL,
    version bigint NOT NULL,
    set_at bigint NOT NULL,
    reason text NOT NULL,
    closed bytea NOT NULL,
    PRIMARY KEY (topic, partition, version)
);

-- What failed in the last write of a partition that had failures, so that its answer can be given again (rule R5).
CREATE TABLE failures (
    topic integer NOT NULL,
    partition integer NOT NULL,
    causes bytea NOT NULL,
    PRIMARY KEY (topic, partition)
);

CREATE TABLE sources (
    number integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source text COLLATE "C" NOT NULL UNIQUE,
    newest bigint NOT NULL
);

CREATE TABLE identities (
    source integer NOT NULL,
    entry bigint NOT NULL,
    PRIMARY KEY (source, entry)
);

CREATE TABLE opaque_identities (
    key bytea PRIMARY KEY,
    newest bigint NOT NULL,
    number bigint GENERATED ALWAYS AS IDENTITY
);
CREATE INDEX opaque_identities_by_age ON opaque_identities (number);

CREATE TABLE stock (
    product text COLLATE "C" PRIMARY KEY,
    pieces bigint NOT NULL CHECK (pieces >= 0),
    movements bigint NOT NULL,
    last_movement bigint NOT NULL
) WITH (fillfactor = 70);

CREATE TABLE days (
    day integer PRIMARY KEY,
    deliveries bigint NOT NULL
) WITH (fillfactor = 50);

-- Every order that was applied, packed: some hundred to a row.
CREATE TABLE ledger (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic integer NOT NULL,
    partition integer NOT NULL,
    version bigint NOT NULL,
    part integer NOT NULL,
    orders bytea NOT NULL,
    UNIQUE (topic, partition, version, part)
) WITH (toast_tuple_target = 8160);
ALTER TABLE ledger ALTER COLUMN orders SET STORAGE EXTERNAL;

-- Deliveries that have moved.
CREATE TABLE lives (
    id bytea PRIMARY KEY CHECK (length(id) = 16),
    -- The row of the ledger that has its line.
    row bigint NOT NULL,
    life bytea NOT NULL
) WITH (fillfactor = 80);

-- The first 4 bytes of the name of each delivery in a row of the ledger, and the rows whose names are still to be read.
CREATE TABLE prints (
    ledger bigint PRIMARY KEY,
    prints bytea NOT NULL
);
ALTER TABLE prints ALTER COLUMN prints SET STORAGE PLAIN;
CREATE TABLE unprinted (
    ledger bigint PRIMARY KEY
);

-- Rows of handlers' own: a name is its table with the length before it, and the row's key.
CREATE TABLE overlay (
    name bytea PRIMARY KEY,
    value bytea NOT NULL
);

CREATE TABLE dead_letters (
    id bytea PRIMARY KEY CHECK (length(id) = 16),
    -- 0 open, 1 resolved, 2 replayed, 3 discarded
    state smallint NOT NULL,
    -- Whether copies of the record are known by its place alone.
    by_place boolean NOT NULL,
    code text NOT NULL,
    reason text NOT NULL,
    letter bytea NOT NULL,
    bytes bigint NOT NULL,
    record bytea,
    -- What an update is of that came before its delivery.
    delivery bytea
);
CREATE INDEX dead_letters_that_matter ON dead_letters (id) WHERE state = 0 OR (state = 2 AND by_place);
CREATE INDEX dead_letters_that_wait ON dead_letters (delivery)
    WHERE state = 0 AND code = 'DLV-UNKNOWN' AND delivery IS NOT NULL;

-- What is requested of dead letters, until a consumer's handler has been asked: each request has a name that is drawn, and
-- may bring a mended value.
CREATE TABLE requested (
    id bytea PRIMARY KEY CHECK (length(id) = 16),
    request bigint NOT NULL,
    mended bytea
);

-- Events that wait for a relay, each of one key, which is in one of 64 shards; deliveries that were scheduled are elsewhere.
CREATE TABLE outbox (
    event bigint PRIMARY KEY,
    shard smallint NOT NULL,
    -- What an event of a dead letter tells of.
    letter bytea,
    version integer,
    -- The delivery that has moved.
    delivery bytea,
    tidings bytea NOT NULL,
    -- Which of its topics have it already, a bit each.
    told smallint NOT NULL DEFAULT 0,
    at bigint NOT NULL DEFAULT (extract(epoch FROM clock_timestamp()) * 1000)::bigint
);

-- Deliveries that were scheduled, and are to be told: all orders of a position's version. They are of several shards, so
-- the row says for each topic which shards have been told, a bit each; with the last one it goes.
CREATE TABLE scheduled (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic integer NOT NULL,
    partition integer NOT NULL,
    version bigint NOT NULL,
    ledger_rows integer NOT NULL,
    status_told bigint NOT NULL DEFAULT 0,
    customers_told bigint NOT NULL DEFAULT 0,
    at bigint NOT NULL DEFAULT (extract(epoch FROM clock_timestamp()) * 1000)::bigint
) WITH (fillfactor = 70);

-- Relays that are alive, by a name that each draws; and which of them has a shard. The token counts its changes of hands.
CREATE TABLE relays (
    name bytea PRIMARY KEY CHECK (length(name) = 16),
    until bigint NOT NULL
);
CREATE TABLE shards (
    shard smallint PRIMARY KEY CHECK (shard BETWEEN 0 AND 63),
    relay bytea,
    token bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);
INSERT INTO shards (shard) SELECT generate_series(0, 63);
