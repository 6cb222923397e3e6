"""Prints COUNT records of a topic from its beginning: consume.py BOOTSTRAP TOPIC COUNT."""

import json
import sys

from kafka import KafkaConsumer

bootstrap, topic, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
consumer = KafkaConsumer(
    topic,
    bootstrap_servers=bootstrap,
    auto_offset_reset="earliest",
    enable_auto_commit=False,
    check_crcs=True,
    consumer_timeout_ms=60_000,
)
seen = 0
for record in consumer:
    print(
        json.dumps(
            {
                "partition": record.partition,
                "offset": record.offset,
                "key": record.key and record.key.decode(),
                "value": record.value and record.value.decode(),
                "headers": {name: value and value.decode() for name, value in record.headers},
                "timestamp": record.timestamp,
            }
        )
    )
    seen += 1
    if seen == count:
        break
consumer.close()
sys.exit(0 if seen == count else 1)
