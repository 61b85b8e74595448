//! Thread-locals: every greenlet has its own, wherever it runs and however it waits.

mod support;

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read, Write};
use std::panic::{catch_unwind, resume_unwind};
use std::ptr;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use greenlet::{Builder, Cancelled, Greenlet, Runtime};
use support::{
    Flag, Wait, at_once, child, go_to_hub, on_hubs, quiet, runtime, watched,
    with_and_without_moves, with_hubs,
};

/// What a greenlet does over its waits, and how many of them do it at once.
const WAITS: usize = 5;
const GREENLETS: usize = 20;

thread_local! {
    static NUMBER: Cell<usize> = const { Cell::new(0) };
    static LAZY: Cell<usize> = Cell::new(forty_two());
    static LIST: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
    static LARGE: Cell<[u64; 512]> = const { Cell::new([3; 512]) };
}

fn forty_two() -> usize {
    std::hint::black_box(41) + 1
}

#[test]
fn every_greenlet_has_a_thread_id_of_its_own() {
    with_and_without_moves(|wait| {
        let ids = Arc::new(Mutex::new(HashSet::from([thread::current().id()])));
        at_once(GREENLETS, {
            let ids = ids.clone();
            move |_| {
                let id = thread::current().id();
                for _ in 0..WAITS {
                    wait.now();
                    assert_eq!(thread::current().id(), id);
                }
                ids.lock().unwrap().insert(id);
            }
        });
        assert_eq!(ids.lock().unwrap().len(), GREENLETS + 1);
    });
}

#[test]
fn every_greenlet_has_values_of_its_own() {
    with_and_without_moves(|wait| {
        NUMBER.set(usize::MAX);
        at_once(GREENLETS, move |n| {
            assert_eq!((NUMBER.get(), LAZY.get()), (0, 42));
            for round in 0..WAITS {
                NUMBER.set(100 * n + round);
                LAZY.set(200 * n + round);
                wait.now();
                assert_eq!(NUMBER.get(), 100 * n + round);
                assert_eq!(LAZY.get(), 200 * n + round);
            }
        });
        assert_eq!(NUMBER.replace(0), usize::MAX);
    });
}

#[repr(align(512))]
struct Aligned(Cell<usize>);

thread_local!(static ALIGNED: Aligned = const { Aligned(Cell::new(7)) });

#[test]
fn large_and_aligned_values_are_as_they_should_be() {
    with_and_without_moves(|wait| {
        at_once(GREENLETS, move |n| {
            assert_eq!(LARGE.get(), [3; 512]);
            LARGE.set([n as u64; 512]);
            ALIGNED.with(|aligned| {
                assert_eq!(ptr::from_ref(aligned).addr() % 512, 0);
                assert_eq!(aligned.0.replace(n), 7);
                wait.now();
                assert_eq!(aligned.0.get(), n);
            });
            assert_eq!(LARGE.get(), [n as u64; 512]);
        });
    });
}

#[test]
fn a_reference_stays_good_over_waits() {
    with_and_without_moves(|wait| {
        at_once(GREENLETS, move |n| {
            NUMBER.with(|number| {
                for round in 0..WAITS {
                    number.set(n + round);
                    wait.now();
                    assert_eq!(NUMBER.get(), n + round);
                    assert!(NUMBER.with(|again| ptr::eq(number, again)));
                }
            });
        });
    });
}

#[test]
fn a_borrow_lasts_over_waits() {
    with_and_without_moves(|wait| {
        at_once(GREENLETS, move |n| {
            for round in 0..WAITS {
                LIST.with_borrow_mut(|list| {
                    wait.now();
                    list.push(100 * n + round);
                    assert!(LIST.with(|list| list.try_borrow().is_err()));
                });
                LIST.with_borrow(|list| {
                    wait.now();
                    assert_eq!(list.last(), Some(&(100 * n + round)));
                });
            }
            assert_eq!(LIST.take().len(), WAITS);
        });
    });
}

thread_local! {
    /// How `SLOW` waits when it is made.
    static WAIT: Cell<Option<Wait>> = const { Cell::new(None) };
    static SLOW: (usize, thread::ThreadId) = {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let wait = WAIT.get().expect("it was set");
        wait.now();
        let made = MADE.fetch_add(1, SeqCst);
        wait.now();
        (made, thread::current().id())
    };
}

#[test]
fn an_initialiser_may_wait() {
    with_and_without_moves(|wait| {
        let made = Arc::new(Mutex::new(HashSet::new()));
        at_once(GREENLETS, {
            let made = made.clone();
            move |_| {
                WAIT.set(Some(wait));
                let (number, id) = SLOW.with(|slow| *slow);
                assert_eq!(id, thread::current().id());
                assert_eq!(SLOW.with(|slow| slow.0), number);
                made.lock().unwrap().insert(number);
            }
        });
        assert_eq!(made.lock().unwrap().len(), GREENLETS);
    });
}

#[test]
fn a_lazy_cell_may_be_filled_over_a_wait() {
    thread_local!(static FILLED: OnceCell<usize> = const { OnceCell::new() });

    with_and_without_moves(|wait| {
        at_once(GREENLETS, move |n| {
            let fill = || {
                wait.now();
                n
            };
            assert_eq!(FILLED.with(|cell| *cell.get_or_init(fill)), n);
            assert_eq!(FILLED.with(|cell| cell.get().copied()), Some(n));
        });
    });
}

/// What crates like scoped-tls do: a pointer that is set for a scope and put back after it.
mod scoped {
    use std::cell::Cell;
    use std::ptr;

    thread_local!(static POINTER: Cell<*const String> = const { Cell::new(ptr::null()) });

    struct PutBack(*const String);

    impl Drop for PutBack {
        fn drop(&mut self) {
            POINTER.set(self.0);
        }
    }

    pub(crate) fn set<R>(value: &String, f: impl FnOnce() -> R) -> R {
        let _back = PutBack(POINTER.replace(value));
        f()
    }

    pub(crate) fn get() -> Option<String> {
        // SAFETY: not null only inside of `set`, which has the reference.
        unsafe { POINTER.get().as_ref() }.cloned()
    }
}

#[test]
fn scoped_pointers_may_be_put_back_in_any_order() {
    with_and_without_moves(|wait| {
        at_once(GREENLETS, move |n| {
            assert_eq!(scoped::get(), None);
            scoped::set(&format!("outer {n}"), || {
                // As many as its number says, so that the ends come in another order.
                (0..n % 4).for_each(|_| wait.now());
                scoped::set(&format!("inner {n}"), || {
                    wait.now();
                    assert_eq!(scoped::get(), Some(format!("inner {n}")));
                });
                wait.now();
                assert_eq!(scoped::get(), Some(format!("outer {n}")));
            });
            assert_eq!(scoped::get(), None);
        });
    });
}

#[test]
fn the_lock_of_stdout_is_the_greenlets_that_holds_it() {
    with_and_without_moves(|wait| {
        let others = at_once_in_background(GREENLETS, move |_| wait.now());
        for _ in 0..WAITS {
            let mut outer = io::stdout().lock();
            wait.now();
            // It is re-entrant for its owner, wherever that is by now.
            let mut inner = io::stdout().lock();
            wait.now();
            inner.flush().unwrap();
            drop(inner);
            wait.now();
            outer.flush().unwrap();
        }
        others.join().unwrap();
    });
}

fn at_once_in_background(
    count: usize,
    body: impl Fn(usize) + Send + Sync + 'static,
) -> greenlet::JoinHandle<()> {
    greenlet::spawn(move || at_once(count, body))
}

#[test]
fn a_guard_of_a_std_mutex_may_be_held_over_a_wait_and_dropped_elsewhere() {
    with_and_without_moves(|wait| {
        at_once(GREENLETS, move |n| {
            let mutex = Mutex::new(n);
            let mut guard = mutex.lock().unwrap();
            wait.now();
            *guard += 1;
            assert!(mutex.try_lock().is_err());
            drop(guard);
            assert_eq!(*mutex.lock().unwrap(), n + 1);
        });
    });
}

#[test]
fn hash_maps_work_over_waits() {
    with_and_without_moves(|wait| {
        let hashes = Arc::new(Mutex::new(HashSet::new()));
        at_once(GREENLETS, {
            let hashes = hashes.clone();
            move |n| {
                let mut map = HashMap::new();
                for round in 0..100 {
                    map.insert(format!("{n} {round}"), round);
                    if round % 25 == 0 {
                        wait.now();
                    }
                }
                assert!((0..100).all(|round| map[&format!("{n} {round}")] == round));
                hashes
                    .lock()
                    .unwrap()
                    .insert(RandomState::new().hash_one(0));
            }
        });
        // The keys are taken from the kernel once a greenlet.
        assert_eq!(hashes.lock().unwrap().len(), GREENLETS);
    });
}

/// Waits when it is dropped, and looks whether the greenlet is still taken to unwind.
struct WaitsInDrop {
    wait: Wait,
    dropped: Arc<AtomicUsize>,
}

impl Drop for WaitsInDrop {
    fn drop(&mut self) {
        for _ in 0..WAITS {
            assert!(thread::panicking());
            self.wait.now();
        }
        assert!(thread::panicking());
        // A panic that is caught in here ends the outer one not.
        let inner = catch_unwind(|| quiet::panic(7)).unwrap_err();
        assert!(quiet::is(&*inner, 7));
        assert!(thread::panicking());
        self.dropped.fetch_add(1, SeqCst);
    }
}

#[test]
fn panics_are_caught_while_other_greenlets_unwind() {
    quiet::install();
    with_and_without_moves(|wait| {
        let dropped = Arc::new(AtomicUsize::new(0));
        let unwinding: Vec<_> = (0..GREENLETS)
            .map(|n| {
                let guard = WaitsInDrop {
                    wait,
                    dropped: dropped.clone(),
                };
                greenlet::spawn(move || {
                    let _guard = guard;
                    quiet::panic(n)
                })
            })
            .collect();
        at_once(GREENLETS, move |n| {
            for round in 0..WAITS {
                assert!(!thread::panicking());
                let payload = catch_unwind(|| {
                    wait.now();
                    quiet::panic(100 * n + round)
                });
                assert!(quiet::is(&*payload.unwrap_err(), 100 * n + round));
                assert!(!thread::panicking());
                wait.now();
            }
        });
        for (n, greenlet) in unwinding.into_iter().enumerate() {
            let result: thread::Result<()> = greenlet.join();
            assert!(quiet::is(&*result.unwrap_err(), n));
        }
        assert_eq!(dropped.load(SeqCst), GREENLETS);
        assert!(!thread::panicking());
    });
}

#[test]
fn a_drop_that_unwinds_may_sleep_join_and_do_io() {
    struct Talks {
        server: std::net::SocketAddr,
        wait: Wait,
    }

    impl Drop for Talks {
        fn drop(&mut self) {
            let id = thread::current().id();
            assert!(thread::panicking());
            greenlet::sleep(Duration::from_millis(1));
            self.wait.now();
            let mut stream = greenlet::net::TcpStream::connect(self.server).unwrap();
            self.wait.now();
            stream.write_all(b"ping").unwrap();
            self.wait.now();
            let mut answer = [0; 4];
            stream.read_exact(&mut answer).unwrap();
            assert_eq!(&answer, b"pong");
            self.wait.now();
            let joined = greenlet::spawn(thread::panicking).join().unwrap();
            assert!(!joined);
            self.wait.now();
            assert!(thread::panicking());
            assert_eq!(thread::current().id(), id);
        }
    }

    quiet::install();
    with_and_without_moves(|wait| {
        let listener = greenlet::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let serving = greenlet::spawn(move || {
            for _ in 0..WAITS {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = [0; 4];
                stream.read_exact(&mut request).unwrap();
                assert_eq!(&request, b"ping");
                stream.write_all(b"pong").unwrap();
            }
        });
        let talking: Vec<greenlet::JoinHandle<()>> = (0..WAITS)
            .map(|n| {
                greenlet::spawn(move || {
                    let _talks = Talks { server: addr, wait };
                    quiet::panic(n)
                })
            })
            .collect();
        for (n, greenlet) in talking.into_iter().enumerate() {
            assert!(quiet::is(&*greenlet.join().unwrap_err(), n));
        }
        serving.join().unwrap();
    });
}

/// Counts the destructors that have run to their end.
struct Destructor {
    wait: Wait,
    run: Arc<AtomicUsize>,
}

impl Drop for Destructor {
    fn drop(&mut self) {
        let id = thread::current().id();
        self.wait.now();
        // Others can still be used in there, and are still the greenlet's.
        NUMBER.with(|number| {
            number.set(5);
            self.wait.now();
            assert_eq!(NUMBER.get(), 5);
        });
        assert_eq!(thread::current().id(), id);
        self.run.fetch_add(1, SeqCst);
    }
}

thread_local! {
    static FIRST: RefCell<Option<Destructor>> = const { RefCell::new(None) };
    static SECOND: RefCell<Option<Destructor>> = const { RefCell::new(None) };
}

#[test]
fn destructors_run_before_the_join_returns_and_may_wait() {
    with_and_without_moves(|wait| {
        let run = Arc::new(AtomicUsize::new(0));
        for number in 1..WAITS {
            let destructors = [(); 2].map(|()| Destructor {
                wait,
                run: run.clone(),
            });
            let set = move || {
                let [first, second] = destructors;
                FIRST.set(Some(first));
                SECOND.set(Some(second));
            };
            greenlet::spawn(set).join().unwrap();
            assert_eq!(run.load(SeqCst), 2 * number);
        }
    });
}

#[test]
fn destructors_run_after_a_panic() {
    with_and_without_moves(|wait| {
        let run = Arc::new(AtomicUsize::new(0));
        let destructor = Destructor {
            wait,
            run: run.clone(),
        };
        let panicking = greenlet::spawn(move || {
            FIRST.set(Some(destructor));
            resume_unwind(Box::new("own"))
        });
        let result: thread::Result<()> = panicking.join();
        assert_eq!(result.unwrap_err().downcast_ref(), Some(&"own"));
        assert_eq!(run.load(SeqCst), 1);
    });
}

/// The wait of a destructor is past what can be unwound: it used to abort the process.
#[test]
fn destructors_that_wait_finish_when_the_greenlet_was_cancelled() {
    let _watchdog = watched();
    for hubs in [1, 2, 8] {
        let run = Arc::new(AtomicUsize::new(0));
        let runtime = runtime(hubs);
        let started = Arc::new(Flag::default());
        let destructor = Destructor {
            wait: Wait::Anyhow,
            run: run.clone(),
        };
        let cancelled = runtime.spawn({
            let started = started.clone();
            move || {
                FIRST.set(Some(destructor));
                started.raise();
                loop {
                    greenlet::park();
                }
            }
        });
        started.wait();
        drop(runtime);
        let result: thread::Result<()> = cancelled.join();
        assert!(result.unwrap_err().is::<Cancelled>());
        assert_eq!(run.load(SeqCst), 1);
    }
}

thread_local!(static COUNTED: RefCell<Vec<Arc<()>>> = const { RefCell::new(Vec::new()) });

#[test]
fn what_thread_locals_own_is_dropped_at_the_end() {
    with_and_without_moves(|wait| {
        let owned = Arc::new(());
        at_once(GREENLETS, {
            let owned = owned.clone();
            move |_| {
                assert_eq!(COUNTED.with_borrow(Vec::len), 0);
                COUNTED.with_borrow_mut(|list| list.push(owned.clone()));
                wait.now();
                assert_eq!(COUNTED.with_borrow(Vec::len), 1);
            }
        });
        assert_eq!(Arc::strong_count(&owned), 1);
    });
}

#[test]
fn a_stack_that_is_used_again_has_fresh_thread_locals() {
    on_hubs(|_| {
        for n in 1..500 {
            let run = move || {
                let seen = (
                    NUMBER.get(),
                    LAZY.get(),
                    LIST.take(),
                    errno(),
                    LARGE.get()[511],
                );
                assert_eq!(seen, (0, 42, Vec::new(), 0, 3));
                NUMBER.set(n);
                LAZY.set(n);
                LIST.set(vec![n]);
                set_errno(n as i32);
                LARGE.set([n as u64; 512]);
            };
            greenlet::spawn(run).join().unwrap();
        }
    });
}

#[test]
fn a_plain_threads_thread_locals_stay_what_they_were() {
    let _watchdog = watched();
    NUMBER.set(6);
    for hubs in [1, 2, 8] {
        let id = thread::current().id();
        runtime(hubs).run(|| {
            assert_eq!(NUMBER.get(), 0);
            NUMBER.set(1);
            assert_ne!(thread::current().id(), id);
            // And a thread that a greenlet starts has its own, too.
            assert_eq!(thread::spawn(|| NUMBER.get()).join().unwrap(), 0);
        });
        assert_eq!(NUMBER.get(), 6);
        assert_eq!(thread::current().id(), id);
    }
}

fn errno() -> i32 {
    // SAFETY: the C library answers with this thread's place.
    unsafe { *libc::__errno_location() }
}

fn set_errno(value: i32) {
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = value };
}

/// Looks whether `errno` is what it was set to before a wait. A lock on the way that is contended
/// asks the kernel, which may leave `EAGAIN`; but nothing of another greenlet's, and not often.
#[derive(Default)]
struct KeptErrno {
    looks: AtomicUsize,
    contended: AtomicUsize,
}

impl KeptErrno {
    #[track_caller]
    fn look(&self, value: i32) {
        let found = errno();
        self.looks.fetch_add(1, SeqCst);
        if found != value {
            assert_eq!(found, libc::EAGAIN, "instead of {value}");
            self.contended.fetch_add(1, SeqCst);
        }
    }

    /// In the end.
    fn assert_rarely_contended(&self) {
        let (looks, contended) = (self.looks.load(SeqCst), self.contended.load(SeqCst));
        assert!(
            contended <= looks / 20,
            "EAGAIN after {contended} of {looks} waits"
        );
    }
}

#[test]
fn errno_is_the_greenlets_over_waits() {
    with_and_without_moves(|wait| {
        let kept = Arc::new(KeptErrno::default());
        at_once(GREENLETS, {
            let kept = kept.clone();
            move |n| {
                let value = 1000 + n as i32;
                for round in 0..WAITS as i32 {
                    set_errno(value + round);
                    greenlet::yield_now();
                    assert_eq!(errno(), value + round);
                    wait.now();
                    kept.look(value + round);
                    let error = io::Error::last_os_error().raw_os_error();
                    assert_eq!(error, Some(errno()));
                }
            }
        });
        kept.assert_rarely_contended();
    });
}

/// Memory of many sizes, with a number written all over it.
fn allocate(n: usize) -> Vec<Vec<usize>> {
    (0..12).map(|power| vec![n; (1 << power) + n % 7]).collect()
}

fn check(memory: &[Vec<usize>], n: usize) {
    assert!(memory.iter().flatten().all(|number| *number == n));
}

#[test]
fn memory_may_be_freed_on_another_hub_than_the_one_it_is_from() {
    with_and_without_moves(|wait| {
        at_once(GREENLETS, move |n| {
            for round in 0..WAITS {
                let mut memory = allocate(n + round);
                wait.now();
                check(&memory, n + round);
                // Grown here, freed there.
                memory
                    .iter_mut()
                    .for_each(|part| part.extend_from_within(..));
                wait.now();
                check(&memory, n + round);
            }
        });
    });
}

#[test]
fn memory_may_be_freed_by_another_greenlet_on_another_hub() {
    on_hubs(|hubs| {
        for hub in 0..hubs {
            let allocating = Builder::new()
                .hub(hub)
                .spawn(move || (0..20).map(allocate).collect::<Vec<_>>());
            let memory = allocating.unwrap().join().unwrap();
            let freeing = Builder::new().hub((hub + 1) % hubs).spawn(move || {
                memory
                    .iter()
                    .enumerate()
                    .for_each(|(n, part)| check(part, n));
            });
            freeing.unwrap().join().unwrap();
        }
    });
}

/// Wakes whoever asks, until the flag says that nobody will.
fn wake_all_that_ask(asking: &Mutex<Vec<Greenlet>>, over: &AtomicBool) {
    while !over.load(SeqCst) {
        let asked = std::mem::take(&mut *asking.lock().unwrap());
        asked.iter().for_each(Greenlet::unpark);
        // Something for malloc, and for others to steal.
        drop(greenlet::spawn(|| {
            drop(std::hint::black_box(vec![0u8; 100]))
        }));
        greenlet::yield_now();
    }
}

#[test]
fn ten_thousand_parks_under_stealing_change_nothing() {
    const PARKS: usize = 10_000;

    on_hubs(|hubs| {
        let (asking, over) = <(Arc<Mutex<Vec<Greenlet>>>, Arc<AtomicBool>)>::default();
        let waking: Vec<_> = (0..3)
            .map(|_| {
                let (asking, over) = (asking.clone(), over.clone());
                greenlet::spawn(move || wake_all_that_ask(&asking, &over))
            })
            .collect();
        let parking = greenlet::spawn(move || {
            let me = (greenlet::current(), thread::current().id());
            let (mut seen, kept) = (HashSet::new(), KeptErrno::default());
            let mut memory = VecDeque::from(vec![vec![0; 10]; 20]);
            LIST.with_borrow_mut(|list| {
                for round in 0..PARKS {
                    NUMBER.set(round);
                    asking.lock().unwrap().push(me.0.clone());
                    // After the test's own lock, which is often contended.
                    set_errno(round as i32);
                    greenlet::park();
                    kept.look(round as i32);
                    assert_eq!(NUMBER.get(), round);
                    set_errno(-(round as i32));
                    greenlet::yield_now();
                    assert_eq!(errno(), -(round as i32));
                    assert_eq!(thread::current().id(), me.1);
                    seen.insert(greenlet::hub_id());
                    memory.push_back(vec![round; round % 50]);
                    let before = memory.pop_front().unwrap();
                    assert!(before.iter().all(|number| *number == before[0]));
                    if round % 100 == 0 {
                        list.push(round);
                        go_to_hub(round / 100 % hubs);
                    }
                }
                assert_eq!(list.len(), PARKS / 100);
                kept.assert_rarely_contended();
            });
            over.store(true, SeqCst);
            seen.len()
        });
        let seen = parking.join().unwrap();
        waking
            .into_iter()
            .for_each(|greenlet| greenlet.join().unwrap());
        assert!(hubs == 1 || seen > 1, "it has not moved");
        if hubs > 1 {
            assert!(greenlet::stats().unwrap().steals > 0);
        }
    });
}

thread_local! {
    /// Whether a handler of a signal is at work, under these thread-locals.
    static HANDLING: Cell<bool> = const { Cell::new(false) };
}

static HANDLED: AtomicUsize = AtomicUsize::new(0);

extern "C" fn handle(_: libc::c_int) {
    let error = errno();
    HANDLING.set(true);
    // Time for another hub to run the greenlet whose thread-locals these are, if it could.
    let began = Instant::now();
    while began.elapsed() < Duration::from_micros(20) {}
    if !HANDLING.replace(false) || errno() != error {
        std::process::abort();
    }
    HANDLED.fetch_add(1, SeqCst);
}

/// Runs `body` while a thread sends a signal to all hubs of the runtime, over and over.
fn under_signals(runtime: &Runtime, signals: usize, body: impl Fn(&AtomicBool) + Sync) {
    // SAFETY: `gettid` takes nothing.
    let number_of = |hub| Builder::new().hub(hub).spawn(|| unsafe { libc::gettid() });
    let hubs: Vec<_> = (0..runtime.hubs())
        .map(|hub| runtime.run(|| number_of(hub).unwrap().join().unwrap()))
        .collect();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let (until, began) = (HANDLED.load(SeqCst) + signals, Instant::now());
            for hub in hubs.iter().cycle() {
                // SAFETY: a thread of this process, and its handler is there.
                let sent = unsafe { libc::tgkill(libc::getpid(), *hub, libc::SIGUSR2) };
                assert_eq!(sent, 0);
                thread::sleep(Duration::from_micros(20));
                // A busy machine handles few of them.
                if HANDLED.load(SeqCst) >= until || began.elapsed() > Duration::from_secs(10) {
                    break;
                }
            }
            over.store(true, SeqCst);
        });
        runtime.run(|| body(&over));
    });
}

/// Also of one that comes between two greenlets.
#[test]
fn a_signals_handler_has_its_thread_locals_to_itself() {
    let test = "a_signals_handler_has_its_thread_locals_to_itself";
    child::passes(test, &[], || {
        // SAFETY: the handler uses a constant thread-local, the clock and atomics.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = handle as *const () as usize;
            action.sa_flags = libc::SA_RESTART | libc::SA_ONSTACK;
            libc::sigaction(libc::SIGUSR2, &action, ptr::null_mut());
        }
        with_hubs(|runtime| {
            under_signals(runtime, 2_000, |over| {
                greenlet::thread::scope(|scope| {
                    for n in 0..2 * runtime.hubs() {
                        scope.spawn(move || {
                            while !over.load(SeqCst) {
                                for _ in 0..20 {
                                    assert!(!HANDLING.get());
                                    set_errno(n as i32);
                                    greenlet::yield_now();
                                    assert_eq!(errno(), n as i32);
                                }
                                // Its hub may have nothing to run then, and steals.
                                greenlet::sleep(Duration::from_micros(10));
                            }
                        });
                    }
                });
            });
        });
    });
}
