"""A member that reads and commits until SIGTERM: reader.py BOOTSTRAP CLIENT TOPIC GROUP STRATEGY.

CLIENT is kafka-python, librdkafka or librdkafka-848; STRATEGY is range or cooperative-sticky. It prints {"owns": [partition]}
when its share changes, and {"partition": number, "offset": number} for each record.
"""

import json
import signal
import sys

bootstrap, client, topic, group, strategy = sys.argv[1:6]
running = True


def stop(*_):
    global running
    running = False


def tell(**line):
    print(json.dumps(line), flush=True)


def kafka_python():
    from kafka import KafkaConsumer

    settings = {"bootstrap_servers": bootstrap, "group_id": group, "client_id": client}
    settings |= {"session_timeout_ms": 6000, "heartbeat_interval_ms": 500, "auto_offset_reset": "earliest"}
    consumer = KafkaConsumer(topic, enable_auto_commit=False, **settings)
    owned = None
    while running:
        for records in consumer.poll(100).values():
            for record in records:
                tell(partition=record.partition, offset=record.offset)
            consumer.commit()
        share = sorted(one.partition for one in consumer.assignment())
        if share != owned:
            owned = share
            tell(owns=owned)
    consumer.close()


def librdkafka(protocol):
    from confluent_kafka import Consumer

    settings = {"bootstrap.servers": bootstrap, "group.id": group, "client.id": client, "group.protocol": protocol}
    if protocol == "classic":
        settings |= {"session.timeout.ms": 6000, "heartbeat.interval.ms": 500}
        settings |= {"partition.assignment.strategy": strategy}
    consumer = Consumer({**settings, "auto.offset.reset": "earliest", "enable.auto.commit": False})
    consumer.subscribe([topic])
    owned = None
    while running:
        for message in consumer.consume(100, 0.1):
            assert not message.error(), message.error()
            tell(partition=message.partition(), offset=message.offset())
            consumer.commit(message, asynchronous=False)
        share = sorted(one.partition for one in consumer.assignment())
        if share != owned:
            owned = share
            tell(owns=owned)
    consumer.close()


signal.signal(signal.SIGTERM, stop)
if client == "kafka-python":
    kafka_python()
else:
    librdkafka("consumer" if client == "librdkafka-848" else "classic")
