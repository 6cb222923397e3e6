"""Reads COUNT records with two members of one group and says what the group is told as: group.py BOOTSTRAP TOPIC GROUP COUNT."""

import json
import sys
import time

from commits import committed
from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition

bootstrap, topic, group, count = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])


def member():
    return KafkaConsumer(
        topic,
        bootstrap_servers=bootstrap,
        group_id=group,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )


def position_of_the_group():
    partitions = [TopicPartition(topic, index) for index in members[0].partitions_for_topic(topic)]
    return sum(members[0].committed(one) or 0 for one in partitions)


members = [member(), member()]
seen, position = 0, 0
deadline = time.monotonic() + 60
while time.monotonic() < deadline and (position < count or not all(one.assignment() for one in members)):
    for one in members:
        seen += sum(len(records) for records in one.poll(timeout_ms=200).values())
        committed(one)
    position = position_of_the_group()
listed = [one["group_id"] for one in KafkaAdminClient(bootstrap_servers=bootstrap).list_groups()]
shares = sorted(len(one.assignment()) for one in members)
for one in members:
    one.close()
print(json.dumps({"seen": seen, "shares": shares, "listed": listed, "committed": position}))
