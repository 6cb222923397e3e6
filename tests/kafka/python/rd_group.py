"""Reads COUNT records with librdkafka in one group and says what the group is told as: rd_group.py BOOTSTRAP TOPIC GROUP COUNT."""

import json
import sys
import time

from confluent_kafka import Consumer
from confluent_kafka.admin import AdminClient

bootstrap, topic, group, count = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
settings = {"bootstrap.servers": bootstrap, "group.id": group, "auto.offset.reset": "earliest"}
consumer = Consumer({**settings, "enable.auto.commit": False})
consumer.subscribe([topic])
seen = 0
deadline = time.monotonic() + 60
while time.monotonic() < deadline and seen < count:
    for message in consumer.consume(100, 0.5):
        assert not message.error(), message.error()
        seen += 1
consumer.commit(asynchronous=False)
admin = AdminClient({"bootstrap.servers": bootstrap})
listed = admin.list_consumer_groups().result(20)
assert not listed.errors, listed.errors
committed = sum(one.offset for one in consumer.committed(consumer.assignment(), timeout=20))
consumer.close()
print(json.dumps({"seen": seen, "listed": [one.group_id for one in listed.valid], "committed": committed}))
