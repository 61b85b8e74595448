"""Reads a Perfetto trace with the classes that Perfetto publishes: no field is unknown to them.

    python check_fields.py TRACE

Prints how many packets there are of each kind, as JSON.
"""

import collections
import json
import sys

from google.protobuf.unknown_fields import UnknownFieldSet
from perfetto.protos.perfetto.trace import perfetto_trace_pb2


def check(message, path):
    for field in UnknownFieldSet(message):
        sys.exit(f"{path}: field {field.field_number} is not known")
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        values = [value] if hasattr(value, "ListFields") else value
        for part in values:
            check(part, f"{path}.{field.name}")


trace = perfetto_trace_pb2.Trace()
with open(sys.argv[1], "rb") as file:
    trace.ParseFromString(file.read())
kinds = collections.Counter()
for packet in trace.packet:
    check(packet, "packet")
    kinds[packet.WhichOneof("data")] += 1
print(json.dumps(kinds))
