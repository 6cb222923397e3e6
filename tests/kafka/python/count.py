"""Counts orders independently of us, with librdkafka: count.py BOOTSTRAP TOPIC. Each identity counts once, whatever the log
repeats. It prints how many records and orders there are, and for each product the number of its orders and their quantity.

count.py - : the same of rows on stdin, one JSON object a line, as `orders deliveries --json` prints them.
"""

import json
import sys

PATIENCE = 60


def from_topic(bootstrap, topic):
    """Identity, product and quantity of each record."""
    from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

    settings = {"bootstrap.servers": bootstrap, "group.id": "count", "enable.auto.commit": False}
    consumer = Consumer({**settings, "check.crcs": True, "enable.partition.eof": False})
    partitions = consumer.list_topics(topic, PATIENCE).topics[topic].partitions
    left = {}
    for partition in partitions:
        low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), PATIENCE)
        assert low == 0, (partition, low)
        if high:
            left[partition] = high
    consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in left])
    while left:
        messages = consumer.consume(10_000, PATIENCE)
        assert messages, f"nothing comes, and this is left: {left}"
        for message in messages:
            assert not message.error(), message.error()
            order = json.loads(message.value())
            identity = [value for name, value in message.headers() if name == "idempotency-key"]
            assert len(identity) == 1, identity
            yield identity[0].decode(), order["product_id"], order["quantity"]
            # The last record has the last offset: there are no transactions here.
            if left.get(message.partition()) == message.offset() + 1:
                del left[message.partition()]
    consumer.close()


def from_rows():
    for line in sys.stdin:
        row = json.loads(line)
        yield row["delivery_id"], row["product_id"], row["quantity"]


def is_new(seen, identity):
    """Numbered identities are bits of their source, so that millions of them fit."""
    source, _, number = identity.rpartition(":")
    if not number.isdecimal():
        source, number = identity, "0"
    bits = seen.setdefault(source, bytearray())
    byte, bit = divmod(int(number), 8)
    if byte >= len(bits):
        bits.extend(bytes(byte + 1 - len(bits) + 4096))
    new = not bits[byte] >> bit & 1
    bits[byte] |= 1 << bit
    return new


seen, products, records, orders = {}, {}, 0, 0
for identity, product, quantity in from_rows() if sys.argv[1] == "-" else from_topic(*sys.argv[1:3]):
    records += 1
    if is_new(seen, identity):
        orders += 1
        count = products.setdefault(product, [0, 0])
        count[0] += 1
        count[1] += quantity
print(json.dumps({"records": records, "orders": orders, "products": products}))
