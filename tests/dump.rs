//! Dumps: what is told of each greenlet, hub and runtime, while the program runs.

mod support;

use std::collections::HashSet;
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::{Duration, Instant};

use greenlet::sync::{Condvar, Mutex, Once, RwLock, mpsc};
use greenlet::{
    BlockedActivity, Builder, Dump, DumpOptions, GreenletDump, GreenletState, HubState, Id,
    JoinHandle, LockOwner, Runtime, dump,
};
use support::process::wait_until;
use support::{Flag, runtime, watched, with_hubs};

const LONG: Duration = Duration::from_secs(20);

/// Spawns a greenlet with a name.
fn named<T: Send + 'static>(
    name: &str,
    body: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    Builder::new().name(name.into()).spawn(body).unwrap()
}

/// The greenlet with this name, of whatever runtime: other tests run beside this one.
fn find<'a>(dump: &'a Dump, name: &str) -> Option<&'a GreenletDump> {
    let mut greenlets = dump.greenlets();
    greenlets.find(|greenlet| greenlet.name.as_deref() == Some(name))
}

/// The greenlet that this is called on.
#[track_caller]
fn own(dump: &Dump) -> &GreenletDump {
    let me = greenlet::current().id();
    let mut greenlets = dump.greenlets();
    greenlets
        .find(|greenlet| greenlet.id == me)
        .expect("it is there")
}

/// The reason that a greenlet waits for, if it waits.
fn reason(greenlet: &GreenletDump) -> Option<&'static str> {
    match greenlet.state {
        GreenletState::Waiting { reason, .. } => Some(reason),
        _ => None,
    }
}

/// Takes dumps until the greenlet with this name waits for such a reason.
#[track_caller]
fn dump_when(name: &str, wanted: &str) -> Dump {
    let start = Instant::now();
    loop {
        let dump = dump();
        let found = find(&dump, name);
        if found.and_then(reason) == Some(wanted) {
            return dump;
        }
        assert!(start.elapsed() < LONG, "{name}, {wanted}: {found:?}");
        greenlet::sleep(Duration::from_millis(1));
    }
}

#[track_caller]
fn found<'a>(dump: &'a Dump, name: &str) -> &'a GreenletDump {
    find(dump, name).unwrap_or_else(|| panic!("no {name} in {dump}"))
}

#[test]
fn every_reason_to_wait_is_told() {
    with_hubs(|runtime| {
        runtime.run(|| {
            let stop = Arc::new(Flag::default());
            named("parks", greenlet::park);
            named("sleeps", || greenlet::sleep(LONG));
            let (sender, receiver) = mpsc::channel::<u32>();
            named("receives", move || receiver.recv());
            let (full, _unread) = mpsc::sync_channel::<u32>(1);
            named("sends", move || (full.send(1), full.send(2)));
            let pair = Arc::new((Mutex::new(()), Condvar::new()));
            let theirs = pair.clone();
            named("is-notified", move || {
                drop(theirs.1.wait(theirs.0.lock().unwrap()))
            });
            let (mut reader, writer) = greenlet::io::pipe().unwrap();
            named("reads", move || reader.read(&mut [0]));
            let end = stop.clone();
            let ends = named("ends", move || end.wait());
            named("joins", move || ends.join());
            let listener = greenlet::net::TcpListener::bind("127.0.0.1:0").unwrap();
            named("accepts", move || listener.accept().map(drop));
            let (release, released) = std::sync::mpsc::channel::<()>();
            named("blocking", move || {
                greenlet::blocking(move || released.recv())
            });

            for (name, wanted) in [
                ("parks", "park"),
                ("sleeps", "sleep"),
                ("receives", "channel-receive"),
                ("sends", "channel-send"),
                ("is-notified", "condvar"),
                ("reads", "io-read"),
                ("joins", "join"),
                ("accepts", "accept"),
                ("blocking", "blocking"),
            ] {
                let dump = dump_when(name, wanted);
                let text = dump.to_string();
                assert!(text.contains(&format!("'{name}'")), "{text}");
            }
            let dump = dump();
            let joined = found(&dump, "ends").id;
            let joins = found(&dump, "joins");
            assert_eq!(joins.waits_for(), Some(LockOwner::Greenlet(joined)));
            let text = dump.to_string();
            assert!(text.contains("waits for the end of greenlet"), "{text}");
            assert_eq!(own(&dump).state, GreenletState::Dumping);
            stop.raise();
            drop((sender, writer, release));
            greenlet::yield_now();
        });
    });
}

#[test]
fn a_lock_tells_who_has_it() {
    with_hubs(|runtime| {
        runtime.run(|| {
            let stop = Arc::new(Flag::default());
            let mutex = Arc::new(Mutex::new(()));
            let lock = Arc::new(RwLock::new(()));
            let read = Arc::new(RwLock::new(()));
            static ONCE: [Once; 3] = [const { Once::new() }; 3];
            let place = match greenlet::stats().map(|_| runtime.hubs()) {
                Some(1) => 0,
                Some(2) => 1,
                _ => 2,
            };
            let (mutex_, lock_, read_, stop_) =
                (mutex.clone(), lock.clone(), read.clone(), stop.clone());
            let has = named("has", move || {
                let _mutex = mutex_.lock();
                let _write = lock_.write();
                let _read = read_.read();
                ONCE[place].call_once(|| stop_.wait());
            });
            dump_when("has", "park");
            let owner = Some(LockOwner::Greenlet(has.id()));
            let waits = [
                named("locks", move || drop(mutex.lock())),
                named("initialises", move || ONCE[place].call_once(|| ())),
            ];
            let rest = lock.clone();
            let more = [
                named("reads-it", move || drop(rest.read())),
                named("writes-it", move || drop(lock.write())),
                named("writes-other", move || drop(read.write())),
            ];
            for (name, wanted, owner) in [
                ("locks", "mutex", owner),
                ("initialises", "once", owner),
                ("reads-it", "rwlock-read", owner),
                ("writes-it", "rwlock-write", owner),
                ("writes-other", "rwlock-write", Some(LockOwner::Readers(1))),
            ] {
                let dump = dump_when(name, wanted);
                assert_eq!(found(&dump, name).waits_for(), owner, "{dump}");
            }
            let text = dump().to_string();
            let has_it = format!("which greenlet {} has", has.id());
            assert!(text.contains(&has_it), "{text}");
            assert!(text.contains("which a reader has"), "{text}");
            stop.raise();
            for greenlet in waits.into_iter().chain(more).chain([has]) {
                greenlet.join().unwrap();
            }
        });
    });
}

#[test]
fn a_lock_that_a_plain_thread_has_says_so() {
    let _watchdog = watched();
    let mutex = Arc::new(Mutex::new(()));
    let guard = mutex.lock().unwrap();
    let theirs = mutex.clone();
    let waiter = named("behind-a-thread", move || drop(theirs.lock()));
    let dump = dump_when("behind-a-thread", "mutex");
    let owner = found(&dump, "behind-a-thread").waits_for();
    assert_eq!(owner, Some(LockOwner::Thread));
    assert!(dump.to_string().contains("which a plain thread has"));
    drop(guard);
    waiter.join().unwrap();
}

#[test]
fn a_lock_that_was_handed_over_tells_its_new_owner() {
    with_hubs(|runtime| {
        runtime.run(|| {
            let mutex = Arc::new(Mutex::new(()));
            let guard = mutex.lock().unwrap();
            let stop = Arc::new(Flag::default());
            let (theirs, end) = (mutex.clone(), stop.clone());
            let second = named("second", move || {
                let _guard = theirs.lock();
                end.wait();
            });
            dump_when("second", "mutex");
            // So that it is handed over.
            greenlet::sleep(Duration::from_millis(5));
            drop(guard);
            dump_when("second", "park");
            let theirs = mutex.clone();
            let third = named("third", move || drop(theirs.lock()));
            let dump = dump_when("third", "mutex");
            let owner = Some(LockOwner::Greenlet(second.id()));
            assert_eq!(found(&dump, "third").waits_for(), owner);
            stop.raise();
            second.join().unwrap();
            third.join().unwrap();
            assert!(mutex.try_lock().is_ok());
        });
    });
}

#[test]
fn circles_are_found() {
    let _watchdog = watched();
    let runtime = runtime(2);
    let locks = Arc::new([Mutex::new(()), Mutex::new(())]);
    let barrier = Arc::new(greenlet::sync::Barrier::new(2));
    let start = |name: &'static str, first: usize| {
        let (locks, barrier) = (locks.clone(), barrier.clone());
        runtime.run(move || {
            named(name, move || {
                let _first = locks[first].lock();
                barrier.wait();
                drop(locks[1 - first].lock());
            })
        })
    };
    let pair = [start("one-way", 0), start("other-way", 1)];
    dump_when("one-way", "mutex");
    let dump = dump_when("other-way", "mutex");
    let circle = [pair[0].id(), pair[1].id()];
    assert!(dump.cycles.iter().any(|cycle| *cycle == circle), "{dump}");
    let [one, other] = circle;
    let sentence = format!("in a circle: {one} waits for {other} waits for {one}");
    assert!(dump.to_string().contains(&sentence), "{dump}");
}

#[test]
fn the_tree_the_place_and_the_time_are_told() {
    with_hubs(|runtime| {
        runtime.run(|| {
            let stop = Arc::new(Flag::default());
            let end = stop.clone();
            let parent = named("parent", move || {
                let inner = end.clone();
                let child = named("child", move || inner.wait());
                end.wait();
                child.join().unwrap();
            });
            dump_when("child", "park");
            greenlet::sleep(Duration::from_millis(30));
            let dump = dump_when("parent", "park");
            let (child, father) = (found(&dump, "child"), found(&dump, "parent"));
            let me = greenlet::current().id();
            assert_eq!(child.parent, Some(father.id));
            assert_eq!(father.parent, Some(me));
            assert_eq!(own(&dump).parent, None);
            assert!(child.spawned_at.file().ends_with("dump.rs"));
            assert_eq!(father.id, parent.id());
            let GreenletState::Waiting { since, .. } = child.state else {
                panic!("{child:?}");
            };
            assert!(
                since >= Duration::from_millis(25) && since < LONG,
                "{since:?}"
            );
            // The tree, by its indentation.
            let text = dump.to_string();
            // Other tests' runtimes are told of, too.
            let trees = text.split("who has spawned whom:").skip(1);
            let mut trees = trees.filter_map(|tree| tree.split("\n\n").next());
            let tree = trees.find(|tree| tree.contains("'child'")).unwrap();
            let depth = |name: &str| {
                let line = tree.lines().find(|line| line.contains(name)).unwrap();
                line.len() - line.trim_start().len()
            };
            assert_eq!(depth("'main'"), 2, "{tree}");
            assert_eq!(depth("'parent'"), 4, "{tree}");
            assert_eq!(depth("'child'"), 6, "{tree}");
            stop.raise();
            parent.join().unwrap();
        });
    });
}

#[inline(never)]
fn outer_function(depth: usize, stop: &Flag) {
    if depth > 0 {
        outer_function(depth - 1, stop);
    } else {
        inner_function(stop);
    }
    std::hint::black_box(());
}

#[inline(never)]
fn inner_function(stop: &Flag) {
    let frame = std::hint::black_box([7_u8; 3000]);
    stop.wait();
    std::hint::black_box(frame);
}

#[test]
fn the_stack_of_a_greenlet_that_waits_is_its_own() {
    with_hubs(|runtime| {
        runtime.run(|| {
            let stop = Arc::new(Flag::default());
            let end = stop.clone();
            let deep = named("deep", move || outer_function(3, &end));
            let end = stop.clone();
            let flat = named("flat", move || end.wait());
            dump_when("flat", "park");
            let dump = dump_when("deep", "park");
            let (deep_, flat_) = (found(&dump, "deep"), found(&dump, "flat"));
            let (used, less) = (deep_.stack_used.unwrap(), flat_.stack_used.unwrap());
            assert!(
                used > 3000 + less && used < deep_.stack_size,
                "{used} {less}"
            );
            assert!(!deep_.stack.is_empty());
            #[cfg(feature = "stacks")]
            {
                let place = |name: &str| {
                    let frames = || deep_.stack.iter().enumerate();
                    let mut found = frames().filter(|(_, frame)| frame.contains(name));
                    let (place, _) = found.next().unwrap_or_else(|| panic!("{name}: {dump}"));
                    (place, 1 + found.count())
                };
                assert_eq!(place("dump::inner_function").1, 1);
                assert_eq!(place("dump::outer_function").1, 4);
                assert!(place("dump::inner_function").0 < place("dump::outer_function").0);
                assert!(!flat_.stack.iter().any(|frame| frame.contains("_function")));
                let first = &deep_.stack[0];
                assert!(!first.starts_with("greenlet::sched"), "{first}");
                let text = dump.to_string();
                assert!(
                    text.contains("in dump::inner_function at tests/dump.rs:"),
                    "{text}"
                );
            }
            let without = DumpOptions::new().stacks(false).take();
            assert!(
                without
                    .greenlets()
                    .all(|greenlet| greenlet.stack.is_empty())
            );
            stop.raise();
            deep.join().unwrap();
            flat.join().unwrap();
        });
    });
}

/// Computes until the flag is up, without a wait.
#[inline(never)]
fn spins_in_here(over: &AtomicBool) {
    while !over.load(Relaxed) {
        std::hint::spin_loop();
    }
}

#[test]
fn hubs_that_are_stuck_do_not_matter() {
    let _watchdog = watched();
    let runtime = runtime(3);
    let over = Arc::new(AtomicBool::new(false));
    let (release, released) = std::sync::mpsc::channel::<()>();
    let stuck = runtime.run(|| {
        // They are in the lists of the hubs that get stuck.
        for hub in 0..3 {
            let name = format!("of-hub-{hub}");
            let parked = Builder::new()
                .name(name.clone())
                .hub(hub)
                .spawn(greenlet::park);
            drop(parked.unwrap());
            dump_when(&name, "park");
        }
        let over = over.clone();
        let spins = Builder::new().name("spins".into()).hub(1);
        let blocks = Builder::new().name("blocks".into()).hub(2);
        [
            spins.spawn(move || spins_in_here(&over)).unwrap(),
            blocks
                .spawn(move || assert!(released.recv().is_err()))
                .unwrap(),
        ]
    });
    let start = Instant::now();
    let dump = loop {
        let dump = dump();
        let stays =
            |hub: &greenlet::HubDump| matches!(hub.state, HubState::Running { since: Some(_), .. });
        let hubs = || {
            dump.runtimes
                .iter()
                .filter(|runtime| runtime.hubs.len() == 3)
        };
        if hubs().any(|runtime| runtime.hubs.iter().filter(|hub| stays(hub)).count() == 2) {
            break dump;
        }
        assert!(start.elapsed() < LONG, "{dump}");
        thread::sleep(Duration::from_millis(5));
    };
    for (hub, name) in [(1, "spins"), (2, "blocks")] {
        let greenlet = found(&dump, name);
        assert_eq!(greenlet.state, GreenletState::Running { hub }, "{dump}");
        assert_eq!(greenlet.pinned, Some(hub));
        let mut runtimes = dump.runtimes.iter();
        let runtime =
            runtimes.find(|runtime| runtime.greenlets.iter().any(|g| g.id == greenlet.id));
        let state = &runtime.unwrap().hubs[hub].state;
        let HubState::Running {
            greenlet: id,
            activity: Some(activity),
            ..
        } = state
        else {
            panic!("{state:?}");
        };
        // Without membarrier it is not known which greenlet runs.
        assert!(*id == Some(greenlet.id) || support::child::without("membarrier"));
        match hub {
            1 => assert_eq!(*activity, BlockedActivity::Computing),
            _ => assert!(matches!(
                activity,
                BlockedActivity::Waiting { syscall: Some(_) }
            )),
        }
        #[cfg(feature = "stacks")]
        if hub == 1 && id.is_some() {
            let frames = &greenlet.stack;
            assert!(
                frames
                    .iter()
                    .any(|frame| frame.contains("dump::spins_in_here")),
                "{dump}"
            );
        }
    }
    for hub in 0..3 {
        let parked = found(&dump, &format!("of-hub-{hub}"));
        assert_eq!(reason(parked), Some("park"), "{dump}");
    }
    over.store(true, Relaxed);
    drop(release);
    stuck
        .into_iter()
        .for_each(|greenlet| greenlet.join().unwrap());
}

#[test]
fn greenlets_that_have_not_started_are_counted() {
    let _watchdog = watched();
    let runtime = runtime(1);
    let counted = runtime.run(|| {
        let waiting: Vec<_> = (0..10).map(|_| greenlet::spawn(|| ())).collect();
        // On the worker's stack it cannot wait, so nobody else runs.
        let dump = greenlet::on_thread_stack(dump);
        waiting
            .into_iter()
            .for_each(|greenlet| greenlet.join().unwrap());
        let me = greenlet::current().id();
        let mut runtimes = dump.runtimes.into_iter();
        let own = runtimes.find(|runtime| runtime.greenlets.iter().any(|g| g.id == me));
        own.unwrap()
    });
    assert_eq!(counted.not_started, 10);
    assert_eq!(counted.greenlets.len(), 1);
    assert_eq!(counted.greenlets[0].state, GreenletState::Dumping);
}

#[test]
fn what_is_too_much_is_counted() {
    let _watchdog = watched();
    let runtime = runtime(2);
    runtime.run(|| {
        let parked: Vec<_> = (0..20).map(|_| greenlet::spawn(greenlet::park)).collect();
        // Those that have not begun are not listed.
        wait_until("all are listed", || {
            let dump = DumpOptions::new().stacks(false).take();
            let is_listed = |id| dump.greenlets().any(|listed| listed.id == id);
            parked.iter().all(|one| is_listed(one.thread().id()))
        });
        let dump = DumpOptions::new().max_greenlets(5).max_stacks(2).take();
        // Those of other tests' runtimes count, and may have ended since they were listed.
        assert!(dump.greenlets().count() <= 5);
        let left_out: usize = dump.runtimes.iter().map(|runtime| runtime.left_out).sum();
        assert!(left_out >= 16, "{dump}");
        let with_stack = dump
            .greenlets()
            .filter(|greenlet| greenlet.stack_used.is_some());
        assert!(with_stack.count() <= 2);
        assert!(dump.to_string().contains(" of them left out"), "{dump}");
        let text = DumpOptions::new().take().to_string();
        let folded = text.contains("greenlets: wait to be unparked");
        assert!(folded, "{text}");
        for greenlet in parked {
            greenlet.thread().unpark();
            greenlet.join().unwrap();
        }
    });
}

#[test]
fn it_may_be_called_from_anywhere() {
    let _watchdog = watched();
    // Without a runtime of its own.
    assert!(dump().took < LONG);
    let one = runtime(1);
    // On a thread, beside a runtime that is dropped.
    let parked = one.spawn(greenlet::park);
    let dumps = thread::spawn(|| (0..200).map(|_| dump().greenlets().count()).max());
    thread::sleep(Duration::from_millis(5));
    drop(one);
    assert!(parked.join().is_err());
    dumps.join().unwrap();
    // In a destructor of a greenlet that is cancelled.
    struct Dumps(std::sync::mpsc::Sender<Dump>);
    impl Drop for Dumps {
        fn drop(&mut self) {
            drop(self.0.send(dump()));
        }
    }
    let (sender, dumped) = std::sync::mpsc::channel();
    let one = runtime(1);
    let ends = Builder::new().name("ends-with-a-dump".into());
    let ended = one.run(move || {
        let ends = ends.spawn(move || {
            let _dumps = Dumps(sender);
            greenlet::park();
        });
        greenlet::yield_now();
        ends.unwrap()
    });
    drop(one);
    assert!(ended.join().is_err());
    let dump = dumped.recv().unwrap();
    assert_eq!(
        found(&dump, "ends-with-a-dump").state,
        GreenletState::Dumping
    );
    assert!(
        dump.runtimes.iter().any(|runtime| runtime.is_ending),
        "{dump}"
    );
}

#[test]
fn many_at_once_see_each_other() {
    with_hubs(|runtime| {
        runtime.run(|| {
            let dumps: Vec<_> = (0..8).map(|_| greenlet::spawn(dump)).collect();
            for (number, dumping) in dumps.into_iter().enumerate() {
                let id = dumping.id();
                let dump = dumping.join().unwrap();
                let me = dump.greenlets().find(|greenlet| greenlet.id == id);
                assert_eq!(
                    me.unwrap().state,
                    GreenletState::Dumping,
                    "{number}: {dump}"
                );
            }
        });
    });
}

#[test]
fn json_says_the_same_as_the_struct() {
    let _watchdog = watched();
    let runtime = runtime(2);
    runtime.run(|| {
        let stop = Arc::new(Flag::default());
        let end = stop.clone();
        let odd = named("odd \"name\"\n\u{1F600}\\", move || end.wait());
        let mutex = Arc::new(Mutex::new(()));
        let guard = mutex.lock().unwrap();
        let theirs = mutex.clone();
        let waits = named("waits-for-json", move || drop(theirs.lock()));
        let dump = dump_when("waits-for-json", "mutex");
        let json: serde_json::Value = serde_json::from_str(&dump.to_json()).unwrap();
        assert_eq!(json["version"], 1);
        assert_eq!(json["took_ns"], dump.took.as_nanos() as u64);
        assert_eq!(json["waiting_threads"], dump.waiting_threads);
        let runtimes = json["runtimes"].as_array().unwrap();
        assert_eq!(runtimes.len(), dump.runtimes.len());
        for (json, runtime) in runtimes.iter().zip(&dump.runtimes) {
            assert_eq!(json["not_started"], runtime.not_started);
            assert_eq!(json["is_ending"], runtime.is_ending);
            let hubs = json["hubs"].as_array().unwrap();
            assert_eq!(hubs.len(), runtime.hubs.len());
            for (json, hub) in hubs.iter().zip(&runtime.hubs) {
                assert_eq!(json["number"], hub.number);
                assert_eq!(json["thread"].as_i64(), hub.thread.map(i64::from));
                assert_eq!(json["switches"], hub.switches);
                assert_eq!(json["timers"], hub.timers);
                let state = match hub.state {
                    HubState::Asleep => "asleep",
                    HubState::Busy => "busy",
                    HubState::Running { .. } => "running",
                    _ => "absent",
                };
                assert_eq!(json["state"], state);
            }
            let greenlets = json["greenlets"].as_array().unwrap();
            assert_eq!(greenlets.len(), runtime.greenlets.len());
            for (json, greenlet) in greenlets.iter().zip(&runtime.greenlets) {
                assert_same(json, greenlet);
            }
        }
        stop.raise();
        drop(guard);
        odd.join().unwrap();
        waits.join().unwrap();
    });
}

fn assert_same(json: &serde_json::Value, greenlet: &GreenletDump) {
    let number = |id: Id| id.to_string().parse::<u64>().unwrap();
    assert_eq!(json["id"], number(greenlet.id));
    assert_eq!(json["name"].as_str(), greenlet.name.as_deref());
    assert_eq!(json["parent"].as_u64(), greenlet.parent.map(number));
    assert_eq!(json["spawned_at"], greenlet.spawned_at.to_string());
    assert_eq!(
        json["pinned"].as_u64(),
        greenlet.pinned.map(|hub| hub as u64)
    );
    assert_eq!(json["stack_size"], greenlet.stack_size);
    assert_eq!(
        json["stack_used"].as_u64(),
        greenlet.stack_used.map(|used| used as u64)
    );
    let frames = json["stack"].as_array().unwrap().iter();
    assert!(
        frames
            .map(|frame| frame.as_str().unwrap())
            .eq(&greenlet.stack)
    );
    match &greenlet.state {
        GreenletState::Waiting {
            reason,
            what,
            object,
            owner,
            since,
            ..
        } => {
            assert_eq!(json["state"], "waiting");
            assert_eq!(json["reason"], *reason);
            assert_eq!(json["what"], **what);
            assert_eq!(json["object"].as_u64(), *object);
            assert_eq!(json["since_ns"], since.as_nanos() as u64);
            match owner {
                Some(LockOwner::Greenlet(id)) => assert_eq!(json["owner"]["greenlet"], number(*id)),
                Some(LockOwner::Thread) => assert_eq!(json["owner"]["thread"], true),
                Some(LockOwner::Readers(n)) => assert_eq!(json["owner"]["readers"], *n),
                _ => assert!(json["owner"].is_null()),
            }
        }
        GreenletState::Running { hub } => {
            assert_eq!(json["state"], "running");
            assert_eq!(json["hub"], *hub);
        }
        GreenletState::Ready => assert_eq!(json["state"], "ready"),
        GreenletState::Dumping => assert_eq!(json["state"], "dumping"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn dumps_and_greenlets_that_come_move_and_go_do_not_disturb_each_other() {
    with_hubs(|runtime| {
        const STAY: usize = 100;
        const COME: usize = 1000;
        let stop = Arc::new(Flag::default());
        let staying: HashSet<Id> = runtime.run(|| {
            let mut ids = HashSet::new();
            for _ in 0..STAY {
                let end = stop.clone();
                ids.insert(greenlet::spawn(move || end.wait()).id());
            }
            // What has not started is not listed.
            let stays = |greenlet: &&GreenletDump| {
                ids.contains(&greenlet.id) && reason(greenlet) == Some("park")
            };
            let all_stay = || {
                let dump = DumpOptions::new().stacks(false).take();
                dump.greenlets().filter(stays).count() == STAY
            };
            while !all_stay() {
                greenlet::sleep(Duration::from_millis(1));
            }
            ids
        });
        let over = Arc::new(AtomicBool::new(false));
        let dumping = {
            let (over, staying) = (over.clone(), staying.clone());
            thread::spawn(move || {
                let mut dumps = 0;
                while !over.load(Relaxed) || dumps < 3 {
                    check(&DumpOptions::new().max_stacks(200).take(), &staying);
                    dumps += 1;
                }
                dumps
            })
        };
        runtime.run(|| {
            for _ in 0..5 {
                let mutex = Arc::new(Mutex::new(0));
                let come: Vec<_> = (0..COME)
                    .map(|number| {
                        let mutex = mutex.clone();
                        greenlet::spawn(move || {
                            greenlet::yield_now();
                            *mutex.lock().unwrap() += 1;
                            if number % 10 == 0 {
                                greenlet::sleep(Duration::from_micros(50));
                            }
                            let nested = greenlet::spawn(greenlet::yield_now);
                            nested.join().unwrap();
                        })
                    })
                    .collect();
                check(&DumpOptions::new().stacks(false).take(), &staying);
                come.into_iter()
                    .for_each(|greenlet| greenlet.join().unwrap());
                assert_eq!(*mutex.lock().unwrap(), COME);
            }
        });
        over.store(true, Relaxed);
        assert!(dumping.join().unwrap() >= 3);
        stop.raise();
    });
}

/// What holds of every dump.
fn check(dump: &Dump, staying: &HashSet<Id>) {
    let mut seen = HashSet::new();
    for greenlet in dump.greenlets() {
        assert!(seen.insert(greenlet.id), "{} is there twice", greenlet.id);
        if let Some(used) = greenlet.stack_used {
            assert!(used < greenlet.stack_size, "{greenlet:?}");
        }
        if staying.contains(&greenlet.id) {
            assert_eq!(reason(greenlet), Some("park"), "{greenlet:?}");
        }
    }
    assert!(
        staying.is_subset(&seen),
        "{} of {}",
        seen.len(),
        staying.len()
    );
    for runtime in &dump.runtimes {
        let ids = runtime.greenlets.iter().map(|greenlet| greenlet.id);
        assert!(ids.is_sorted());
        assert!(runtime.hubs.iter().all(|hub| hub.is_listed));
    }
}

#[test]
fn a_dump_of_many_takes_a_bounded_time() {
    let _watchdog = watched();
    const COUNT: usize = 20_000;
    let runtime = Runtime::builder().hubs(2).build().unwrap();
    let stop = Arc::new(Flag::default());
    runtime.run(|| {
        for _ in 0..COUNT {
            let end = stop.clone();
            drop(greenlet::spawn(move || end.wait()));
        }
        let start = Instant::now();
        let dump = loop {
            let dump = DumpOptions::new().max_stacks(1000).take();
            let waiting = |greenlet: &&GreenletDump| reason(greenlet) == Some("park");
            if dump.greenlets().filter(waiting).count() >= COUNT {
                break dump;
            }
            assert!(start.elapsed() < LONG, "{}", dump.greenlets().count());
        };
        assert!(dump.took < LONG);
        let text = dump.to_string();
        assert!(text.len() < 200_000, "{}", text.len());
        stop.raise();
    });
}

#[test]
fn greenlets_that_share_their_workers_thread_locals_are_seen_too() {
    let _watchdog = watched();
    let builder = Runtime::builder().hubs(2);
    // SAFETY: no test here keeps a borrow into a thread-local over a wait, or waits in a destructor.
    let runtime = unsafe { builder.share_thread_locals() }.build().unwrap();
    runtime.run(|| {
        let stop = Arc::new(Flag::default());
        let end = stop.clone();
        let deep = named("deep-and-shared", move || outer_function(2, &end));
        let dump = dump_when("deep-and-shared", "park");
        let greenlet = found(&dump, "deep-and-shared");
        let used = greenlet.stack_used.unwrap();
        assert!(used > 3000 && used < greenlet.stack_size, "{used}");
        assert_eq!(own(&dump).state, GreenletState::Dumping);
        // It stays where it has begun.
        assert!(greenlet.pinned.is_some());
        #[cfg(feature = "stacks")]
        assert!(
            greenlet
                .stack
                .iter()
                .any(|frame| frame.contains("dump::inner_function")),
            "{dump}"
        );
        stop.raise();
        deep.join().unwrap();
    });
}
