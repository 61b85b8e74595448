//! One stress test for each protocol: random work on 1, 2 and 8 hubs that checks itself.
//!
//! `GREENLET_STRESS_SECONDS` says how long each of them runs (3), `GREENLET_STRESS_SEED` where the
//! random numbers begin; a test that fails prints its seed. What hangs is ended by the watchdog.

mod support;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::env;
use std::hint;
use std::io::{self, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::str::FromStr;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use greenlet::net::{TcpListener, TcpStream};
use greenlet::{Cancelled, Greenlet, JoinHandle};
use support::watchdog::Watchdog;
use support::{Wait, runtime};

const HUBS: [usize; 3] = [1, 2, 8];

/// xorshift64.
#[derive(Clone)]
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: u64) -> u64 {
        (self.next() >> 11) % limit
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    fn fork(&mut self) -> Self {
        Self::new(self.next())
    }

    fn pause(&mut self) -> Duration {
        Duration::from_micros(self.below(300))
    }

    /// Lets others run in one way or another.
    fn wait(&mut self) {
        match self.below(4) {
            0 => greenlet::sleep(self.pause()),
            1 => greenlet::park_timeout(self.pause()),
            _ => greenlet::yield_now(),
        }
    }
}

fn variable<T: FromStr>(name: &str) -> Option<T> {
    env::var(name).ok()?.parse().ok()
}

/// Runs `round`, which is told the number of hubs, again and again until the time is up.
fn stress(round: impl Fn(usize, &mut Random)) {
    let name = thread::current().name().unwrap_or("stress").to_owned();
    let seconds = variable("GREENLET_STRESS_SECONDS").unwrap_or(3);
    let time = Duration::from_secs(seconds) / HUBS.len() as u32;
    let _watchdog = Watchdog::arm(Duration::from_secs(seconds + 60), &name);
    let seed = variable("GREENLET_STRESS_SEED").unwrap_or_else(|| {
        let since_epoch = std::time::UNIX_EPOCH.elapsed();
        since_epoch.map_or(1, |since| since.as_nanos() as u64)
    });
    println!("GREENLET_STRESS_SEED={seed}");
    for hubs in HUBS {
        let (mut random, start, mut rounds) = (Random::new(seed), Instant::now(), 0);
        while start.elapsed() < time {
            round(hubs, &mut random);
            rounds += 1;
        }
        println!("{name}: {rounds} rounds on {hubs} hubs");
    }
}

/// The answer of a greenlet that may have been cancelled.
fn unless_cancelled<T>(greenlet: JoinHandle<T>) -> Option<T> {
    match greenlet.join() {
        Ok(value) => Some(value),
        Err(payload) if payload.is::<Cancelled>() => None,
        Err(payload) => resume_unwind(payload),
    }
}

/// Everybody sends to everybody, and wakes who has mail; then the runtime is dropped over those
/// who still wait.
#[test]
fn parks_end_by_wakes_deadlines_and_cancellation() {
    const GREENLETS: usize = 12;
    const LETTERS: usize = 50;
    #[derive(Default)]
    struct Box {
        letters: AtomicUsize,
        owner: Mutex<Option<Greenlet>>,
    }
    stress(|hubs, random| {
        let runtime = runtime(hubs);
        let boxes: Arc<Vec<Box>> = Arc::new((0..GREENLETS).map(|_| Box::default()).collect());
        let everybody: Vec<_> = (0..GREENLETS)
            .map(|number| {
                let (boxes, mut random) = (boxes.clone(), random.fork());
                runtime.spawn(move || {
                    let own = &boxes[number];
                    *own.owner.lock().unwrap() = Some(greenlet::current());
                    for letter in 1..=LETTERS {
                        for to in (number + 1..GREENLETS).chain(0..number) {
                            boxes[to].letters.fetch_add(1, SeqCst);
                            let owner = boxes[to].owner.lock().unwrap().clone();
                            owner.as_ref().map(Greenlet::unpark);
                        }
                        // All others' letters of this round.
                        while own.letters.load(SeqCst) < letter * (GREENLETS - 1) {
                            if random.one_in(8) {
                                greenlet::park_timeout(random.pause());
                            } else {
                                greenlet::park();
                            }
                        }
                    }
                })
            })
            .collect();
        everybody.into_iter().for_each(|one| one.join().unwrap());
        let waiting: Vec<_> = (0..GREENLETS)
            .map(|_| {
                let (boxes, mut random) = (boxes.clone(), random.fork());
                runtime.spawn(move || {
                    let _boxes = boxes;
                    loop {
                        if random.one_in(2) {
                            greenlet::park();
                        } else {
                            random.wait();
                        }
                    }
                })
            })
            .collect();
        let wakers: Vec<Greenlet> = waiting.iter().map(|one| one.thread().clone()).collect();
        let waker = thread::spawn(move || wakers.iter().for_each(Greenlet::unpark));
        thread::sleep(random.pause());
        drop(runtime);
        waker.join().unwrap();
        for one in waiting {
            assert_eq!(unless_cancelled::<()>(one), None);
        }
        assert_eq!(Arc::strong_count(&boxes), 1);
    });
}

/// A tree of greenlets, of which some are joined, some left alone, and some panic; the results
/// are all dropped, once. Who was left alone may be cancelled, with all below.
#[test]
fn joins_get_every_result_and_the_others_are_dropped() {
    fn grow(depth: usize, mut random: Random, kept: Arc<()>) -> (u64, Arc<()>) {
        let mut sum = 1;
        for _ in 0..if depth == 0 { 0 } else { random.below(5) } {
            let (theirs, their_kept) = (random.fork(), kept.clone());
            let child = greenlet::spawn(move || grow(depth - 1, theirs, their_kept));
            match random.below(5) {
                0 => drop(child),
                1 => {
                    while !child.is_finished() {
                        random.wait();
                    }
                    sum += unless_cancelled(child).map_or(0, |grown| grown.0);
                }
                _ => sum += unless_cancelled(child).map_or(0, |grown| grown.0),
            }
            if random.one_in(4) {
                let lost = kept.clone();
                let panicked = greenlet::spawn(move || -> Arc<()> {
                    greenlet::yield_now();
                    resume_unwind(std::boxed::Box::new(lost))
                });
                let payload = panicked.join().unwrap_err();
                assert!(payload.is::<Arc<()>>() || payload.is::<Cancelled>());
            }
        }
        (sum, kept)
    }
    stress(|hubs, random| {
        let runtime = runtime(hubs);
        let kept = Arc::new(());
        // The joins of plain threads, among them one that is too late.
        let joined: Vec<_> = (0..4)
            .map(|_| {
                let (theirs, their_kept) = (random.fork(), kept.clone());
                let tree = runtime.spawn(move || grow(3, theirs, their_kept));
                let pause = random.pause();
                thread::spawn(move || {
                    thread::sleep(pause);
                    tree.join().unwrap().0
                })
            })
            .collect();
        for thread in joined {
            assert!(thread.join().unwrap() > 0);
        }
        drop(runtime);
        assert_eq!(Arc::strong_count(&kept), 1);
    });
}

/// Greenlets that are busy until all others of their group run, too: as many as there are hubs.
/// One that no hub finds would be waited for for ever.
#[test]
fn what_is_pushed_is_found_while_hubs_fall_asleep() {
    stress(|hubs, random| {
        let runtime = runtime(hubs);
        for _ in 0..20 {
            let running = Arc::new(AtomicUsize::new(0));
            let group: Vec<_> = (0..hubs)
                .map(|_| {
                    let running = running.clone();
                    if random.one_in(3) {
                        thread::sleep(random.pause());
                    }
                    runtime.spawn(move || {
                        running.fetch_add(1, SeqCst);
                        while running.load(SeqCst) < hubs {
                            // Not the hub's: it stays busy.
                            thread::yield_now();
                        }
                    })
                })
                .collect();
            group.into_iter().for_each(|one| one.join().unwrap());
        }
        // And bursts from inside, which are stolen.
        let sum = Arc::new(AtomicUsize::new(0));
        for _ in 0..4 {
            let (sum, mut random) = (sum.clone(), random.fork());
            drop(runtime.spawn(move || {
                for _ in 0..25 {
                    let (sum, work) = (sum.clone(), random.below(2000));
                    drop(greenlet::spawn(move || {
                        (0..work).for_each(|_| hint::spin_loop());
                        sum.fetch_add(1, SeqCst);
                    }));
                    random.wait();
                }
            }));
        }
        while sum.load(SeqCst) < 100 {
            thread::sleep(Duration::from_micros(100));
        }
    });
}

/// Sleeps never end early; time-outs race with wakes.
#[test]
fn timers_expire_in_time_and_are_taken_back() {
    stress(|hubs, random| {
        let runtime = runtime(hubs);
        let sleepers: Vec<_> = (0..32)
            .map(|_| {
                let mut random = random.fork();
                runtime.spawn(move || {
                    for _ in 0..10 {
                        let (start, pause) = (Instant::now(), random.pause());
                        greenlet::sleep(pause);
                        assert!(start.elapsed() >= pause);
                        let me = greenlet::current();
                        let delay = random.pause();
                        let waker = greenlet::spawn(move || {
                            greenlet::sleep(delay);
                            me.unpark();
                        });
                        greenlet::park_timeout(random.pause());
                        // Its timer is gone: this one is ended by the token, late or not.
                        let long = Duration::from_secs(1000);
                        waker.join().unwrap();
                        greenlet::current().unpark();
                        greenlet::park_timeout(long);
                    }
                })
            })
            .collect();
        sleepers.into_iter().for_each(|one| one.join().unwrap());
    });
}

/// Echoes in pieces of any size, with time-outs, and two readers of one connection.
#[test]
fn no_byte_and_no_edge_is_lost() {
    const BYTES: usize = 20_000;
    fn send(mut stream: TcpStream, mut random: Random) -> io::Result<()> {
        let bytes: Vec<u8> = (0..BYTES).map(|at| at as u8).collect();
        let mut left = &bytes[..];
        while !left.is_empty() {
            let length = left.len().min(1 + random.below(3000) as usize);
            stream.write_all(&left[..length])?;
            left = &left[length..];
            if random.one_in(3) {
                random.wait();
            }
        }
        stream.shutdown(std::net::Shutdown::Write)
    }
    fn receive(mut stream: TcpStream, mut random: Random) -> io::Result<(usize, u64)> {
        let (mut length, mut sum) = (0, 0);
        let mut buffer = [0; 1024];
        loop {
            if random.one_in(4) {
                let timeout = Duration::from_micros(1 + random.below(500));
                stream.set_read_timeout(random.one_in(2).then_some(timeout))?;
            }
            let wanted = 1 + random.below(1024) as usize;
            match stream.read(&mut buffer[..wanted]) {
                Ok(0) => return Ok((length, sum)),
                Ok(count) => {
                    length += count;
                    sum += buffer[..count]
                        .iter()
                        .map(|byte| u64::from(*byte))
                        .sum::<u64>();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
    fn echo(mut stream: TcpStream) -> io::Result<()> {
        let mut buffer = [0; 700];
        loop {
            match stream.read(&mut buffer)? {
                0 => return stream.shutdown(std::net::Shutdown::Write),
                count => stream.write_all(&buffer[..count])?,
            }
        }
    }
    let expected: u64 = (0..BYTES).map(|at| u64::from(at as u8)).sum();
    stress(|hubs, random| {
        runtime(hubs).run(|| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let addr = listener.local_addr().unwrap();
            let server = greenlet::spawn(move || {
                let streams = listener.incoming().take(6);
                streams.for_each(|stream| drop(greenlet::spawn(|| echo(stream.unwrap()))));
            });
            let clients: Vec<_> = (0..6)
                .map(|_| {
                    let mut random = random.fork();
                    greenlet::spawn(move || {
                        let stream = TcpStream::connect(addr).unwrap();
                        let (second, third) =
                            (stream.try_clone().unwrap(), stream.try_clone().unwrap());
                        let randoms = [random.fork(), random.fork(), random.fork()];
                        let [a, b, c] = randoms;
                        let sender = greenlet::spawn(move || send(stream, a).unwrap());
                        let other = greenlet::spawn(move || receive(second, b).unwrap());
                        let own = receive(third, c).unwrap();
                        sender.join().unwrap();
                        let other = other.join().unwrap();
                        (own.0 + other.0, own.1 + other.1)
                    })
                })
                .collect();
            for client in clients {
                assert_eq!(client.join().unwrap(), (BYTES, expected));
            }
            server.join().unwrap();
        });
    });
}

/// Runtimes that end over greenlets that spawn, wait, and wait while they unwind.
#[test]
fn a_runtime_ends_with_all_its_greenlets() {
    struct Slow {
        _kept: Arc<()>,
    }
    impl Drop for Slow {
        fn drop(&mut self) {
            greenlet::sleep(Duration::from_micros(50));
            greenlet::yield_now();
        }
    }
    fn live(depth: usize, mut random: Random, kept: Arc<()>) {
        let _slow = Slow {
            _kept: kept.clone(),
        };
        for _ in 0..random.below(4) {
            if depth > 0 {
                let (theirs, their_kept) = (random.fork(), kept.clone());
                drop(greenlet::spawn(move || live(depth - 1, theirs, their_kept)));
            }
            random.wait();
        }
        if random.one_in(3) {
            greenlet::park();
        }
    }
    stress(|hubs, random| {
        let runtime = Arc::new(runtime(hubs));
        let kept = Arc::new(());
        let spawners: Vec<_> = (0..2)
            .map(|_| {
                let (runtime, kept, mut random) = (runtime.clone(), kept.clone(), random.fork());
                thread::spawn(move || {
                    for _ in 0..10 {
                        let (theirs, kept) = (random.fork(), kept.clone());
                        drop(runtime.spawn(move || live(3, theirs, kept)));
                    }
                })
            })
            .collect();
        thread::sleep(random.pause());
        for spawner in spawners {
            spawner.join().unwrap();
        }
        drop(Arc::into_inner(runtime).expect("the spawners have ended"));
        assert_eq!(Arc::strong_count(&kept), 1);
    });
}

thread_local! {
    static NUMBER: Cell<usize> = const { Cell::new(0) };
    static LIST: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

/// Memory that others have allocated, on whatever hub.
type Pool = Mutex<Vec<Vec<u8>>>;

/// Waits in the middle of everything that a thread has of its own, while greenlets are stolen.
#[test]
fn what_is_a_threads_own_stays_so_while_greenlets_are_stolen() {
    fn live(number: usize, hubs: usize, mut random: Random, pool: &Pool) {
        let id = thread::current().id();
        let mut wait = move || {
            if hubs > 1 && random.one_in(16) {
                Wait::Moving(hubs).now();
            } else {
                random.wait();
            }
        };
        for round in 0..5 {
            // A value, and a borrow of one.
            NUMBER.set(100 * number + round);
            LIST.with_borrow_mut(|list| {
                wait();
                list.push(number);
                assert!(LIST.with(|list| list.try_borrow().is_err()));
            });
            assert_eq!(NUMBER.get(), 100 * number + round);
            // errno. SAFETY: -1 is nobody's descriptor.
            assert_eq!(unsafe { libc::close(-1) }, -1);
            wait();
            assert_eq!(io::Error::last_os_error().raw_os_error(), Some(libc::EBADF));
            // A panic in flight.
            struct Waits<F: FnMut()>(F);
            impl<F: FnMut()> Drop for Waits<F> {
                fn drop(&mut self) {
                    assert!(thread::panicking());
                    (self.0)();
                    assert!(thread::panicking());
                }
            }
            let caught = catch_unwind(AssertUnwindSafe(|| {
                let _waits = Waits(&mut wait);
                resume_unwind(Box::new(number))
            }));
            assert_eq!(caught.unwrap_err().downcast_ref(), Some(&number));
            assert!(!thread::panicking());
            // Memory of others, and hashes.
            let taken = pool.lock().unwrap().pop();
            let mut map: HashMap<usize, String> = HashMap::new();
            for key in 0..20 {
                map.insert(key, format!("{number} {key}"));
                if key % 8 == 0 {
                    wait();
                }
            }
            assert_eq!(map[&7], format!("{number} 7"));
            if let Some(bytes) = taken {
                assert!(bytes.iter().all(|byte| *byte == bytes[0]));
            }
            pool.lock()
                .unwrap()
                .push(vec![number as u8; 1 + number * 37]);
            assert_eq!(thread::current().id(), id);
        }
        LIST.with_borrow(|list| assert_eq!(*list, [number; 5]));
    }
    stress(|hubs, random| {
        runtime(hubs).run(|| {
            let pool = Arc::new(Pool::default());
            let greenlets: Vec<_> = (0..40)
                .map(|number| {
                    let (pool, random) = (pool.clone(), random.fork());
                    greenlet::spawn(move || live(number, hubs, random, &pool))
                })
                .collect();
            greenlets.into_iter().for_each(|one| one.join().unwrap());
        });
    });
}
