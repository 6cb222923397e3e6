"""Writes stdin's lines, `key<TAB>value`, with librdkafka in small transactions of two producers at once, many of them
aborted at first: transactions.py BOOTSTRAP TOPIC SEED. In the end each line is committed once."""

import json
import random
import sys
import uuid

from confluent_kafka import Producer

CHUNK = 40

bootstrap, topic, seed = sys.argv[1:4]
chance = random.Random(int(seed))


def producer():
    made = Producer({"bootstrap.servers": bootstrap, "transactional.id": str(uuid.uuid4()), "linger.ms": 5})
    made.init_transactions(60)
    return made


def write(producer, lines):
    producer.begin_transaction()
    for line in lines:
        key, value = line.split("\t", 1)
        producer.produce(topic, key=key.encode(), value=value.encode())
    producer.flush(60)


lines = sys.stdin.read().splitlines()
chunks = [lines[at : at + CHUNK] for at in range(0, len(lines), CHUNK)]
producers = [producer(), producer()]
aborted = 0
while chunks:
    # Both are open at the same time, so that the log has them interleaved.
    opened = [(each, chunks.pop()) for each in producers if chunks]
    for each, chunk in opened:
        write(each, chunk)
    chance.shuffle(opened)
    for each, chunk in opened:
        if chance.random() < 0.5:
            each.commit_transaction(60)
        else:
            each.abort_transaction(60)
            aborted += 1
            chunks.append(chunk)
print(json.dumps({"sent": len(lines), "aborted": aborted}))
