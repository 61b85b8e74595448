//! std's threads.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, mpsc};
use std::thread::{self, Builder, JoinHandle, park, yield_now};

use super::{ADDRESS, BUFFER, Job, Value, not_in_here, say_address};
use crate::idle::Idle;
use crate::meter::{LOCKS, Meter, Rounds, Yields};
use crate::pages::{Offsets, PAGE, Pages};
use crate::rows::Row;
use crate::sleeps::{self, Sleeps};

/// Enough for what is done here. The C library keeps 40 MiB of stacks for threads to come.
const STACK_SIZE: usize = 64 << 10;

pub(super) fn measure(job: &Job) -> io::Result<Vec<Value>> {
    match job.row {
        Row::Switch | Row::Trace | Row::EchoTraced | Row::Dump => not_in_here(job),
        Row::Yield => Ok(vec![("yield", yields(job)?)]),
        Row::SpawnSeq => Ok(vec![("spawn_seq", spawn_seq(job)?)]),
        Row::SpawnBatch => Ok(vec![("spawn_batch", spawn_batch(job)?)]),
        Row::Timers => sleeps::measure(job.params.get("n"), sleep),
        Row::Idle => idle(job),
        Row::Pingpong => Ok(vec![("pingpong", pingpong(job)?)]),
        Row::Mpsc => Ok(vec![("mpsc", messages(job)?)]),
        Row::Mutex => Ok(vec![("mutex", mutex(job)?)]),
        Row::Echo | Row::Conns => serve(),
        Row::Pread4k => pread4k(job),
    }
}

fn spawn(f: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    Builder::new().stack_size(STACK_SIZE).spawn(f)
}

/// Spawns threads, or tells how many there could be.
fn spawn_all<F>(all: impl Iterator<Item = F>) -> io::Result<Vec<JoinHandle<()>>>
where
    F: FnOnce() + Send + 'static,
{
    all.enumerate()
        .map(|(n, f)| {
            spawn(f).map_err(|error| io::Error::other(format!("after {n} threads: {error}")))
        })
        .collect()
}

fn yields(job: &Job) -> io::Result<f64> {
    let yields = Yields::new(job.params.get("t"), job);
    let tasks = yields.parts().map(|mut part| {
        move || {
            while part.more() {
                yield_now();
            }
        }
    });
    join_all(spawn_all(tasks)?);
    Ok(yields.ns())
}

fn spawn_seq(job: &Job) -> io::Result<f64> {
    let mut meter = Meter::new(job);
    while meter.more() {
        spawn(|| ())?.join().expect("nothing does not panic");
    }
    Ok(meter.ns())
}

fn spawn_batch(job: &Job) -> io::Result<f64> {
    let tasks = job.params.get("n");
    let mut rounds = Rounds::new(job, tasks);
    while rounds.more() {
        join_all(spawn_all((0..tasks).map(|_| || ()))?);
    }
    Ok(rounds.ns())
}

fn sleep(sleeps: &'static Sleeps) -> io::Result<()> {
    let tasks = (0..sleeps.tasks()).map(|task| {
        move || {
            let sleep = sleeps.begin(task);
            thread::sleep(sleep.time());
            sleep.end();
        }
    });
    join_all(spawn_all(tasks)?);
    Ok(())
}

fn idle(job: &Job) -> io::Result<Vec<Value>> {
    join_all(vec![spawn(|| ())?]);
    let idle = Idle::begin(job)?;
    let tasks = (0..idle.tasks()).map(|_| {
        || {
            idle.arrive();
            park();
        }
    });
    spawn_all(tasks)?;
    while !idle.all_arrived() {
        yield_now();
    }
    idle.end()
}

fn pingpong(job: &Job) -> io::Result<f64> {
    let (ping, pinged) = mpsc::sync_channel(1);
    let (pong, ponged) = mpsc::sync_channel(1);
    let other = spawn(move || {
        for ball in pinged {
            pong.send(ball).expect("it is waited for");
        }
    })?;
    let mut meter = Meter::new(job);
    while meter.more() {
        ping.send(1).expect("the other is there");
        ponged.recv().expect("the other is there");
    }
    drop(ping);
    join_all(vec![other]);
    Ok(meter.ns())
}

fn messages(job: &Job) -> io::Result<f64> {
    let (sender, receiver) = mpsc::sync_channel(job.params.get("cap"));
    let other = spawn(move || while sender.send(1).is_ok() {})?;
    let mut meter = Meter::new(job);
    while meter.more() {
        receiver.recv().expect("the sender is there");
    }
    drop(receiver);
    join_all(vec![other]);
    Ok(meter.ns())
}

fn mutex(job: &Job) -> io::Result<f64> {
    let tasks = job.params.get("t");
    let number = Arc::new(Mutex::new(0));
    let mut rounds = Rounds::new(job, tasks * LOCKS);
    while rounds.more() {
        let tasks = (0..tasks).map(|_| {
            let number = Arc::clone(&number);
            move || {
                for _ in 0..LOCKS {
                    *number.lock().expect("nobody panics") += 1;
                }
            }
        });
        join_all(spawn_all(tasks)?);
    }
    Ok(rounds.ns())
}

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
        spawn(|| echo(stream).unwrap_or_default())?;
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
