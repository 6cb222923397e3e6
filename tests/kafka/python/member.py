"""A member that reads COUNT records, commits, reads no more and stays: member.py BOOTSTRAP CLIENT TOPIC GROUP COUNT.

CLIENT is kafka-python, librdkafka or librdkafka-848. A line {"member": ...} says that it has committed.
"""

import json
import sys

bootstrap, client, topic, group, count = sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4], int(sys.argv[5])


def kafka_python():
    from commits import committed
    from kafka import KafkaConsumer

    settings = {"bootstrap_servers": bootstrap, "group_id": group, "auto_offset_reset": "earliest"}
    settings |= {"session_timeout_ms": 6000, "heartbeat_interval_ms": 1000}
    consumer = KafkaConsumer(topic, enable_auto_commit=False, **settings)
    done = False
    while not done:
        seen = 0
        while seen < count or not consumer.assignment():
            seen += sum(len(records) for records in consumer.poll(200, max_records=max(1, count - seen)).values())
        done = committed(consumer)
    consumer.pause(*consumer.assignment())
    print(json.dumps({"member": client}), flush=True)
    while True:
        consumer.poll(200)


def librdkafka(protocol):
    from confluent_kafka import Consumer

    settings = {"bootstrap.servers": bootstrap, "group.id": group, "auto.offset.reset": "earliest"}
    if protocol == "classic":
        settings |= {"session.timeout.ms": 6000}
    consumer = Consumer({**settings, "group.protocol": protocol, "enable.auto.commit": False})
    consumer.subscribe([topic])
    seen = 0
    while seen < count or not consumer.assignment():
        if seen < count:
            seen += len([one for one in consumer.consume(count - seen, 0.2) if not one.error()])
        else:
            # Until the assignment is there; nothing is read.
            consumer.poll(0.2)
    if count:
        consumer.commit(asynchronous=False)
    consumer.pause(consumer.assignment())
    print(json.dumps({"member": client}), flush=True)
    while True:
        consumer.poll(0.2)


if client == "kafka-python":
    kafka_python()
else:
    librdkafka("consumer" if client == "librdkafka-848" else "classic")
