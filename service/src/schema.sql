-- The service's own tables. What it is asked to ship, when, and whom to tell.

CREATE TABLE IF NOT EXISTS stock (
    product text PRIMARY KEY,
    pieces bigint NOT NULL CHECK (pieces >= 0)
);

CREATE TABLE IF NOT EXISTS days (
    day date PRIMARY KEY,
    deliveries integer NOT NULL CHECK (deliveries <= 100)
);

CREATE TABLE IF NOT EXISTS deliveries (
    delivery text PRIMARY KEY,
    order_id text NOT NULL,
    product text NOT NULL,
    quantity bigint NOT NULL,
    day date NOT NULL REFERENCES days
);

-- Sent by whoever sends, with the delivery as the key that makes it one.
CREATE TABLE IF NOT EXISTS notifications (
    delivery text PRIMARY KEY REFERENCES deliveries,
    email text,
    sent boolean NOT NULL DEFAULT false
);
