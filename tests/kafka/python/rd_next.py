"""Reads COUNT records with two librdkafka members of one KIP-848 group, of which one then leaves and the other takes over:
rd_next.py BOOTSTRAP TOPIC GROUP COUNT."""

import json
import sys
import time

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, ConsumerGroupType
from confluent_kafka.admin import AdminClient

bootstrap, topic, group, count = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])


def member(**more):
    settings = {
        "bootstrap.servers": bootstrap,
        "group.id": group,
        "group.protocol": "consumer",
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
    }
    one = Consumer({**settings, **more})
    one.subscribe([topic])
    return one


def read(members, until):
    seen = 0
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not until(seen):
        for one in members:
            for message in one.consume(100, 0.1):
                assert not message.error(), message.error()
                seen += 1
            if one.assignment():
                try:
                    one.commit(asynchronous=False)
                except Exception as error:  # nothing to commit
                    assert "No offset" in str(error), error
    return seen


def share(one):
    return len(one.assignment())


first = member()
seen = read([first], lambda seen: seen >= count)
second = member(**{"group.instance.id": "second"})
members = [first, second]
read(members, lambda _: share(first) and share(second))
shares = sorted(share(one) for one in members)
admin = AdminClient({"bootstrap.servers": bootstrap})
told = admin.describe_consumer_groups([group], request_timeout=20)[group].result(20)
kinds = admin.list_consumer_groups(types={ConsumerGroupType.CONSUMER}).result(20)
second.close()
# A static member that closes is expected back: it keeps its part.
kept = share(first)
third = member(**{"group.instance.id": "second"})
read([first, third], lambda _: share(third))
back = share(third)
first.close()
read([third], lambda _: share(third) == kept + back)
alone = share(third)
partitions = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])[group].result(20)
committed = sum(one.offset for one in partitions.topic_partitions if one.offset > 0)
third.close()
print(
    json.dumps(
        {
            "seen": seen,
            "shares": shares,
            "state": told.state.name,
            "members": len(told.members),
            "described": sorted(len(one.assignment.topic_partitions) for one in told.members),
            "listed": [one.group_id for one in kinds.valid],
            "kept": kept,
            "back": back,
            "alone": alone,
            "committed": committed,
        }
    )
)
