//! Layer 5: a descriptor that greenlets may wait on. One [`Source`] a descriptor, one retry loop for all.

mod binding;

use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::{Duration, Instant};

use crate::interest::Interest;
use crate::lock::Mutex;
use crate::reason::WaitReason;
use crate::sched;
use crate::sys::socket_option::{self, SocketOption};
use crate::sys::{self, clock};
use crate::waker::Outcome;
use binding::Binding;

/// Between the first two looks of [`Source::retry_after_pauses`], and between later ones.
const FIRST_PAUSE: Duration = Duration::from_micros(50);
const LAST_PAUSE: Duration = Duration::from_millis(5);

/// Owns a descriptor, and registers it with a reactor when somebody has to wait.
///
/// Operations are tried first; only one that would block waits. In a greenlet it parks, on a
/// plain thread it blocks that thread in poll(2).
#[derive(Debug)]
pub(crate) struct Source {
    /// Taken out by `into_fd` and `drop` only.
    fd: ManuallyDrop<OwnedFd>,
    mode: Arc<Mode>,
    binding: Binding,
    /// The count of edges, plus 1, at which a read has left the socket empty; 0 if unknown.
    drained: AtomicUsize,
    /// A short read leaves it empty: TCP, and not datagrams, nor Unix's streams, where a read
    /// also ends at a message with descriptors.
    is_tcp: bool,
}

/// What the user has asked for. All clones of a descriptor share one description, so they share
/// this, too.
#[derive(Debug, Default)]
struct Mode {
    /// The user has asked for `WouldBlock` instead of waiting.
    nonblocking: AtomicBool,
    /// We have set `O_NONBLOCK` for ourselves, and give it back with the descriptor.
    hidden_nonblocking: AtomicBool,
    /// Held while one of the two above changes, with what the kernel is told.
    changing: Mutex<()>,
    /// Time-outs in nanoseconds; 0 for none.
    read_timeout: AtomicU64,
    write_timeout: AtomicU64,
    /// Closes a descriptor whose close(2) may wait.
    close: OnceLock<fn(OwnedFd)>,
}

impl Source {
    /// A TCP socket that was just made: blocking, without time-outs.
    pub(crate) fn new(fd: OwnedFd) -> Self {
        Self::with_mode(fd, Arc::default(), true)
    }

    /// A descriptor of any other kind: blocking, without time-outs, or with a mode that is asked for
    /// when it matters, by [`refresh_mode`](Self::refresh_mode).
    pub(crate) fn plain(fd: OwnedFd) -> Self {
        Self::with_mode(fd, Arc::default(), false)
    }

    /// A descriptor of foreign origin: takes over what is set on it.
    pub(crate) fn adopt(fd: OwnedFd) -> Self {
        let mode = Mode::default();
        mode.nonblocking.store(
            sys::fd::is_nonblocking(fd.as_fd()).unwrap_or(false),
            Relaxed,
        );
        for interest in [Interest::Read, Interest::Write] {
            let timeout = kernel_timeout(fd.as_fd(), interest).ok().flatten();
            mode.timeout(interest)
                .store(to_nanoseconds(timeout), Relaxed);
        }
        let protocol = socket_option::PROTOCOL.get(fd.as_fd());
        let is_tcp = protocol.is_ok_and(|protocol| protocol == libc::IPPROTO_TCP);
        Self::with_mode(fd, Arc::new(mode), is_tcp)
    }

    fn with_mode(fd: OwnedFd, mode: Arc<Mode>, is_tcp: bool) -> Self {
        Self {
            fd: ManuallyDrop::new(fd),
            mode,
            binding: Binding::default(),
            drained: AtomicUsize::new(0),
            is_tcp,
        }
    }

    /// Another descriptor for the same thing, with the same mode.
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        let mode = self.mode.clone();
        Ok(Self::with_mode(self.fd.try_clone()?, mode, self.is_tcp))
    }

    /// The descriptor, out of every reactor and in the blocking mode that the user has seen.
    pub(crate) fn into_fd(self) -> OwnedFd {
        let mut this = ManuallyDrop::new(self);
        this.deregister();
        this.show_mode();
        let this = &mut *this;
        // SAFETY: `this` is not used again as a source: it is neither dropped nor handed out.
        unsafe {
            let fd = ManuallyDrop::take(&mut this.fd);
            std::ptr::drop_in_place(&mut this.mode);
            std::ptr::drop_in_place(&mut this.binding);
            fd
        }
    }

    /// Gives the description the mode that the user has seen all along.
    fn show_mode(&self) {
        let _changing = self.mode.changing.lock();
        if self.mode.hidden_nonblocking.swap(false, Relaxed) {
            // It can only fail for a descriptor that is no longer open, which then shows.
            let _ = sys::fd::set_nonblocking(self.as_fd(), self.is_nonblocking());
        }
    }

    /// Whether the user has asked for `WouldBlock` instead of waiting.
    pub(crate) fn is_nonblocking(&self) -> bool {
        self.mode.nonblocking.load(Relaxed)
    }

    /// Takes over whether the description is non-blocking now: whoever shares it may have changed that.
    pub(crate) fn refresh_mode(&self) -> io::Result<()> {
        let nonblocking = sys::fd::is_nonblocking(self.as_fd())?;
        self.mode.nonblocking.store(nonblocking, Relaxed);
        Ok(())
    }

    /// What the user asks for; set on the description too, for whoever gets the raw descriptor.
    pub(crate) fn set_nonblocking(&self, on: bool) -> io::Result<()> {
        let _changing = self.mode.changing.lock();
        if !self.mode.hidden_nonblocking.load(Relaxed) {
            sys::fd::set_nonblocking(self.as_fd(), on)?;
        }
        self.mode.nonblocking.store(on, Relaxed);
        Ok(())
    }

    /// For calls that have no `MSG_DONTWAIT`, as accept: makes the description non-blocking,
    /// which the user does not see.
    #[inline]
    pub(crate) fn prepare_accept(&self) -> io::Result<()> {
        if self.mode.hidden_nonblocking.load(Relaxed) {
            return Ok(());
        }
        self.prepare_accept_slow()
    }

    #[cold]
    fn prepare_accept_slow(&self) -> io::Result<()> {
        let _changing = self.mode.changing.lock();
        sys::fd::set_nonblocking(self.as_fd(), true)?;
        self.mode.hidden_nonblocking.store(true, Relaxed);
        Ok(())
    }

    /// How long the user lets an operation wait, as the kernel tells it.
    pub(crate) fn timeout(&self, interest: Interest) -> io::Result<Option<Duration>> {
        kernel_timeout(self.as_fd(), interest)
    }

    /// `InvalidInput` for a time-out of zero, as in std.
    pub(crate) fn set_timeout(
        &self,
        interest: Interest,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        if timeout == Some(Duration::ZERO) {
            let message = "cannot set a 0 duration timeout";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        option(interest).set(self.as_fd(), to_timeval(timeout))?;
        self.mode
            .timeout(interest)
            .store(to_nanoseconds(timeout), Relaxed);
        Ok(())
    }

    /// From now on, this and its clones are closed by `close`, as close(2) may wait.
    pub(crate) fn close_by(&self, close: fn(OwnedFd)) {
        let _ = self.mode.close.set(close);
    }

    /// Runs `op`, which must not block, until it answers something else than `WouldBlock`; waits
    /// in between.
    ///
    /// `WouldBlock` (with the OS error `EAGAIN`) when the user's time-out has passed, or when the
    /// user has asked for that.
    #[inline]
    pub(crate) fn retry<T>(
        &self,
        interest: Interest,
        reason: WaitReason,
        op: impl FnMut(BorrowedFd<'_>) -> io::Result<T>,
    ) -> io::Result<T> {
        self.retry_from(None, interest, reason, op)
            .map(|(value, _)| value)
    }

    /// [`retry`](Self::retry) for reading up to `wanted` bytes: after a short read a TCP socket is
    /// empty, so the next read waits without asking.
    #[inline]
    pub(crate) fn retry_read(
        &self,
        wanted: usize,
        op: impl FnMut(BorrowedFd<'_>) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let drained_at = self
            .drained_at()
            .filter(|_| wanted > 0 && !self.is_nonblocking());
        let (length, seen) = self.retry_from(drained_at, Interest::Read, WaitReason::IoRead, op)?;
        let drained = self.is_tcp && 0 < length && length < wanted && !self.may_have_more();
        self.drained
            .store(if drained { seen + 1 } else { 0 }, Relaxed);
        Ok(length)
    }

    /// Waits for an edge after `wait_first`, if that is given; then as [`retry`](Self::retry).
    /// Answers also how many edges had been seen before the operation that succeeded.
    #[inline]
    fn retry_from<T>(
        &self,
        mut wait_first: Option<usize>,
        interest: Interest,
        reason: WaitReason,
        mut op: impl FnMut(BorrowedFd<'_>) -> io::Result<T>,
    ) -> io::Result<(T, usize)> {
        let mut deadline = None;
        loop {
            if let Some(seen) = wait_first.take() {
                self.wait_in_time(interest, reason, seen, &mut deadline)?;
            }
            let seen = self.edges(interest);
            match op(self.as_fd()) {
                Ok(value) => {
                    self.succeeded(interest);
                    return Ok((value, seen));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if self.is_nonblocking() {
                        return Err(error);
                    }
                    wait_first = Some(seen);
                }
                Err(error) => {
                    // An edge may have been spent on this failure, as on an accept's `EMFILE`.
                    self.pass_on(interest);
                    // Who tries again at once must not starve the others.
                    sched::spend_io();
                    return Err(error);
                }
            }
        }
    }

    /// Runs `op` until it is ready, and waits while it is pending; `TimedOut` when `deadline`
    /// passes first. The user's mode and time-outs do not count.
    pub(crate) fn retry_until<T>(
        &self,
        interest: Interest,
        reason: WaitReason,
        deadline: Option<Instant>,
        mut op: impl FnMut(BorrowedFd<'_>) -> Poll<io::Result<T>>,
    ) -> io::Result<T> {
        let deadline = deadline.map(clock::at);
        loop {
            // An edge that comes after this ends the wait, even if `op` has missed its cause.
            let seen = self.edges(interest);
            if let Poll::Ready(answer) = op(self.as_fd()) {
                return answer;
            }
            if !self.wait_from(interest, reason, seen, deadline)? {
                let message = "the deadline has passed";
                return Err(io::Error::new(io::ErrorKind::TimedOut, message));
            }
        }
    }

    /// As [`retry`](Self::retry), for an `op` that answers `WouldBlock` for a reason whose end no
    /// event tells: looks again after pauses, which grow.
    pub(crate) fn retry_after_pauses<T>(
        &self,
        interest: Interest,
        reason: WaitReason,
        mut op: impl FnMut(BorrowedFd<'_>) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut deadline = None;
        let mut pause = FIRST_PAUSE;
        loop {
            match op(self.as_fd()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let deadline = self.deadline(interest, &mut deadline);
                    let is_over = deadline.is_some_and(|deadline| deadline <= clock::now());
                    if self.is_nonblocking() || is_over {
                        return Err(error);
                    }
                    let end = clock::after(pause).min(deadline.unwrap_or(u64::MAX));
                    let wait = reason.on(self.as_fd().as_raw_fd() as u64);
                    if sched::park(wait, Some(end), drop) == Outcome::Cancelled {
                        sched::unwind_cancelled();
                    }
                    pause = (pause * 2).min(LAST_PAUSE);
                }
                answer => {
                    sched::spend_io();
                    return answer;
                }
            }
        }
    }

    /// Every waiter looks again.
    pub(crate) fn wake_all(&self) {
        if let Some(registration) = self.binding.get() {
            registration.wake_all();
        }
    }

    /// The operation went through: others may have their turn, at the descriptor and on the hub.
    #[inline]
    fn succeeded(&self, interest: Interest) {
        self.pass_on(interest);
        sched::spend_io();
    }

    #[inline]
    fn pass_on(&self, interest: Interest) {
        if let Some(registration) = self.binding.get() {
            registration.pass_on(interest);
        }
    }

    #[cold]
    fn wait_in_time(
        &self,
        interest: Interest,
        reason: WaitReason,
        seen: usize,
        deadline: &mut Option<u64>,
    ) -> io::Result<()> {
        let deadline = self.deadline(interest, deadline);
        if self.wait_from(interest, reason, seen, deadline)? {
            Ok(())
        } else {
            Err(io::Error::from_raw_os_error(libc::EAGAIN))
        }
    }

    /// When the user's time-out passes that counts from the first call of this; `deadline` keeps it.
    fn deadline(&self, interest: Interest, deadline: &mut Option<u64>) -> Option<u64> {
        let timeout = self.mode.timeout(interest).load(Relaxed);
        if timeout != 0 && deadline.is_none() {
            *deadline = Some(clock::now().saturating_add(timeout));
        }
        *deadline
    }

    /// Waits for an edge after `seen`. False when the deadline passed first.
    fn wait_from(
        &self,
        interest: Interest,
        reason: WaitReason,
        seen: usize,
        deadline: Option<u64>,
    ) -> io::Result<bool> {
        if !sched::on_greenlet() {
            return self.block_thread(interest, deadline);
        }
        let registration = self.binding.get_or_register(self.as_fd())?;
        let wait = reason.on(self.as_fd().as_raw_fd() as u64);
        let outcome = sched::park(wait, deadline, |waker| {
            registration.arm(interest, seen, waker)
        });
        if outcome != Outcome::Woken
            && let Some((cell, generation)) = sched::last_park()
        {
            registration.disarm(interest, cell, generation);
        }
        match outcome {
            Outcome::Woken => Ok(true),
            Outcome::Deadline => Ok(false),
            Outcome::Cancelled => sched::unwind_cancelled(),
        }
    }

    #[cold]
    fn block_thread(&self, interest: Interest, deadline: Option<u64>) -> io::Result<bool> {
        loop {
            let left = deadline.map(|deadline| deadline.saturating_sub(clock::now()));
            match sys::poll::poll(
                self.as_fd(),
                interest.poll_events(),
                left.map(Duration::from_nanos),
            ) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // A wait of many days is made of several.
                Ok(false) if left != Some(0) => {}
                answer => return answer,
            }
        }
    }

    /// Edges seen in a direction; 0 before there is a registration, as in a fresh one.
    #[inline]
    fn edges(&self, interest: Interest) -> usize {
        self.binding
            .get()
            .map_or(0, |registration| registration.edges(interest))
    }

    /// The count of edges at which a read has left the socket empty, if nothing has come since.
    #[inline]
    fn drained_at(&self) -> Option<usize> {
        let drained = self.drained.load(Relaxed).checked_sub(1)?;
        (drained == self.edges(Interest::Read) && !self.may_have_more()).then_some(drained)
    }

    /// Whether a short read leaves open what comes next; so it does without a registration.
    fn may_have_more(&self) -> bool {
        self.binding
            .get()
            .is_none_or(|registration| registration.may_have_more())
    }

    fn deregister(&self) {
        // The epoll is the parent process's, and would forget the parent's descriptor; and a lock
        // may be held by a thread that is not here.
        if sched::was_forked() {
            return;
        }
        if let Some(registration) = self.binding.get() {
            registration.deregister(self.as_fd());
        }
    }
}

impl AsFd for Source {
    #[inline]
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.deregister();
        // SAFETY: the source is not used after this.
        let fd = unsafe { ManuallyDrop::take(&mut self.fd) };
        match self.mode.close.get() {
            None => drop(fd),
            Some(close) => close(fd),
        }
    }
}

impl Mode {
    fn timeout(&self, interest: Interest) -> &AtomicU64 {
        match interest {
            Interest::Read => &self.read_timeout,
            Interest::Write => &self.write_timeout,
        }
    }
}

fn option(interest: Interest) -> &'static SocketOption<libc::timeval> {
    match interest {
        Interest::Read => &socket_option::READ_TIMEOUT,
        Interest::Write => &socket_option::WRITE_TIMEOUT,
    }
}

fn kernel_timeout(fd: BorrowedFd<'_>, interest: Interest) -> io::Result<Option<Duration>> {
    let value = option(interest).get(fd)?;
    let timeout = Duration::new(value.tv_sec as u64, value.tv_usec as u32 * 1000);
    Ok((!timeout.is_zero()).then_some(timeout))
}

/// As std: zero for none, so a time-out below a microsecond becomes one.
fn to_timeval(timeout: Option<Duration>) -> libc::timeval {
    let Some(timeout) = timeout else {
        return libc::timeval {
            tv_sec: 0,
            tv_usec: 0,
        };
    };
    let tv_sec = libc::time_t::try_from(timeout.as_secs()).unwrap_or(libc::time_t::MAX);
    let micros = libc::suseconds_t::from(timeout.subsec_micros());
    libc::timeval {
        tv_sec,
        tv_usec: if tv_sec == 0 { micros.max(1) } else { micros },
    }
}

fn to_nanoseconds(timeout: Option<Duration>) -> u64 {
    timeout.map_or(0, |timeout| {
        u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX)
    })
}
