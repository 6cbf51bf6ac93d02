"""A complete subscriber to one golden topic, with a stock client. Copy it and put your own table in place of `Store`.

What every subscriber owes, and where it stands here:
  the highest revision of a key wins, of a deleted key too      Store.apply
  `data` null is a delete; the null value after it is clean-up  Subscriber.take
  a symbol or field that a newer schema brings is no surprise   READER_SCHEMA: your own copy of the schema
  stored first, committed then                                  Subscriber.run
  only what was committed is read, from the beginning on        settings()

Settings are environment variables; README.md in the folder above lists them. Ends by itself on SIGTERM and SIGINT.
"""

import datetime
import decimal
import json
import os
import signal
import sqlite3
import sys
import uuid

from confluent_kafka import Consumer, KafkaError, KafkaException
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext


def text_of(name):
    """The text of the file that a variable names: secrets never stand in the environment."""
    path = os.environ.get(name)
    if not path:
        return None
    with open(path, encoding="utf-8") as file:
        return file.read().rstrip("\r\n")


def settings(until_end):
    """What the broker must know. Only `group.id` is ours to choose, within the granted prefix."""
    known = {
        "bootstrap.servers": os.environ["BROKERS"],
        "group.id": os.environ["GROUP"],
        "auto.offset.reset": "earliest",  # compacted: the beginning holds the full current state
        "isolation.level": "read_committed",  # golden topics are written in transactions
        "enable.auto.commit": False,
        "enable.partition.eof": until_end,
    }
    secured = os.environ.get("KAFKA_CA_FILE")
    user = os.environ.get("KAFKA_USERNAME")
    if secured:
        known["ssl.ca.location"] = secured
    if os.environ.get("KAFKA_CERTIFICATE_FILE"):
        known["ssl.certificate.location"] = os.environ["KAFKA_CERTIFICATE_FILE"]
        known["ssl.key.location"] = os.environ["KAFKA_KEY_FILE"]
    if user:
        known["sasl.mechanism"] = os.environ.get("KAFKA_MECHANISM", "SCRAM-SHA-512")
        known["sasl.username"] = user
        known["sasl.password"] = text_of("KAFKA_PASSWORD_FILE")
    if secured or user:
        known["security.protocol"] = ("SASL_" if user else "") + ("SSL" if secured else "PLAINTEXT")
    return known


def registry():
    known = {"url": os.environ["REGISTRY"]}
    if os.environ.get("REGISTRY_CA_FILE"):
        known["ssl.ca.location"] = os.environ["REGISTRY_CA_FILE"]
    if os.environ.get("REGISTRY_USERNAME"):
        known["basic.auth.user.info"] = f"{os.environ['REGISTRY_USERNAME']}:{text_of('REGISTRY_PASSWORD_FILE')}"
    return SchemaRegistryClient(known)


def plain(value):
    """Avro's logical types as text: nothing is rounded."""
    if isinstance(value, dict):
        return {name: plain(part) for name, part in value.items()}
    if isinstance(value, list):
        return [plain(part) for part in value]
    if isinstance(value, decimal.Decimal):
        return format(value, "f")
    if isinstance(value, datetime.datetime):
        return value.astimezone(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    if isinstance(value, (datetime.date, uuid.UUID)):
        return str(value)
    if isinstance(value, bytes):
        return value.hex()
    return value


class Store:
    """Your database: one row per key, with the revision beside the data."""

    def __init__(self, file):
        self.database = sqlite3.connect(file)
        self.database.execute("create table if not exists golden (key text primary key, revision integer not null, data text)")

    def apply(self, key, revision, data):
        """Keeps the row of a deleted key with its revision: without it, an older record could bring the key back."""
        self.database.execute(
            "insert into golden values (?, ?, ?) on conflict (key) do update"
            " set revision = excluded.revision, data = excluded.data where excluded.revision > golden.revision",
            (key, revision, None if data is None else json.dumps(plain(data), ensure_ascii=False)),
        )

    def keep(self):
        self.database.commit()

    def state(self):
        rows = self.database.execute("select key, revision, data from golden order by key")
        return {key: {"revision": revision, "data": data and json.loads(data)} for key, revision, data in rows}


class Subscriber:
    def __init__(self):
        self.topic = os.environ.get("TOPIC", "mdm.golden.item")
        self.until_end = bool(os.environ.get("UNTIL_END"))
        self.decode = AvroDeserializer(registry(), text_of("READER_SCHEMA"))
        self.store = Store(os.environ.get("STORE", "golden.sqlite"))
        self.consumer = Consumer(settings(self.until_end))
        self.assigned = set()
        self.ended = set()
        self.running = True
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, self.stop)

    def stop(self, *_):
        self.running = False

    def run(self):
        self.consumer.subscribe([self.topic], on_assign=self.assign, on_revoke=self.revoke)
        while self.running and not (self.until_end and self.assigned and self.assigned == self.ended):
            took = [message for message in self.consumer.consume(500, timeout=1.0) if self.take(message)]
            if took:
                self.store.keep()  # the effect, durable, ...
                self.consumer.commit(asynchronous=False)  # ... and only then the position
        self.consumer.close()

    def take(self, message):
        if message.error():
            if message.error().code() == KafkaError._PARTITION_EOF:
                self.ended.add(message.partition())
                return False
            raise KafkaException(message.error())
        if message.value() is None:
            return True  # tombstone: clean-up of a delete that came before it
        record = self.decode(message.value(), SerializationContext(self.topic, MessageField.VALUE))
        # The key is plain UTF-8, for example 4711/C; the headers (ce_type, ce_subject, ...) tell most without decoding.
        self.store.apply(message.key().decode(), record["meta"]["revision"], record["data"])
        return True

    def assign(self, _, partitions):
        self.assigned |= {partition.partition for partition in partitions}

    def revoke(self, _, partitions):
        gone = {partition.partition for partition in partitions}
        self.assigned -= gone
        self.ended -= gone


if __name__ == "__main__":
    subscriber = Subscriber()
    subscriber.run()
    json.dump(subscriber.store.state(), sys.stdout, ensure_ascii=False, sort_keys=True)
    print()
