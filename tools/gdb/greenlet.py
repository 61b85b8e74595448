"""The greenlets of a program, for gdb: in a live process and in a core file.

    gdb -p PID -x greenlet.py              (or: source greenlet.py)
    gdb PROGRAM CORE -x greenlet.py

    info greenlets          one line for each: what it does, for how long, where it was spawned
    greenlet ID bt          its stack
    greenlet all bt         the stacks of all

Needs the program's symbol table (it must not be stripped), and no debug information of its types; with line tables,
as `debug = 1` gives, the stacks have files and lines. The layout of what is read here is described by the static
GREENLET_DIRECTORY: see src/sched/debugger.rs.

Greenlets that were spawned and have not run yet are not listed.

Core files that the kernel writes have all stacks. Those of gdb's gcore do not where guard pages are no mappings of their
own: then run the program with GREENLET_WITHOUT=guard_install, or look at it alive.
"""

import struct

import gdb
import gdb.unwinder

MAGIC = b"grnltdir"
UNKNOWN = 0xFFFFFFFF

# In the order of their numbers: see src/reason.rs.
REASONS = [
    "park",
    "sleep",
    "join",
    "io-read",
    "io-write",
    "accept",
    "connect",
    "blocking",
    "file-lock",
    "scope",
    "mutex",
    "rwlock-read",
    "rwlock-write",
    "condvar",
    "once",
    "barrier",
    "channel-send",
    "channel-receive",
    "child",
    "signal",
    "stream",
]

# Reasons whose object is an address.
ON_ADDRESS = {
    "mutex",
    "rwlock-read",
    "rwlock-write",
    "condvar",
    "once",
    "barrier",
    "channel-send",
    "channel-receive",
}

# The lists are cut here: a process that is stopped in the middle of a change could have a circle in them.
MOST = 10_000_000

# Frames of a stack that are shown.
FRAMES = 128


def read(address, length):
    return bytes(gdb.selected_inferior().read_memory(address, length))


def word(address):
    return struct.unpack("=Q", read(address, 8))[0]


class Directory:
    """What GREENLET_DIRECTORY says."""

    NUMBERS = [
        "state",
        "parked_bit",
        "id",
        "name",
        "spawned_at",
        "wait",
        "since",
        "since_shift",
        "parent",
        "join_state",
        "ended_bit",
        "next",
        "left_at",
        "file",
        "file_length",
        "line",
        "column",
        "text",
        "text_length",
    ]

    def __init__(self):
        address = self.find()
        magic, version, size, self.hubs, clock = struct.unpack(
            "=8sIIQQ", read(address, 32)
        )
        if magic != MAGIC or version != 1:
            raise gdb.GdbError(
                "the program's greenlets are laid out in a way that this script does not know"
            )
        form = "=%dI" % len(self.NUMBERS)
        if size < 32 + struct.calcsize(form):
            raise gdb.GdbError("the directory of the program's greenlets is cut")
        numbers = struct.unpack(form, read(address + 32, struct.calcsize(form)))
        for name, number in zip(self.NUMBERS, numbers):
            setattr(self, name, number)
        self.now = word(clock) if clock else 0

    @staticmethod
    def find():
        # Rust's expressions know no symbol without debug information.
        before = gdb.parameter("language")
        gdb.execute("set language c", to_string=True)
        try:
            return int(gdb.parse_and_eval("(unsigned long)&GREENLET_DIRECTORY"))
        except gdb.error:
            raise gdb.GdbError(
                "no greenlets: the program has no symbol GREENLET_DIRECTORY (is it stripped?)"
            )
        finally:
            gdb.execute("set language %s" % before, to_string=True)


class Hub:
    """One entry of the list of hubs."""

    def __init__(self, address):
        (
            self.next,
            self.runtime,
            self.first,
            running,
            task,
            self.number,
        ) = struct.unpack("=QQQQQI", read(address, 44))
        self.running = word(running)
        self.thread = struct.unpack("=i", read(task, 4))[0]


class Greenlet:
    """A greenlet that has started and not ended."""

    def __init__(self, address, directory, hubs):
        self.address = address
        self.id = word(address + directory.id)
        self.parent = word(address + directory.parent)
        self.next = word(address + directory.next)
        self.left_at = word(address + directory.left_at)
        self.is_parked = bool(
            word(address + directory.state) & directory.parked_bit
        )
        # One that has ended on another hub than it began on is in the list until its hub wakes.
        joined = read(address + directory.join_state, 1)[0]
        self.has_ended = bool(joined & directory.ended_bit)
        self.name = self.read_name(directory)
        self.place = self.read_place(directory)
        self.hub = next((hub for hub in hubs if hub.running == address), None)
        wait = word(address + directory.wait)
        code, self.object = wait >> 56, wait & ((1 << 56) - 1)
        self.reason = REASONS[code] if code < len(REASONS) else None
        since = struct.unpack("=I", read(address + directory.since, 4))[0]
        units = ((directory.now >> directory.since_shift) - since) & 0xFFFFFFFF
        self.since = 0 if units > 0x7FFFFFFF else units << directory.since_shift

    def read_name(self, directory):
        box = word(self.address + directory.name)
        if box == 0 or UNKNOWN in (directory.text, directory.text_length):
            return None
        text = word(box + directory.text)
        return read(text, word(box + directory.text_length)).decode(
            "utf-8", "replace"
        )

    def read_place(self, directory):
        place = word(self.address + directory.spawned_at)
        if UNKNOWN in (directory.file, directory.file_length):
            return "?"
        name = read(word(place + directory.file), word(place + directory.file_length))
        text = name.rstrip(b"\0").decode("utf-8", "replace")
        for offset in (directory.line, directory.column):
            if offset != UNKNOWN:
                text += ":%d" % struct.unpack("=I", read(place + offset, 4))
        return text

    def state(self):
        if self.hub:
            return "runs on hub %d (thread %d)" % (self.hub.number, self.hub.thread)
        if not self.is_parked:
            return "ready"
        if self.reason is None:
            return "waits"
        text = "waits: " + self.reason
        if self.object != (1 << 56) - 1:
            text += (" 0x%x" if self.reason in ON_ADDRESS else " %d") % self.object
        return text + ", for %d ms" % (self.since // 1_000_000)

    def title(self):
        name = " '%s'" % self.name if self.name is not None else ""
        by = " by %d" % self.parent if self.parent else ""
        return "greenlet %d%s: %s; spawned at %s%s" % (
            self.id,
            name,
            self.state(),
            self.place,
            by,
        )


def all_hubs(directory):
    hubs = []
    address = directory.hubs
    while address and len(hubs) < MOST:
        hub = Hub(address)
        hubs.append(hub)
        address = hub.next
    return sorted(hubs, key=lambda hub: (hub.runtime, hub.number))


def all_greenlets():
    directory = Directory()
    hubs = all_hubs(directory)
    greenlets = []
    for hub in hubs:
        address = word(hub.first)
        while address and len(greenlets) < MOST:
            try:
                greenlet = Greenlet(address, directory, hubs)
            except gdb.MemoryError:
                print("the list of hub %d is cut at 0x%x" % (hub.number, address))
                break
            if not greenlet.has_ended:
                greenlets.append(greenlet)
            address = greenlet.next
    return hubs, sorted(greenlets, key=lambda greenlet: greenlet.id)


class FrameId:
    def __init__(self, sp, pc):
        self.sp = sp
        self.pc = pc


class GreenletUnwinder(gdb.unwinder.Unwinder):
    """Says that the innermost frame of the thread was called from where a greenlet has left the CPU.

    So the greenlet's frames are those from number 1 on. No register is changed, which in a core file could not be.
    """

    REGISTERS = {
        "i386:x86-64": ("rip", "rsp", "rbp"),
        "aarch64": ("pc", "sp", "x29"),
    }

    def __init__(self):
        super().__init__("greenlet")
        self.target = None
        self.innermost = None

    def __call__(self, pending):
        if self.target is None:
            return None
        names = self.REGISTERS.get(pending.architecture().name())
        if names is None:
            return None
        pc, sp, fp = self.target
        # The innermost frame is the first one that is asked about.
        here = int(pending.read_register(names[1]))
        if self.innermost is None:
            self.innermost = here
        if here != self.innermost or here == sp:
            return None
        # Below the frames to come, as a callee's is.
        pointer = pending.read_register(names[1]).type
        lower = FrameId(gdb.Value(sp - 16).cast(pointer), gdb.Value(pc).cast(pointer))
        frame = pending.create_unwind_info(lower)
        for name, value in zip(names, (pc, sp, fp)):
            type_ = pending.read_register(name).type
            frame.add_saved_register(name, gdb.Value(value).cast(type_))
        return frame

    def start(self, target):
        self.target, self.innermost = target, None
        gdb.invalidate_cached_frames()

    def stop(self):
        self.target = None
        gdb.invalidate_cached_frames()


UNWINDER = GreenletUnwinder()


def show_frames(frame):
    number = 0
    while frame is not None and frame.is_valid() and number < FRAMES:
        pc = frame.pc()
        name = frame.name() or "0x%x" % pc
        # The coroutine's own frames are the root of the stack; below them lies the hub's.
        if name.startswith("corosensei::") or name.startswith("stack_init_trampoline"):
            break
        place = frame.find_sal()
        text = "    #%-2d %s" % (number, name)
        if place.symtab is not None:
            text += " at %s:%d" % (place.symtab.filename, place.line)
        else:
            library = gdb.solib_name(pc)
            if library:
                text += " from " + library
        print(text)
        number += 1
        if frame.name() is None and place.symtab is None and not gdb.solib_name(pc):
            # No code, so what is above is none either.
            break
        try:
            frame = frame.older()
        except gdb.error as error:
            print("    (%s)" % error)
            break


def show_parked(greenlet):
    if not greenlet.left_at:
        print("    where it is was not noted: it has yielded, or never left the CPU")
        return
    try:
        target = struct.unpack("=QQQ", read(greenlet.left_at, 24))
    except gdb.MemoryError:
        target = (0, 0, 0)
    if 0 in target[:2]:
        print("    its stack is not in the file; gdb's own gcore leaves out what is near guard pages")
        return
    UNWINDER.start(target)
    try:
        frame = gdb.newest_frame().older()
        if frame is None or frame.pc() != target[0]:
            print("    gdb does not follow its stack")
            return
        show_frames(frame)
    finally:
        UNWINDER.stop()


def show_running(greenlet):
    threads = gdb.selected_inferior().threads()
    thread = next((t for t in threads if t.ptid[1] == greenlet.hub.thread), None)
    if thread is None:
        print("    its thread is not there")
        return
    before = gdb.selected_thread()
    thread.switch()
    try:
        show_frames(gdb.newest_frame())
    finally:
        before.switch()


def show_stack(greenlet):
    print(greenlet.title())
    if greenlet.hub:
        show_running(greenlet)
    else:
        show_parked(greenlet)


class InfoGreenlets(gdb.Command):
    """One line for each greenlet that has started and not ended: what it does, and where it was spawned."""

    def __init__(self):
        super().__init__("info greenlets", gdb.COMMAND_STATUS)

    def invoke(self, argument, from_tty):
        hubs, greenlets = all_greenlets()
        for hub in hubs:
            runs = next((g.id for g in greenlets if g.address == hub.running), None)
            state = "runs greenlet %d" % runs if runs is not None else "runs none"
            print("hub %d (thread %d): %s" % (hub.number, hub.thread, state))
        for greenlet in greenlets:
            print(greenlet.title())
        print("%d greenlets" % len(greenlets))


class GreenletCommand(gdb.Command):
    """greenlet ID bt: the stack of a greenlet. greenlet all bt: the stacks of all."""

    def __init__(self):
        super().__init__("greenlet", gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        words = gdb.string_to_argv(argument)
        if len(words) != 2 or words[1] not in ("bt", "backtrace"):
            raise gdb.GdbError("greenlet ID bt, or: greenlet all bt")
        _, greenlets = all_greenlets()
        if words[0] != "all":
            if not words[0].isdigit():
                raise gdb.GdbError("'%s' is no number of a greenlet" % words[0])
            greenlets = [g for g in greenlets if g.id == int(words[0])]
            if not greenlets:
                raise gdb.GdbError("there is no greenlet %s" % words[0])
        for greenlet in greenlets:
            show_stack(greenlet)


gdb.unwinder.register_unwinder(None, UNWINDER, replace=True)
InfoGreenlets()
GreenletCommand()
