//! may: stackful coroutines that share their worker's thread-locals.

use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use ::may::coroutine::{self, JoinHandle, park, yield_now};
use ::may::net::{TcpListener, TcpStream};
use ::may::sync::{Barrier, Mutex, mpsc};

use super::{ADDRESS, BUFFER, Job, Value, not_in_here, say_address};
use crate::idle::Idle;
use crate::meter::{LOCKS, Meter, Rounds, Yields};
use crate::pages::{Offsets, PAGE, Pages};
use crate::rows::Row;
use crate::sleeps::{self, Sleeps};

/// In words: 32 KiB, its own default.
const STACK_SIZE: usize = 0x1000;

pub(super) fn measure(job: &Job) -> io::Result<Vec<Value>> {
    ::may::config()
        .set_workers(job.params.workers())
        .set_stack_size(STACK_SIZE);
    match job.row {
        Row::Switch | Row::Trace | Row::EchoTraced | Row::Dump => not_in_here(job),
        Row::Yield => Ok(vec![("yield", run(job, yields)?)]),
        Row::SpawnSeq => Ok(vec![("spawn_seq", run(job, spawn_seq)?)]),
        Row::SpawnBatch => Ok(vec![("spawn_batch", run(job, spawn_batch)?)]),
        Row::Timers => sleeps::measure(job.params.get("n"), |sleeps| {
            run(job, move |_| sleep(sleeps))
        }),
        Row::Idle => run(job, idle)?,
        Row::Pingpong => Ok(vec![("pingpong", run(job, pingpong)?)]),
        Row::Mpsc => Ok(vec![("mpsc", run(job, messages)?)]),
        Row::Mutex => Ok(vec![("mutex", run(job, mutex)?)]),
        Row::Echo | Row::Conns => run(job, |_| serve())?,
        Row::Pread4k => run(job, pread4k)?,
    }
}

/// Runs `f` in a coroutine: what that spawns goes to the queue of its worker.
fn run<T: Send + 'static>(job: &Job, f: impl FnOnce(&Job) -> T + Send + 'static) -> io::Result<T> {
    let job = job.clone();
    let result = spawn(move || f(&job)).join();
    result.map_err(|_| io::Error::other("a coroutine panicked"))
}

fn spawn<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    // SAFETY: no thread-local is in use over a wait, and the stack suffices for what is done here.
    unsafe { coroutine::spawn(f) }
}

fn yields(job: &Job) -> f64 {
    let yields = Yields::new(job.params.get("t"), job);
    // A worker whose coroutines yield starts no new ones, so none may yield before all have started.
    let all_have_started = Arc::new(Barrier::new(job.params.get("t")));
    let tasks: Vec<_> = yields
        .parts()
        .map(|mut part| {
            let all_have_started = Arc::clone(&all_have_started);
            spawn(move || {
                all_have_started.wait();
                while part.more() {
                    yield_now();
                }
            })
        })
        .collect();
    join_all(tasks);
    yields.ns()
}

fn spawn_seq(job: &Job) -> f64 {
    let mut meter = Meter::new(job);
    while meter.more() {
        spawn(|| ()).join().expect("nothing does not panic");
    }
    meter.ns()
}

fn spawn_batch(job: &Job) -> f64 {
    let tasks = job.params.get("n");
    let mut rounds = Rounds::new(job, tasks);
    while rounds.more() {
        join_all((0..tasks).map(|_| spawn(|| ())).collect());
    }
    rounds.ns()
}

fn sleep(sleeps: &'static Sleeps) {
    let tasks = (0..sleeps.tasks()).map(|task| {
        spawn(move || {
            let sleep = sleeps.begin(task);
            coroutine::sleep(sleep.time());
            sleep.end();
        })
    });
    join_all(tasks.collect());
}

fn idle(job: &Job) -> io::Result<Vec<Value>> {
    join_all(vec![spawn(|| ())]);
    let idle = Idle::begin(job)?;
    for _ in 0..idle.tasks() {
        spawn(|| {
            idle.arrive();
            park();
        });
    }
    while !idle.all_arrived() {
        yield_now();
    }
    idle.end()
}

/// Its channels have no bound, which makes no difference here.
fn pingpong(job: &Job) -> f64 {
    let (ping, pinged) = mpsc::channel();
    let (pong, ponged) = mpsc::channel();
    let other = spawn(move || {
        for ball in pinged {
            pong.send(ball).expect("it is waited for");
        }
    });
    let mut meter = Meter::new(job);
    while meter.more() {
        ping.send(1).expect("the other is there");
        ponged.recv().expect("the other is there");
    }
    drop(ping);
    join_all(vec![other]);
    meter.ns()
}

/// Its channels have no bound, so the receiver tells the sender when there is room for half as many as there
/// may be.
fn messages(job: &Job) -> f64 {
    let half = job.params.get("cap") / 2;
    let (sender, receiver) = mpsc::channel();
    let (room, made_room) = mpsc::channel();
    room.send(()).expect("the sender is there");
    let other = spawn(move || {
        while made_room.recv().is_ok() {
            for _ in 0..half {
                let _ = sender.send(1);
            }
        }
    });
    let mut meter = Meter::new(job);
    let mut received = 0;
    while meter.more() {
        if received % half == 0 {
            room.send(()).expect("the sender is there");
        }
        receiver.recv().expect("the sender is there");
        received += 1;
    }
    drop(room);
    join_all(vec![other]);
    meter.ns()
}

fn mutex(job: &Job) -> f64 {
    let tasks = job.params.get("t");
    let number = Arc::new(Mutex::new(0));
    let mut rounds = Rounds::new(job, tasks * LOCKS);
    while rounds.more() {
        let tasks = (0..tasks).map(|_| {
            let number = Arc::clone(&number);
            spawn(move || {
                for _ in 0..LOCKS {
                    *number.lock().expect("nobody panics") += 1;
                }
            })
        });
        join_all(tasks.collect());
    }
    rounds.ns()
}

/// It has no files: the read blocks the worker.
fn pread4k(job: &Job) -> io::Result<Vec<Value>> {
    let file = Pages::new()?.into_file();
    let (mut offsets, mut page) = (Offsets::new(), [0; PAGE]);
    let mut meter = Meter::new(job);
    while meter.more() {
        file.read_exact_at(&mut page, offsets.next())?;
    }
    Ok(vec![("pread4k", meter.ns())])
}

fn serve() -> io::Result<Vec<Value>> {
    let listener = TcpListener::bind(ADDRESS)?;
    say_address(listener.local_addr()?)?;
    loop {
        let (stream, _) = listener.accept()?;
        spawn(|| echo(stream));
    }
}

fn echo(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = [0; BUFFER];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            n => stream.write_all(&buffer[..n])?,
        }
    }
}

fn join_all(tasks: Vec<JoinHandle<()>>) {
    for task in tasks {
        task.join().expect("nobody panics");
    }
}
