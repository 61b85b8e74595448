#!/usr/bin/env python3
"""Reads a trace of greenlets, and writes what is in it as JSON.

Follows src/docs/trace_format.md, with Python's standard library. It shares no code with the crate's own reader, so
that what one of them gets wrong is seen by the other.

    independent_reader.py FILE
"""

import json
import re
import struct
import sys

U64 = (1 << 64) - 1
U48 = (1 << 48) - 1
SECOND = 10**9
NO_RING = 65535

EVENTS, TEXTS, FACTS, STATUSES = 1, 2, 3, 4

# By kind: the name, and how many words there must be.
KINDS = {
    1: ("SPAWN", 3),
    2: ("RUN", 1),
    3: ("STOP", 2),
    4: ("WAKE", 2),
    5: ("STATUS", 5),
    6: ("NAME", 2),
    7: ("STEAL", 1),
    8: ("SLEEP", 0),
    9: ("AWAKE", 0),
    10: ("POLL", 1),
    11: ("TIMERS", 1),
    12: ("JOB_BEGIN", 2),
    13: ("JOB_END", 1),
    14: ("LONG_RUN", 4),
    15: ("STACK", 3),
    16: ("SPAN_BEGIN", 2),
    17: ("SPAN_END", 2),
    18: ("COUNTER", 3),
    19: ("MARK", 2),
    20: ("PANIC", 1),
}

SOURCES = {0: "unknown", 2: "reactor", 3: "timer"}


class NotATrace(Exception):
    pass


class Block:
    def __init__(self, words):
        self.content = words[0] >> 32 & 0xFF
        self.ring = words[0] >> 48
        self.length = words[1] & 0xFFFFFFFF
        self.used = words[1] >> 32
        self.sequence = words[2]
        self.first_event = words[3]
        self.base_ticks = words[4]
        self.base_nanos = words[5]
        self.runtime = words[6] & 0xFFFF
        self.hub = words[6] >> 16 & 0xFFFF
        self.greenlets = words[7]
        self.payload = b""


def words_at(data, offset, count):
    return struct.unpack_from("<%dQ" % count, data, offset)


def read_blocks(data, offset):
    """All blocks that are not being made ready."""

    def is_block(offset):
        return data[offset : offset + 4] == b"GBLK" and offset + 64 <= len(data)

    def next_block(offset):
        while offset + 64 <= len(data) and not is_block(offset):
            offset += 8
        return offset if is_block(offset) else len(data)

    blocks = []
    while offset < len(data):
        if not is_block(offset):
            offset = next_block(offset + 8)
            continue
        block = Block(words_at(data, offset, 8))
        end = offset + block.length
        is_zero = data[end : end + 8].strip(b"\0") == b""
        if (
            block.length < 64
            or block.length % 8
            or end > len(data)
            or not (is_block(end) or is_zero)
        ):
            end = next_block(offset + 64)
        if block.sequence != U64:
            block.payload = data[offset + 64 : min(offset + 64 + block.used, end)]
            blocks.append(block)
        offset = end
    return blocks


def events_of(payload, greenlets):
    """The events in a payload: ticks, kind, aux, words. Brief ones as the long ones that say the same."""
    words = words_at(payload, 0, len(payload) // 8)
    at, before, running = 0, 0, None
    while at < len(words):
        head = words[at]
        at += 1
        if head & 0x80:
            ticks = before + (head >> 45)
            kind, aux, given = expand(head, greenlets, running)
        else:
            length = head >> 16 & 0xF
            if at + length > len(words):
                return
            ticks, kind, aux = head >> 20, head & 0xFF, head >> 8 & 0xFF
            given = words[at : at + length]
            at += length
        if kind == 2 and given:
            # No greenlet has the number 0, which damage makes.
            running = given[0] or None
        before = ticks
        yield ticks, kind, aux, given


def expand(word, greenlets, running):
    """A brief event as a long one; of kind 0 if it is not known."""
    kind = word & 0x7F
    life = (greenlets + (word >> 8 & 0x1FFFFF) & U48) << 16 | (word >> 29 & 0xFFFF)
    if kind == 1:
        return 2, 0, (life,)
    if kind == 2 and running is not None:
        small = word >> 16 & 0x1FFFFFFF
        return 3, word >> 8 & 0xFF, (running, (1 << 56) - 1 if small == 0x1FFFFFFF else small)
    if kind == 3:
        return 4, 2, (life, 0)
    if kind == 4:
        return 4, 3 | 1 << 4, (life, 0)
    if kind == 5 and running is not None:
        return 4, 1, (life, running >> 16)
    return 0, 0, ()


def is_known(kind, aux, words):
    if kind not in KINDS or len(words) < KINDS[kind][1]:
        return False
    if kind in (3, 5):
        return aux in (0, 1) or aux >= 16
    if kind == 4:
        return aux >> 4 <= 2
    return True


def clock(header_rate, blocks):
    """What turns ticks into nanoseconds."""
    pairs = [
        (block.base_ticks, block.base_nanos)
        for block in blocks
        if block.content in (EVENTS, STATUSES) and block.base_ticks != 0
    ]
    first, last = min(pairs, default=(0, 0)), max(pairs, default=(0, 0))
    ticks, nanos = last[0] - first[0], max(last[1] - first[1], 0)
    if header_rate == 0:
        if not (ticks and nanos):
            ticks = nanos = SECOND
    else:
        expected = ticks * SECOND // header_rate
        is_short = ticks < header_rate // 10 or ticks == 0
        if is_short or abs(expected - nanos) > expected // 10:
            ticks, nanos = header_rate, SECOND
    return lambda at: min(max(first[1] + (at - first[0]) * nanos // ticks, 0), U64)


def moment(facts, key):
    """The ticks that a fact tells; none where damage made something else of it."""
    text = facts.get(key, "")
    return int(text) if re.fullmatch("[+]?[0-9]{1,40}", text) and int(text) <= U64 else None


def actor(word):
    if word >> 63:
        return "thread %d" % (word & 0xFFFFFFFF)
    return "greenlet %d" % word


def read(data):
    if data[:8] != b"GREENLET" or len(data) < 64:
        raise NotATrace("no trace")
    header = words_at(data, 0, 8)
    if header[1] & 0xFFFF > 1:
        raise NotATrace("too new")
    blocks = read_blocks(data, header[2])
    nanos_at = clock(header[3], blocks)
    facts, texts = {}, {}
    rings = {}
    for block in blocks:
        if block.content == FACTS:
            for line in block.payload.decode("utf-8", "replace").split("\n")[:-1]:
                key, equals, value = line.partition("=")
                if equals:
                    facts[key] = value
        elif block.content == TEXTS:
            at = 0
            while at + 8 <= len(block.payload):
                (word,) = words_at(block.payload, at, 1)
                size = word >> 32
                if at + 8 + size > len(block.payload):
                    break
                text = block.payload[at + 8 : at + 8 + size].decode("utf-8", "replace")
                texts.setdefault(word & 0xFFFFFFFF, text)
                at += 8 + (size + 7) // 8 * 8
        elif block.content == EVENTS:
            known = rings.setdefault(block.ring, {})
            other = known.get(block.sequence)
            if other is None or len(other.payload) < len(block.payload):
                known[block.sequence] = block

    until = moment(facts, "until")
    if until is None:
        until = moment(facts, "through")
    if until is None:
        until = U64

    result = {
        "process": header[1] >> 32,
        "facts": facts,
        "texts": sorted(texts),
        "events": 0,
        "kinds": {},
        "switches": 0,
        "runs": {},
        "run_nanos": {},
        "run_ticks": {},
        "wakes": {},
        "rings": [],
    }

    def count(table, key, by=1):
        table[key] = table.get(key, 0) + by

    for number in sorted(rings):
        in_order = [rings[number][sequence] for sequence in sorted(rings[number])]
        ring = {
            "number": number,
            "runtime": in_order[0].runtime,
            "hub": None if in_order[0].hub == 65535 else in_order[0].hub,
            "events": 0,
            "recorded": 0,
            "overwritten": in_order[0].first_event,
            "lost": 0,
        }
        expected = in_order[0].first_event
        running = None
        for block in in_order:
            if block.first_event > expected:
                ring["lost"] += block.first_event - expected
            events = 0
            for ticks, kind, aux, words in events_of(block.payload, block.greenlets):
                events += 1
                at = min(block.base_ticks + ticks, U64)
                if at > until:
                    continue
                if not is_known(kind, aux, words):
                    count(result["kinds"], "unknown")
                    continue
                count(result["kinds"], KINDS[kind][0])
                ring["events"] += 1
                if kind == 2:
                    result["switches"] += 1
                    count(result["runs"], words[0] >> 16)
                    running = (words[0], at)
                elif kind == 3:
                    if running and running[0] == words[0]:
                        greenlet, began = words[0] >> 16, running[1]
                        count(result["run_ticks"], greenlet, at - began)
                        count(result["run_nanos"], greenlet, nanos_at(at) - nanos_at(began))
                    running = None
                elif kind == 4:
                    source = aux & 0xF
                    by = actor(words[1]) if source == 1 else SOURCES.get(source, "unknown")
                    count(result["wakes"], "%s -> %d" % (by, words[0] >> 16))
            ring["recorded"] += events
            expected = block.first_event + events
        result["events"] += ring["events"]
        result["rings"].append(ring)
    return result


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: independent_reader.py FILE")
    with open(sys.argv[1], "rb") as file:
        data = file.read()
    try:
        json.dump(read(data), sys.stdout, indent=1, sort_keys=True)
    except NotATrace as error:
        sys.exit("%s: %s" % (sys.argv[1], error))


if __name__ == "__main__":
    main()
