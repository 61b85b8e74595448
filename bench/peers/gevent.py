"""gevent, measured as the other peers are: see ../README.md for what the rows mean.

It has one worker only, so a row's time is processor time.

Usage: gevent.py ROW PARAM=VALUE,.. MILLISECONDS
"""

import gc
import os
import random
import socket as plain_socket
import statistics
import sys
import tempfile
from time import perf_counter, process_time

# This file has gevent's name, so its folder must not be searched for it.
sys.path.pop(0)

import gevent  # noqa: E402
from gevent import socket  # noqa: E402
from gevent.event import Event  # noqa: E402
from gevent.lock import BoundedSemaphore  # noqa: E402
from gevent.queue import Queue  # noqa: E402


def main():
    row, params, millis = sys.argv[1:]
    params = {name: int(value) for name, value in (p.split("=") for p in params.split(","))}
    seconds = int(millis) / 1000
    # Nothing here makes cycles; greenlets that are alive would be looked at again and again.
    gc.disable()
    if row == "yield":
        say("yield", yields(params["t"], seconds))
    elif row == "spawn_seq":
        say("spawn_seq", spawn_seq(seconds))
    elif row == "spawn_batch":
        say("spawn_batch", spawn_batch(params["n"], seconds))
    elif row == "timers":
        timers("timers.cold", params["n"])
        timers("timers.warm", params["n"])
    elif row == "idle":
        idle(params["n"])
    elif row == "pingpong":
        say("pingpong", pingpong(seconds))
    elif row == "mpsc":
        say("mpsc", messages(params["cap"], seconds))
    elif row == "mutex":
        say("mutex", mutex(params["t"], seconds))
    elif row == "pread4k":
        say("pread4k", pread4k(seconds))
    elif row in ("echo", "conns"):
        serve()
    else:
        sys.exit(f"{row} is not measured here")
    sys.stdout.flush()
    # Whatever greenlets are still there.
    os._exit(0)


def say(metric, value):
    print(metric, value)


def yields(tasks, seconds):
    """Nanoseconds per yield. Greenlet 0 leads: it tells the others when to count and to stop."""
    phase, arrived, counted, took = "warm-up", 0, 0, 0

    def follow():
        nonlocal arrived, counted
        arrived += 1
        count = 0
        while phase != "stop":
            if phase == "measure":
                count += 1
            gevent.sleep(0)
        counted += count

    def lead():
        nonlocal phase, counted, took
        since = process_time()
        while arrived < tasks - 1 or process_time() - since < seconds / 4:
            gevent.sleep(0)
        phase = "measure"
        since, count = process_time(), 0
        while took < seconds:
            for _ in range(max(1, 256 // tasks)):
                gevent.sleep(0)
                count += 1
            took = process_time() - since
        phase = "stop"
        counted += count

    gevent.joinall([gevent.spawn(lead)] + [gevent.spawn(follow) for _ in range(tasks - 1)])
    return took / counted * 1e9


def spawn_seq(seconds):
    def measure(seconds):
        since, count, took = process_time(), 0, 0
        while took < seconds:
            for _ in range(64):
                gevent.spawn(nothing).join()
            count += 64
            took = process_time() - since
        return took / count * 1e9

    measure(seconds / 4)
    return measure(seconds)


def spawn_batch(tasks, seconds):
    def measure():
        since = process_time()
        for greenlet in [gevent.spawn(nothing) for _ in range(tasks)]:
            greenlet.join()
        return process_time() - since

    measure()
    rounds = []
    while len(rounds) < 3 or sum(rounds) < seconds:
        rounds.append(measure())
    return statistics.median(rounds) / tasks * 1e9


def pingpong(seconds):
    """Nanoseconds of a round trip over two queues."""
    ping, pong = Queue(1), Queue(1)

    def answer():
        while True:
            pong.put(ping.get())

    def trip():
        ping.put(1)
        pong.get()

    gevent.spawn(answer)
    return loop(trip, seconds)


def messages(capacity, seconds):
    """Nanoseconds per message through a queue."""
    queue = Queue(capacity)

    def send():
        while True:
            queue.put(1)

    gevent.spawn(send)
    return loop(queue.get, seconds)


def loop(operation, seconds):
    def measure(seconds):
        since, count, took = process_time(), 0, 0
        while took < seconds:
            for _ in range(256):
                operation()
            count += 256
            took = process_time() - since
        return took / count * 1e9

    measure(seconds / 4)
    return measure(seconds)


def mutex(tasks, seconds):
    """Nanoseconds to lock, add and unlock."""
    lock, number, locks = BoundedSemaphore(1), 0, 5_000

    def add():
        nonlocal number
        for _ in range(locks):
            with lock:
                number += 1

    def measure():
        since = process_time()
        gevent.joinall([gevent.spawn(add) for _ in range(tasks)])
        return process_time() - since

    measure()
    rounds = []
    while len(rounds) < 3 or sum(rounds) < seconds:
        rounds.append(measure())
    return statistics.median(rounds) / (tasks * locks) * 1e9


def nothing():
    pass


def timers(name, tasks):
    numbers = random.Random(1)
    planned = [numbers.randint(1_000, 1_000_000) / 1e6 for _ in range(tasks)]
    late = []

    def sleep(seconds):
        since = perf_counter()
        gevent.sleep(seconds)
        late.append(perf_counter() - since - seconds)

    before = process_time()
    gevent.joinall([gevent.spawn(sleep, seconds) for seconds in planned])
    say(f"{name}.cpu", (process_time() - before) * 1e3)
    late.sort()
    say(f"{name}.late_p50", late[tasks // 2] * 1e6)
    say(f"{name}.late_p99", late[tasks * 99 // 100] * 1e6)


def idle(tasks):
    end, arrived = Event(), 0

    def wait():
        nonlocal arrived
        arrived += 1
        end.wait()

    gevent.spawn(nothing).join()
    before, since = resident(), process_time()
    for _ in range(tasks):
        gevent.spawn(wait)
    while arrived < tasks:
        gevent.sleep(0)
    took = process_time() - since
    say("idle.bytes", (resident() - before) / tasks)
    say("idle.start", took / tasks * 1e9)


def resident():
    """The bytes that this process has in memory, page tables included."""
    with open("/proc/self/status") as status:
        lines = [line.split() for line in status]
    return 1024 * sum(int(line[1]) for line in lines if line[0] in ("VmRSS:", "VmPTE:"))


def pread4k(seconds):
    """Nanoseconds to read 4 KiB at a random offset of a file that is in the page cache, by the
    thread pool that gevent's files use."""
    page, pages = 4096, 16 << 10
    with tempfile.TemporaryFile(buffering=0) as file:
        for _ in range(pages):
            file.write(bytes(page))
        offsets = random.Random(1)
        pool = gevent.get_hub().threadpool

        def measure(seconds):
            since, count, took = process_time(), 0, 0
            while took < seconds:
                for _ in range(64):
                    pool.apply(os.pread, (file.fileno(), page, offsets.randrange(pages) * page))
                count += 64
                took = process_time() - since
            return took / count * 1e9

        measure(seconds / 4)
        return measure(seconds)


def serve():
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(4096)
    print("{}:{}".format(*listener.getsockname()), flush=True)
    while True:
        connection, _ = listener.accept()
        gevent.spawn(echo, connection)


def echo(connection):
    connection.setsockopt(plain_socket.IPPROTO_TCP, plain_socket.TCP_NODELAY, 1)
    try:
        while data := connection.recv(1024):
            connection.sendall(data)
    except OSError:
        pass  # The load generator has gone.


main()
