"""Writes stdin's lines, `key<TAB>value`, to a topic: produce.py BOOTSTRAP TOPIC CODEC."""

import json
import sys

from kafka import KafkaProducer

bootstrap, topic, codec = sys.argv[1:4]
producer = KafkaProducer(
    bootstrap_servers=bootstrap,
    acks="all",
    linger_ms=50,
    compression_type=None if codec == "none" else codec,
)
sent = []
for line in sys.stdin:
    key, value = line.rstrip("\n").split("\t", 1)
    headers = [("written-by", b"kafka-python")]
    sent.append(producer.send(topic, key=key.encode(), value=value.encode(), headers=headers))
producer.flush(timeout=60)
for record in (future.get(timeout=60) for future in sent):
    print(json.dumps({"partition": record.partition, "offset": record.offset}))
producer.close()
