"""A commit of kafka-python that says whether it was made."""

from kafka.errors import CommitFailedError, RebalanceInProgressError


def committed(consumer):
    """Commits what the consumer has read; False while its group moves on, when its next poll joins again.

    kafka-python refuses a commit by itself between the end of one membership and the beginning of the next.
    Whoever has the partitions then is given the records again.
    """
    try:
        consumer.commit()
    except (CommitFailedError, RebalanceInProgressError):
        return False
    return True
