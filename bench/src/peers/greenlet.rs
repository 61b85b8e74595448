//! greenlet itself.

use std::env;
use std::fs;
use std::hint;
use std::io::{self, Read, Write};
use std::mem::ManuallyDrop;
use std::os::unix::fs::FileExt;
use std::process;
use std::thread;
use std::time::{Duration, Instant};

use greenlet::fs::File;
use greenlet::net::{TcpListener, TcpStream};
use greenlet::sync::{Arc, Mutex, mpsc};
use greenlet::trace::{self, Options};
use greenlet::{DumpOptions, Runtime};

use super::{ADDRESS, BUFFER, Job, Recording, Value, say_address};
use crate::idle::Idle;
use crate::meter::{LOCKS, Meter, Rounds, Yields};
use crate::pages::{Offsets, PAGE, Pages};
use crate::rows::Row;
use crate::sleeps::{self, Sleeps};

/// What is switched on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Plain,
    SharedThreadLocals,
    Flight,
    Stream,
}

pub(super) fn measure(job: &Job, mode: Mode) -> io::Result<Vec<Value>> {
    let mut builder = Runtime::builder().hubs(job.params.workers());
    match mode {
        Mode::Flight => trace::start(Options::flight())?,
        Mode::Stream => stream()?,
        Mode::Plain | Mode::SharedThreadLocals => {}
    }
    if mode == Mode::SharedThreadLocals {
        // SAFETY: no thread-local is borrowed over a wait in here, nothing unwinds, no re-entrant
        // lock is held over a wait, and `errno` is not looked at.
        builder = unsafe { builder.share_thread_locals() };
    }
    // The process ends with the measurement: to end a million greenlets before is not part of it.
    let runtime = ManuallyDrop::new(builder.build()?);
    match job.row {
        Row::Switch => Ok(vec![("switch", runtime.run(|| yields(1, job)))]),
        Row::Yield => {
            let tasks = job.params.get("t");
            Ok(vec![("yield", runtime.run(|| yields(tasks, job)))])
        }
        Row::SpawnSeq => Ok(vec![("spawn_seq", runtime.run(|| spawn_seq(job)))]),
        Row::SpawnBatch => Ok(vec![("spawn_batch", runtime.run(|| spawn_batch(job)))]),
        Row::Timers => sleeps::measure(job.params.get("n"), |sleeps| {
            runtime.run(|| sleep(sleeps));
            Ok(())
        }),
        Row::Idle => runtime.run(|| idle(job)),
        Row::Pingpong => Ok(vec![("pingpong", runtime.run(|| pingpong(job)))]),
        Row::Mpsc => Ok(vec![("mpsc", runtime.run(|| messages(job)))]),
        Row::Mutex => Ok(vec![("mutex", runtime.run(|| mutex(job)))]),
        Row::Echo | Row::Conns => runtime.run(|| serve(echo)),
        Row::EchoTraced => runtime.run(|| serve(echo_recorded)),
        Row::Pread4k => runtime.run(|| pread4k(job)),
        Row::Trace => Ok(vec![("trace", runtime.run(|| events(job)))]),
        Row::Dump => runtime.run(|| dumps(job)),
    }
}

/// Records to a file that has no name any more, so that it ends with the process.
fn stream() -> io::Result<()> {
    let path = env::temp_dir().join(format!("bench-{}.trace", process::id()));
    trace::start(Options::stream(&path))?;
    fs::remove_file(path)
}

/// What the loop itself takes does not count.
fn events(job: &Job) -> f64 {
    let nothing = each_value(job, |_| {});
    let event = each_value(job, |value| trace::counter("value", value));
    (event - nothing).max(0.0)
}

#[inline(always)]
fn each_value(job: &Job, f: impl Fn(f64)) -> f64 {
    let mut meter = Meter::new(job);
    // Over calls it stays in a register, which a floating-point number does not: with that the loop takes longer where
    // there is a call in it.
    let mut value = 0_u32;
    while meter.more() {
        f(f64::from(hint::black_box(value)));
        value = value.wrapping_add(1);
    }
    meter.ns()
}

fn yields(tasks: usize, job: &Job) -> f64 {
    let yields = Yields::new(tasks, job);
    let tasks: Vec<_> = yields
        .parts()
        .map(|mut part| {
            greenlet::spawn(move || {
                while part.more() {
                    greenlet::yield_now();
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
        greenlet::spawn(|| ())
            .join()
            .expect("nothing does not panic");
    }
    meter.ns()
}

fn spawn_batch(job: &Job) -> f64 {
    let tasks = job.params.get("n");
    let mut rounds = Rounds::new(job, tasks);
    while rounds.more() {
        join_all((0..tasks).map(|_| greenlet::spawn(|| ())).collect());
    }
    rounds.ns()
}

fn sleep(sleeps: &'static Sleeps) {
    let tasks = (0..sleeps.tasks()).map(|task| {
        greenlet::spawn(move || {
            let sleep = sleeps.begin(task);
            greenlet::sleep(sleep.time());
            sleep.end();
        })
    });
    join_all(tasks.collect());
}

fn idle(job: &Job) -> io::Result<Vec<Value>> {
    park_all(job)?.end()
}

/// Many greenlets that wait.
fn park_all(job: &Job) -> io::Result<&'static Idle> {
    join_all(vec![greenlet::spawn(|| ())]);
    let idle = Idle::begin(job)?;
    for _ in 0..idle.tasks() {
        greenlet::spawn(|| {
            idle.arrive();
            greenlet::park();
        });
    }
    while !idle.all_arrived() {
        greenlet::yield_now();
    }
    Ok(idle)
}

fn pingpong(job: &Job) -> f64 {
    let (ping, pinged) = mpsc::sync_channel(1);
    let (pong, ponged) = mpsc::sync_channel(1);
    let other = greenlet::spawn(move || {
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

fn messages(job: &Job) -> f64 {
    let (sender, receiver) = mpsc::sync_channel(job.params.get("cap"));
    let other = greenlet::spawn(move || while sender.send(1).is_ok() {});
    let mut meter = Meter::new(job);
    while meter.more() {
        receiver.recv().expect("the sender is there");
    }
    drop(receiver);
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
            greenlet::spawn(move || {
                for _ in 0..LOCKS {
                    *number.lock().expect("nobody panics") += 1;
                }
            })
        });
        join_all(tasks.collect());
    }
    rounds.ns()
}

fn pread4k(job: &Job) -> io::Result<Vec<Value>> {
    let file = File::from(Pages::new()?.into_file());
    let (mut offsets, mut page) = (Offsets::new(), [0; PAGE]);
    let mut meter = Meter::new(job);
    while meter.more() {
        file.read_exact_at(&mut page, offsets.next())?;
    }
    Ok(vec![("pread4k", meter.ns())])
}

fn serve(answer: fn(TcpStream) -> io::Result<()>) -> io::Result<Vec<Value>> {
    let listener = TcpListener::bind(ADDRESS)?;
    say_address(listener.local_addr()?)?;
    loop {
        let (stream, _) = listener.accept()?;
        greenlet::spawn(move || answer(stream));
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

/// The same, but recording is switched by requests.
fn echo_recorded(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = [0; BUFFER];
    loop {
        let n = stream.read(&mut buffer)?;
        let asks = |recording: &Recording| buffer[..n].first() == Some(&recording.word());
        if n == 0 {
            return Ok(());
        }
        if let Some(recording) = Recording::ALL.iter().find(|recording| asks(recording)) {
            trace::stop()?;
            match recording {
                Recording::Off => {}
                Recording::Flight => trace::start(Options::flight())?,
                Recording::Stream => self::stream()?,
            }
        }
        stream.write_all(&buffer[..n])?;
    }
}

/// A thread dumps while a hub goes on.
fn dumps(job: &Job) -> io::Result<Vec<Value>> {
    const STACKS: usize = 10_000;
    park_all(job)?;
    let dumps = thread::spawn(|| {
        // The first one finds memory for its list.
        drop(DumpOptions::new().stacks(false).take());
        let (list, listing) = timed(|| DumpOptions::new().stacks(false).take());
        let (_, copying) = timed(|| DumpOptions::new().max_stacks(STACKS).take());
        let (_, text) = timed(|| list.to_string());
        let (_, json) = timed(|| list.to_json());
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        let stack = copying.saturating_sub(listing).as_secs_f64() * 1e6 / STACKS as f64;
        [
            ("dump.list", ms(listing)),
            ("dump.stack", stack),
            ("dump.text", ms(text)),
            ("dump.json", ms(json)),
        ]
    });
    let mut worst = Duration::ZERO;
    while !dumps.is_finished() {
        let (_, took) = timed(|| join_all(vec![greenlet::spawn(|| ())]));
        worst = worst.max(took);
    }
    let mut values = Vec::from(dumps.join().expect("it does not panic"));
    values.push(("dump.worst", worst.as_secs_f64() * 1e6));
    Ok(values)
}

fn timed<T>(f: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let value = f();
    (value, start.elapsed())
}

fn join_all(tasks: Vec<greenlet::JoinHandle<()>>) {
    for task in tasks {
        task.join().expect("nobody panics");
    }
}
