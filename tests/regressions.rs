//! Mistakes that were made once, each with the test that would have found it.

mod support;

use std::cell::RefCell;
use std::env;
use std::io::{self, Read, Write};
use std::net as std_net;
use std::os::fd::OwnedFd;
use std::process::Command;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use greenlet::net::{TcpListener, TcpStream};
use greenlet::trace::{self, Options};
use greenlet::{Builder, Runtime};
use support::child;
use support::process::wait_until;
use support::watchdog::Watchdog;

const LONG: Duration = Duration::from_secs(60);
const CHILD: &str = "GREENLET_TEST_CHILD";

fn runtime(hubs: usize) -> Runtime {
    Runtime::builder().hubs(hubs).build().unwrap()
}

/// Gives others time; too little makes a test easier to pass.
fn settle() {
    thread::sleep(Duration::from_millis(30));
}

/// Does something when it is dropped.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

type AtDrop = OnDrop<fn()>;

thread_local! {
    static AT_END: RefCell<Option<AtDrop>> = const { RefCell::new(None) };
}

fn at_end(f: fn()) {
    AT_END.with(|slot| *slot.borrow_mut() = Some(OnDrop(f)));
}

#[test]
fn a_greenlet_may_be_cancelled_at_any_moment_of_its_park() {
    let _watchdog = Watchdog::arm(
        LONG,
        "a_greenlet_may_be_cancelled_at_any_moment_of_its_park",
    );
    let end = Instant::now() + Duration::from_secs(2);
    while Instant::now() < end {
        let runtime = runtime(4);
        let ring: Arc<Mutex<Vec<greenlet::Greenlet>>> = Arc::default();
        for n in 0..64 {
            let ring_of_it = ring.clone();
            let started = runtime.spawn(move || {
                loop {
                    // What lies where the park was must not be written to by a hub.
                    let words = std::hint::black_box([n; 64]);
                    let next = ring_of_it.lock().unwrap().get(n + 1).cloned();
                    next.inspect(greenlet::Greenlet::unpark);
                    match n % 3 {
                        0 => greenlet::park_timeout(Duration::from_micros(20)),
                        1 => greenlet::sleep(Duration::from_micros(5)),
                        _ => drop(greenlet::spawn(|| ()).join()),
                    }
                    assert_eq!(words, [n; 64]);
                }
            });
            ring.lock().unwrap().push(started.thread().clone());
        }
        thread::sleep(Duration::from_millis(1));
        drop(runtime);
    }
}

#[test]
fn a_destructor_of_a_thread_local_may_wait_in_a_greenlet_that_was_cancelled() {
    static WAITED: AtomicUsize = AtomicUsize::new(0);
    let _watchdog = Watchdog::arm(LONG, "a_destructor_of_a_thread_local_may_wait");
    let runtime = runtime(2);
    runtime.spawn(|| {
        at_end(|| {
            greenlet::sleep(Duration::from_millis(1));
            greenlet::yield_now();
            WAITED.fetch_add(1, SeqCst);
        });
        greenlet::park();
    });
    wait_until("it parks", || runtime.stats().parks > 0);
    drop(runtime);
    assert_eq!(WAITED.load(SeqCst), 1);
}

#[test]
fn a_detached_result_may_wait_in_its_drop_when_the_greenlet_was_cancelled() {
    static WAITED: AtomicUsize = AtomicUsize::new(0);
    let _watchdog = Watchdog::arm(LONG, "a_detached_result_may_wait_in_its_drop");
    let runtime = runtime(1);
    runtime.spawn(|| {
        let result = OnDrop(|| {
            greenlet::sleep(Duration::from_millis(1));
            WAITED.fetch_add(1, SeqCst);
        });
        let _ = std::panic::catch_unwind(greenlet::park);
        result
    });
    wait_until("it parks", || runtime.stats().parks > 0);
    drop(runtime);
    assert_eq!(WAITED.load(SeqCst), 1);
}

#[test]
fn a_result_is_never_dropped_by_a_hub() {
    static MAY_END: AtomicBool = AtomicBool::new(false);
    let _watchdog = Watchdog::arm(LONG, "a_result_is_never_dropped_by_a_hub");
    let (sender, receiver) = mpsc::channel();
    let runtime = runtime(1);
    let started = runtime.spawn(move || {
        at_end(|| wait_until("its handle is dropped", || MAY_END.load(SeqCst)));
        OnDrop(move || {
            let name = greenlet::current().name().map(String::from);
            sender.send(name).unwrap();
        })
    });
    settle();
    // The closure has returned; the greenlet has not ended.
    assert!(!started.is_finished());
    drop(started);
    MAY_END.store(true, SeqCst);
    let name = receiver.recv().unwrap();
    assert!(!name.is_some_and(|name| name.starts_with("greenlet-hub")));
}

/// Whichever hub polls when the test begins: it goes away to run a greenlet of its own.
#[test]
fn when_the_polling_hub_gets_busy_another_one_polls() {
    let _watchdog = Watchdog::arm(LONG, "when_the_polling_hub_gets_busy_another_one_polls");
    let listener = std_net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let runtime = runtime(2);
    let mut reader = runtime.run(|| TcpStream::connect(addr)).unwrap();
    let mut writer = listener.accept().unwrap().0;
    let (sender, receiver) = mpsc::channel();
    runtime.spawn(move || {
        let mut byte = [0];
        while reader.read_exact(&mut byte).is_ok() {
            sender.send(Instant::now()).unwrap();
        }
    });
    for hub in [0, 1] {
        settle();
        // The hub is blocked by something that this crate does not know of.
        let busy = runtime.run(move || {
            let busy = Builder::new().hub(hub).spawn(|| {
                greenlet::sleep(Duration::from_millis(50));
                thread::sleep(Duration::from_secs(1));
            });
            busy.unwrap()
        });
        thread::sleep(Duration::from_millis(200));
        let written = Instant::now();
        writer.write_all(b"x").unwrap();
        let late = receiver.recv().unwrap() - written;
        assert!(
            late < Duration::from_millis(500),
            "{late:?} with hub {hub} busy"
        );
        busy.join().unwrap();
    }
}

#[test]
fn a_listener_outlives_a_runtime_that_one_of_its_own_greenlets_has_dropped() {
    let _watchdog = Watchdog::arm(LONG, "a_listener_outlives_a_runtime");
    let listener = Arc::new(TcpListener::bind("127.0.0.1:0").unwrap());
    let addr = listener.local_addr().unwrap();
    let first = runtime(1);
    let waiting = listener.clone();
    let accepted = first.spawn(move || waiting.accept().map(drop));
    settle();
    let handle = Arc::new(Mutex::new(None));
    let its_own = handle.clone();
    let dropped = first.spawn(move || {
        while its_own.lock().unwrap().is_none() {
            greenlet::yield_now();
        }
        let runtime: Option<Runtime> = its_own.lock().unwrap().take();
        drop(runtime);
    });
    *handle.lock().unwrap() = Some(first);
    dropped.join().unwrap();
    assert!(accepted.join().is_err());
    settle();
    let second = runtime(1);
    let accepted = second.spawn(move || listener.accept().map(drop));
    settle();
    let _stream = std_net::TcpStream::connect(addr).unwrap();
    accepted.join().unwrap().unwrap();
}

#[test]
fn an_accept_that_fails_lets_the_next_one_look() {
    const NAME: &str = "an_accept_that_fails_lets_the_next_one_look";
    if env::var_os(CHILD).is_none() {
        let output = Command::new(env::current_exe().unwrap())
            .args(["--exact", "--nocapture", NAME])
            .env(CHILD, NAME)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        return assert!(output.status.success(), "{text}");
    }
    let _watchdog = Watchdog::arm(Duration::from_secs(20), NAME);
    let runtime = runtime(1);
    let listener = Arc::new(TcpListener::bind("127.0.0.1:0").unwrap());
    let addr = listener.local_addr().unwrap();
    let accepts = [(); 2].map(|()| {
        let listener = listener.clone();
        runtime.spawn(move || listener.accept().map(drop))
    });
    wait_until("both wait", || runtime.stats().parks >= 2);
    settle();
    // Both connections come before the hub looks: one edge, for one of the two.
    let (begin, begun) = mpsc::channel();
    let (end, ended) = mpsc::channel();
    let blocked = runtime.spawn(move || {
        begin.send(()).unwrap();
        ended.recv().unwrap();
    });
    begun.recv().unwrap();
    let _clients = [(); 2].map(|()| std_net::TcpStream::connect(addr).unwrap());
    let (_, hard) = rlimit::getrlimit(rlimit::Resource::NOFILE).unwrap();
    rlimit::setrlimit(rlimit::Resource::NOFILE, 3, hard).unwrap();
    end.send(()).unwrap();
    for accept in accepts {
        let error = accept.join().unwrap().unwrap_err();
        assert_eq!(error.raw_os_error(), Some(24), "EMFILE");
    }
    blocked.join().unwrap();
}

#[test]
fn datagrams_that_came_together_are_all_read_by_a_stream_made_of_their_socket() {
    let _watchdog = Watchdog::arm(Duration::from_secs(20), "datagrams_that_came_together");
    let runtime = runtime(1);
    let socket = std_net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let peer = std_net::UdpSocket::bind("127.0.0.1:0").unwrap();
    peer.connect(socket.local_addr().unwrap()).unwrap();
    let mut stream = TcpStream::from(OwnedFd::from(socket));
    let read = runtime.spawn(move || {
        let mut buf = [0; 8];
        (0..2).map(|_| stream.read(&mut buf)).collect::<Vec<_>>()
    });
    settle();
    let blocked = runtime.spawn(|| thread::sleep(Duration::from_millis(100)));
    settle();
    (0..2).for_each(|_| assert_eq!(peer.send(b"x").unwrap(), 1));
    let lengths = read.join().unwrap();
    assert!(lengths.iter().all(|length| matches!(length, Ok(1))));
    blocked.join().unwrap();
}

#[test]
fn a_forked_child_that_closes_a_stream_leaves_its_parent_s_alone() {
    let _watchdog = Watchdog::arm(
        Duration::from_secs(20),
        "a_forked_child_that_closes_a_stream",
    );
    let listener = std_net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let runtime = runtime(1);
    let (forked, was_forked) = mpsc::channel();
    let read = runtime.spawn(move || {
        let mut stream = TcpStream::connect(addr).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_millis(1)))
            .unwrap();
        assert!(stream.read(&mut [0]).is_err());
        stream.set_read_timeout(None).unwrap();
        // SAFETY: the child closes a descriptor and ends.
        let child = unsafe { libc::fork() };
        if child == 0 {
            drop(stream);
            // SAFETY: ends the process.
            unsafe { libc::_exit(0) };
        }
        // SAFETY: waits for our child; the status is not wanted.
        unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
        forked.send(()).unwrap();
        stream.read(&mut [0])
    });
    let mut peer = listener.accept().unwrap().0;
    was_forked.recv().unwrap();
    settle();
    peer.write_all(b"x").unwrap();
    assert_eq!(read.join().unwrap().unwrap(), 1);
}

#[test]
fn operations_that_need_not_wait_work_on_the_thread_stack() {
    let _watchdog = Watchdog::arm(
        LONG,
        "operations_that_need_not_wait_work_on_the_thread_stack",
    );
    let listener = std_net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let _runtime = runtime(1);
    _runtime
        .run(|| -> io::Result<()> {
            let mut stream = TcpStream::connect(addr)?;
            greenlet::on_thread_stack(|| (0..500).try_for_each(|_| stream.write_all(b"x")))
        })
        .unwrap();
}

#[test]
fn descriptors_are_counted_until_they_are_closed() {
    let _watchdog = Watchdog::arm(LONG, "descriptors_are_counted_until_they_are_closed");
    let listener = std_net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let runtime = runtime(1);
    for _ in 0..3 {
        let mut stream = runtime.run(|| TcpStream::connect(addr)).unwrap();
        let read = runtime.spawn(move || stream.read(&mut [0]).map(drop));
        settle();
        assert_eq!(runtime.stats().descriptors, 1);
        drop(listener.accept().unwrap());
        read.join().unwrap().unwrap();
        assert_eq!(runtime.stats().descriptors, 0);
    }
}

/// A value whose drop waits.
struct Waits(Duration);

impl Drop for Waits {
    fn drop(&mut self) {
        greenlet::sleep(self.0);
    }
}

#[test]
fn a_cancelled_greenlet_may_drop_the_handle_of_a_result_whose_drop_waits() {
    let _watchdog = Watchdog::arm(LONG, "a handle dropped by a cancelled greenlet");
    for hubs in [1, 2, 8] {
        let runtime = runtime(hubs);
        let (sender, receiver) = mpsc::channel();
        let cleaning = runtime.spawn(move || {
            let handle = greenlet::spawn(|| Waits(Duration::from_millis(1)));
            while !handle.is_finished() {
                greenlet::yield_now();
            }
            let waiting = std::panic::catch_unwind(|| {
                sender.send(()).unwrap();
                greenlet::sleep(LONG);
            });
            drop(handle);
            waiting.is_err()
        });
        receiver.recv().unwrap();
        drop(runtime);
        assert!(cleaning.join().unwrap());
    }
}

#[test]
fn a_join_may_be_cancelled_when_the_result_is_there_and_its_drop_waits() {
    /// Says that its drop has begun, which then waits.
    struct Tells(mpsc::Sender<()>, #[expect(dead_code)] Waits);

    impl Drop for Tells {
        fn drop(&mut self) {
            self.0.send(()).unwrap();
        }
    }

    thread_local! {
        static SLOW: RefCell<Option<Tells>> = const { RefCell::new(None) };
    }
    let _watchdog = Watchdog::arm(LONG, "a join that is cancelled");
    for hubs in [1, 2, 8] {
        let runtime = runtime(hubs);
        let (sender, receiver) = mpsc::channel();
        let joining = runtime.spawn(|| {
            let handle = greenlet::spawn(|| {
                // Its drop, after the result was given, holds up the end that the join waits for.
                let slow = Tells(sender, Waits(Duration::from_millis(500)));
                SLOW.set(Some(slow));
                Waits(Duration::from_millis(1))
            });
            handle.join().map(drop)
        });
        receiver.recv().unwrap();
        drop(runtime);
        assert!(joining.join().unwrap_err().is::<greenlet::Cancelled>());
    }
}

#[test]
fn who_yields_after_a_wake_does_not_wait_for_who_was_woken() {
    yield_after_a_wake();
}

/// Where the hub queues who yields before it looks for the next one.
#[test]
fn who_yields_after_a_wake_that_is_recorded_does_not_wait_for_who_was_woken() {
    let test = "who_yields_after_a_wake_that_is_recorded_does_not_wait_for_who_was_woken";
    child::alone(test, || {
        trace::start(Options::flight()).unwrap();
        yield_after_a_wake();
    });
}

/// The other hub sleeps, and has to be told of who yields.
#[test]
fn who_yields_does_not_wait_for_a_pinned_one_whose_time_has_come() {
    let _watchdog = Watchdog::arm(LONG, "a yield behind a pinned greenlet");
    let runtime = support::runtime(2);
    for _ in 0..20 {
        runtime.run(|| {
            let turns = Arc::new(AtomicUsize::new(0));
            let here = greenlet::hub_id().unwrap();
            let computing = greenlet::Builder::new().hub(here).spawn({
                let turns = turns.clone();
                move || {
                    greenlet::sleep(Duration::from_millis(10));
                    let before = turns.load(SeqCst);
                    while turns.load(SeqCst) == before {
                        std::hint::spin_loop();
                    }
                }
            });
            let computing = computing.unwrap();
            while !computing.is_finished() {
                turns.fetch_add(1, SeqCst);
                greenlet::yield_now();
            }
            computing.join().unwrap();
        });
    }
}

fn yield_after_a_wake() {
    let _watchdog = Watchdog::arm(LONG, "a yield behind the next slot");
    // One without the monitor, which helps sooner or later.
    let runtime = support::runtime(2);
    for _ in 0..20 {
        runtime.run(|| {
            let yielded = Arc::new(AtomicUsize::new(0));
            let (sender, receiver) = mpsc::channel();
            let computing = greenlet::spawn({
                let yielded = yielded.clone();
                move || {
                    sender.send(greenlet::current()).unwrap();
                    greenlet::park();
                    while yielded.load(SeqCst) == 0 {
                        std::hint::spin_loop();
                    }
                }
            });
            let woken = loop {
                greenlet::sleep(Duration::from_millis(5));
                if let Ok(woken) = receiver.try_recv() {
                    break woken;
                }
            };
            // The other hub has nothing to do and sleeps.
            settle();
            woken.unpark();
            greenlet::yield_now();
            yielded.store(1, SeqCst);
            computing.join().unwrap();
        });
    }
}

#[test]
fn a_socket_may_outlive_any_number_of_runtimes() {
    let _watchdog = Watchdog::arm(LONG, "a socket of many runtimes");
    let listener = std_net::TcpListener::bind("127.0.0.1:0").unwrap();
    let stream = std_net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let _far = listener.accept().unwrap();
    let stream = TcpStream::from(stream);
    stream
        .set_read_timeout(Some(Duration::from_micros(10)))
        .unwrap();
    for _ in 0..1000 {
        let error = runtime(1).run(|| (&stream).read(&mut [0]).unwrap_err());
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }
    // Little stack, for what is left behind by that many.
    runtime(1).run(|| {
        let dropping = Builder::new()
            .stack_size(16 << 10)
            .spawn(move || drop(stream));
        dropping.unwrap().join().unwrap();
    });
}
