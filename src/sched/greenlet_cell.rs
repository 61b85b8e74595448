//! The control block of a greenlet.

use std::any::Any;
use std::cell::UnsafeCell;
use std::fmt;
use std::mem;
use std::panic::Location;
use std::ptr::{self, NonNull};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicPtr, AtomicU16, AtomicU32};

use corosensei::{Coroutine, Yielder};

use super::cell::{Cell, CellRef, Id};
use super::current;
use super::ground::GreenletGround;
use super::hub::Hub;
use super::join::JoinSlot;
use super::park::Handoff;
use super::registry::Links;
use super::shared::Shared;
use crate::arch::{self, FloatControl};
use crate::stack::Ground;
use crate::waker::Header;

/// The coroutine of a greenlet: a hub goes in at each resume, a [`Handoff`] comes out.
pub(super) type GreenletCoroutine = Coroutine<*const Hub, Handoff, (), Ground>;
pub(super) type GreenletYielder = Yielder<*const Hub, Handoff>;

/// The number of a hub, in as few bytes as there can be hubs for.
pub(super) type HubNumber = u16;

/// `pinned` of a greenlet that may run on any hub.
const ANYWHERE: HubNumber = HubNumber::MAX;

/// `Run::hub` of a greenlet that has not run yet.
const NOWHERE: HubNumber = HubNumber::MAX;

// Every byte counts a million times.
// A model's is larger.
const _: () = assert!(cfg!(loom) || size_of::<GreenletCell>() <= 224);

/// When a greenlet became ready is kept in units of 64 ticks, some tens of nanoseconds: so there is room for a minute.
const READY_UNIT: u32 = 6;

/// What has to be known of a greenlet's closure and result, whose types only `body.rs` knows.
#[derive(Debug)]
pub(super) struct BodyTable {
    /// Runs the closure and stores the result, or the panic.
    ///
    /// # Safety
    ///
    /// Called once, on the greenlet.
    pub(super) run: unsafe fn(NonNull<GreenletCell>),
    /// Drops the closure instead and stores the payload as a panic.
    ///
    /// # Safety
    ///
    /// Called once, instead of `run`.
    pub(super) fail: unsafe fn(NonNull<GreenletCell>, Box<dyn Any + Send>),
    /// Moves the result to `out`, which points to a `std::thread::Result<T>`.
    ///
    /// # Safety
    ///
    /// The greenlet has ended, the caller owns the result, and `out` is writable.
    pub(super) take: unsafe fn(NonNull<GreenletCell>, out: *mut ()),
    /// Drops the result.
    ///
    /// # Safety
    ///
    /// The greenlet has run, and the caller owns the result.
    pub(super) drop_result: unsafe fn(NonNull<GreenletCell>),
}

/// A greenlet. Behind it, in the same allocation, lie its closure and its result.
///
/// The greenlet itself owns one reference, from its spawn to its end; run queues hold plain
/// pointers and live on that one.
#[repr(C)]
pub(crate) struct GreenletCell {
    /// Must be the first field: a pointer to it is a pointer to all.
    cell: Cell,
    /// The hub that it must run on, or `ANYWHERE`. Written at spawn, and once more by the hub
    /// that starts a greenlet which shares that worker's thread-locals.
    pinned: AtomicU16,
    /// How often it was switched in while that was recorded. Written by who has the right to run it, read
    /// by anybody.
    runs: AtomicU16,
    /// When it became ready to run, while that was recorded; otherwise 0. In units of [`READY_UNIT`] ticks,
    /// wrapping. Written and read by who has the right to run it.
    ready_at: AtomicU32,
    /// Its slot has two to the power of this many bytes.
    slot_class: u8,
    /// How its floating-point arithmetic is set, from its start on. For who may use `run`.
    pub(super) float_control: UnsafeCell<FloatControl>,
    /// Valid while the greenlet is alive: a runtime ends after its last greenlet.
    shared: *const Shared,
    /// For who has the right to run it (the holder of the [`Runnable`]), and the greenlet itself
    /// while it runs. Beside `pinned` to `shared`, which a wake touches: so a wake and a switch touch few cache lines.
    pub(super) run: UnsafeCell<Run>,
    /// The number of the greenlet that has spawned it; 0 if none has.
    parent: u64,
    pub(super) body: &'static BodyTable,
    pub(super) join: JoinSlot,
    /// Used by the hub that started it only; see `Registry`.
    pub(super) links: UnsafeCell<Links>,
}

/// The part of a greenlet that exists from its start to its end. What every switch uses comes
/// first.
#[repr(C)]
pub(super) struct Run {
    /// Its own thread pointer; 0 if it shares its worker's.
    pub(super) thread_pointer: usize,
    /// On its stack, while it is started.
    pub(super) yielder: *const GreenletYielder,
    /// Where it left the CPU to wait, on its stack; null before that, and when it has left to yield. Written by the greenlet, read by
    /// anybody; what it points to may have gone.
    pub(super) left_at: AtomicPtr<LeftAt>,
    /// Inside `on_thread_stack`, where it cannot park.
    pub(super) off_stack: bool,
    /// What it does now cannot be unwound, so its waits are shielded: its closure is through, and
    /// what is left is its result that nobody wants and the thread-locals' destructors; or it drops
    /// another greenlet's result.
    pub(super) closing: bool,
    /// The hub that it ran on last.
    pub(super) hub: HubNumber,
    /// The hub that started it, in whose registry it is.
    pub(super) home: HubNumber,
    /// The hub in whose wheel `timer` is.
    pub(super) timer_hub: HubNumber,
    pub(super) coroutine: Option<GreenletCoroutine>,
    /// The timer of the present park.
    pub(super) timer: Option<crate::timer::Key>,
    pub(super) ground: Option<GreenletGround>,
}

/// Where a greenlet has left the CPU to wait: what unwinding its stack starts from.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LeftAt {
    pub(super) program_counter: usize,
    pub(super) stack_pointer: usize,
    pub(super) frame_pointer: usize,
}

impl LeftAt {
    /// The place that this is called at.
    #[inline(always)]
    pub(super) fn here() -> Self {
        let registers = arch::registers_here();
        Self {
            program_counter: registers.program_counter,
            stack_pointer: registers.stack_pointer,
            frame_pointer: registers.frame_pointer.unwrap_or(0),
        }
    }
}

// SAFETY: `links`, `run` and the body have one owner at a time, as their comments say; `shared`
// points to something Sync; the closure and the result are Send (`body.rs` asks for that).
unsafe impl Send for GreenletCell {}
// SAFETY: as above.
unsafe impl Sync for GreenletCell {}

impl GreenletCell {
    /// Where debuggers find what.
    pub(super) const PARENT: usize = mem::offset_of!(Self, parent);
    pub(super) const JOIN_STATE: usize = mem::offset_of!(Self, join) + JoinSlot::STATE;
    pub(super) const NEXT: usize = mem::offset_of!(Self, links) + Links::NEXT;
    pub(super) const LEFT_AT: usize = mem::offset_of!(Self, run) + mem::offset_of!(Run, left_at);

    pub(super) fn new(
        header: Header,
        id: Id,
        spawn: SpawnOptions,
        shared: *const Shared,
        body: &'static BodyTable,
    ) -> Self {
        Self {
            cell: Cell::new(header, id, spawn.name, spawn.spawned_at),
            shared,
            slot_class: spawn.slot_size.trailing_zeros() as u8,
            pinned: AtomicU16::new(spawn.hub.map_or(ANYWHERE, hub_number)),
            runs: AtomicU16::new(0),
            ready_at: AtomicU32::new(0),
            float_control: UnsafeCell::new(FloatControl::default()),
            parent: current::get()
                .greenlet()
                .map_or(0, |greenlet| greenlet.cell.id().number()),
            body,
            join: JoinSlot::new(),
            links: UnsafeCell::new(Links::new()),
            run: UnsafeCell::new(Run {
                coroutine: None,
                ground: spawn.ground,
                thread_pointer: 0,
                hub: NOWHERE,
                home: NOWHERE,
                timer_hub: NOWHERE,
                yielder: ptr::null(),
                left_at: AtomicPtr::new(ptr::null_mut()),
                timer: None,
                off_stack: false,
                closing: false,
            }),
        }
    }

    #[inline]
    pub(crate) fn cell(&self) -> &Cell {
        &self.cell
    }

    #[inline]
    pub(crate) fn header(&self) -> &Header {
        self.cell.header()
    }

    pub(super) fn name(&self) -> Option<&str> {
        self.cell.name()
    }

    #[inline]
    pub(super) fn shared(&self) -> *const Shared {
        self.shared
    }

    /// The greenlet that has spawned it.
    pub(super) fn parent(&self) -> Option<Id> {
        (self.parent != 0).then(|| Id::new(self.parent))
    }

    /// The address of the [`LeftAt`] of when it left the CPU to wait; 0 if it never has, or has left it to yield
    /// since. There is none any more once it runs again.
    pub(super) fn left_at(&self) -> usize {
        // SAFETY: alive, as `&self` shows, and an atomic, so it does not matter who uses the rest.
        unsafe { (*self.run.get()).left_at.load(Relaxed) }.addr()
    }

    /// The size of its slot; that of a slot is a power of two.
    pub(super) fn slot_size(&self) -> usize {
        1 << self.slot_class
    }

    /// The hub that it must run on.
    #[inline]
    pub(super) fn pinned(&self) -> Option<usize> {
        // Relaxed: written before the greenlet is handed on, which orders it.
        let hub = self.pinned.load(Relaxed);
        (hub != ANYWHERE).then_some(hub.into())
    }

    /// How often it was switched in while that was recorded, modulo 65,536.
    pub(super) fn runs(&self) -> u16 {
        self.runs.load(Relaxed)
    }

    /// It is ready to run, since this moment of the clock of events; 0 if that is not known. By who has the
    /// right to run it.
    #[inline]
    pub(super) fn set_ready_at(&self, ticks: u64) {
        self.ready_at.store((ticks >> READY_UNIT) as u32, Relaxed);
    }

    /// Whether it was recorded that it became ready to run. By who is about to run it.
    #[inline]
    pub(super) fn has_ready_at(&self) -> bool {
        self.ready_at.load(Relaxed) != 0
    }

    /// For how many ticks it had been ready at this moment, about, if that was recorded. By who is about to run it.
    #[inline]
    pub(super) fn take_ready(&self, now: u64) -> Option<u64> {
        let since = self.ready_at.load(Relaxed);
        self.ready_at.store(0, Relaxed);
        let units = ((now >> READY_UNIT) as u32).wrapping_sub(since);
        // The clock of the hub that has woken it may be a little ahead.
        let units = if units > u32::MAX / 2 { 0 } else { units };
        (since != 0).then_some(u64::from(units) << READY_UNIT)
    }

    /// One run more. By who is about to run it.
    pub(super) fn begin_run(&self) {
        self.runs.store(self.runs().wrapping_add(1), Relaxed);
    }

    pub(super) fn pin(&self, hub: usize) {
        self.pinned.store(hub_number(hub), Relaxed);
    }

    /// See [`Header::cancel`]. Called while the greenlet's runtime is there.
    pub(super) fn cancel(&self) {
        let _alive = self.handle();
        // SAFETY: the runtime is alive (caller).
        let committed = || unsafe { (*self.shared).await_commit(self) };
        // SAFETY: a reference was taken above.
        unsafe { Header::cancel(NonNull::from(self).cast(), committed) };
    }

    /// A reference for a handle.
    pub(super) fn handle(&self) -> CellRef {
        // SAFETY: alive, as `&self` shows; the cell is the first field.
        unsafe { CellRef::retain(NonNull::from(self).cast()) }
    }
}

/// A runtime has 1,024 hubs at the most.
#[inline]
pub(super) fn hub_number(index: usize) -> HubNumber {
    debug_assert!(index < usize::from(ANYWHERE));
    index as HubNumber
}

impl fmt::Debug for GreenletCell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GreenletCell")
            .field("cell", &self.cell)
            .finish_non_exhaustive()
    }
}

/// How a greenlet is to be spawned.
#[derive(Debug)]
pub(crate) struct SpawnOptions {
    pub(crate) name: Option<Box<str>>,
    pub(crate) spawned_at: &'static Location<'static>,
    pub(crate) slot_size: usize,
    pub(crate) hub: Option<usize>,
    /// A stack that was reserved for it.
    pub(crate) ground: Option<GreenletGround>,
}

impl SpawnOptions {
    /// No name, any hub, and a stack when it first runs.
    #[inline]
    pub(crate) fn new(slot_size: usize, spawned_at: &'static Location<'static>) -> Self {
        Self {
            name: None,
            spawned_at,
            slot_size,
            hub: None,
            ground: None,
        }
    }
}

/// The right to run a greenlet: there is one, in a queue or on its way from one to another.
#[derive(Debug)]
pub(crate) struct Runnable(NonNull<GreenletCell>);

// SAFETY: a greenlet may be run by any hub; the value is the only right to it.
unsafe impl Send for Runnable {}

impl Runnable {
    /// # Safety
    ///
    /// The greenlet is alive, and the caller has the right to run it and gives it up.
    #[inline]
    pub(super) unsafe fn new(cell: NonNull<GreenletCell>) -> Self {
        Self(cell)
    }

    #[inline]
    pub(super) fn into_cell(self) -> NonNull<GreenletCell> {
        self.0
    }

    #[inline]
    pub(super) fn cell(&self) -> &GreenletCell {
        // SAFETY: alive: it has not run to its end.
        unsafe { self.0.as_ref() }
    }

    /// Whether it has run before, or is about to.
    #[inline]
    pub(super) fn is_started(&self) -> bool {
        // SAFETY: `self` is the right to run it, so `run` is the caller's.
        unsafe { (*self.cell().run.get()).coroutine.is_some() }
    }
}
