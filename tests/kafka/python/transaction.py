"""Writes stdin's lines, `key<TAB>value`, in one transaction, and ends it: transaction.py BOOTSTRAP TOPIC commit|abort."""

import json
import sys
import uuid

from kafka import KafkaProducer

bootstrap, topic, end = sys.argv[1:4]
producer = KafkaProducer(bootstrap_servers=bootstrap, transactional_id=str(uuid.uuid4()), linger_ms=20)
producer.init_transactions()
producer.begin_transaction()
sent = []
for line in sys.stdin:
    key, value = line.rstrip("\n").split("\t", 1)
    sent.append(producer.send(topic, key=key.encode(), value=value.encode()))
producer.flush(timeout=60)
if end == "commit":
    producer.commit_transaction()
else:
    producer.abort_transaction()
print(json.dumps({"sent": len(sent)}))
producer.close()
