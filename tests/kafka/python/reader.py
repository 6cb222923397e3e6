"""A member that reads and commits until SIGTERM: reader.py BOOTSTRAP CLIENT TOPIC GROUP STRATEGY.

CLIENT is kafka-python, librdkafka or librdkafka-848; STRATEGY is range or cooperative-sticky. It prints {"owns": [partition]}
when its share changes, and {"partition": number, "offset": number, "begun": time, "ended": time} for each record, in
microseconds since 1970.
"""

import json
import signal
import sys
import time

bootstrap, client, topic, group, strategy = sys.argv[1:6]
running = True

MOVES_ON = ["ILLEGAL_GENERATION", "REBALANCE_IN_PROGRESS", "UNKNOWN_MEMBER_ID", "STALE_MEMBER_EPOCH"]


def stop(*_):
    global running
    running = False


def tell(**line):
    print(json.dumps(line), flush=True)


def tell_record(partition, offset):
    now = time.time_ns() // 1000
    tell(partition=partition, offset=offset, begun=now, ended=now)


def kafka_python():
    from commits import committed
    from kafka import KafkaConsumer

    settings = {"bootstrap_servers": bootstrap, "group_id": group, "client_id": client}
    settings |= {"session_timeout_ms": 6000, "heartbeat_interval_ms": 500, "auto_offset_reset": "earliest"}
    consumer = KafkaConsumer(topic, enable_auto_commit=False, **settings)
    owned = None
    while running:
        for records in consumer.poll(100).values():
            for record in records:
                tell_record(record.partition, record.offset)
            committed(consumer)
        share = sorted(one.partition for one in consumer.assignment())
        if share != owned:
            owned = share
            tell(owns=owned)
    consumer.close()


def librdkafka(protocol):
    from confluent_kafka import Consumer, KafkaException

    settings = {"bootstrap.servers": bootstrap, "group.id": group, "client.id": client, "group.protocol": protocol}
    if protocol == "classic":
        settings |= {"session.timeout.ms": 6000, "heartbeat.interval.ms": 500}
        settings |= {"partition.assignment.strategy": strategy}
    consumer = Consumer({**settings, "auto.offset.reset": "earliest", "enable.auto.commit": False})
    consumer.subscribe([topic])
    owned = None
    while running:
        messages = consumer.consume(100, 0.1)
        for message in messages:
            assert not message.error(), message.error()
            tell_record(message.partition(), message.offset())
        if messages:
            try:
                consumer.commit(asynchronous=False)
            except KafkaException as error:
                # The group moves on meanwhile: whoever has the partition then is given the records again.
                assert error.args[0].name() in MOVES_ON, error
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
