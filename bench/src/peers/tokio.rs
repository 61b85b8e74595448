//! tokio, with both of its runtimes.

use std::io::{self, SeekFrom};
use std::mem::ManuallyDrop;
use std::sync::Arc;

use ::tokio::fs::File;
use ::tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};
use ::tokio::net::{TcpListener, TcpStream};
use ::tokio::runtime::{Builder, Runtime};
use ::tokio::sync::{Mutex, Notify, mpsc};
use ::tokio::task::{JoinHandle, yield_now};
use ::tokio::{spawn, time};

use super::{ADDRESS, BUFFER, Job, Value, not_in_here, say_address};
use crate::idle::Idle;
use crate::meter::{LOCKS, Meter, Rounds, Yields};
use crate::pages::{Offsets, PAGE, Pages};
use crate::rows::Row;
use crate::sleeps::{self, Sleeps};

pub(super) fn measure(job: &Job, current_thread: bool) -> io::Result<Vec<Value>> {
    let mut builder = if current_thread {
        Builder::new_current_thread()
    } else {
        Builder::new_multi_thread()
    };
    builder.worker_threads(job.params.workers()).enable_all();
    // The process ends with the measurement: to end a million tasks before is not part of it.
    let runtime = ManuallyDrop::new(builder.build()?);
    match job.row {
        Row::Switch | Row::Trace | Row::EchoTraced | Row::Dump => not_in_here(job),
        Row::Yield => Ok(vec![("yield", run(&runtime, yields(job.clone())))]),
        Row::SpawnSeq => Ok(vec![("spawn_seq", run(&runtime, spawn_seq(job.clone())))]),
        Row::SpawnBatch => Ok(vec![(
            "spawn_batch",
            run(&runtime, spawn_batch(job.clone())),
        )]),
        Row::Timers => sleeps::measure(job.params.get("n"), |sleeps| {
            run(&runtime, sleep(sleeps));
            Ok(())
        }),
        Row::Idle => run(&runtime, idle(job.clone())),
        Row::Pingpong => Ok(vec![("pingpong", run(&runtime, pingpong(job.clone())))]),
        Row::Mpsc => Ok(vec![("mpsc", run(&runtime, messages(job.clone())))]),
        Row::Mutex => Ok(vec![("mutex", run(&runtime, mutex(job.clone())))]),
        Row::Echo | Row::Conns => run(&runtime, serve()),
        Row::Pread4k => run(&runtime, pread4k(job.clone())),
    }
}

/// Runs a future on a worker, which is cheaper for what it spawns than `block_on` alone.
fn run<T: Send + 'static>(
    runtime: &Runtime,
    future: impl Future<Output = T> + Send + 'static,
) -> T {
    runtime.block_on(async { spawn(future).await.expect("nobody panics") })
}

async fn yields(job: Job) -> f64 {
    let yields = Yields::new(job.params.get("t"), &job);
    let tasks: Vec<_> = yields
        .parts()
        .map(|mut part| {
            spawn(async move {
                while part.more() {
                    yield_now().await;
                }
            })
        })
        .collect();
    join_all(tasks).await;
    yields.ns()
}

async fn spawn_seq(job: Job) -> f64 {
    let mut meter = Meter::new(&job);
    while meter.more() {
        spawn(async {}).await.expect("nothing does not panic");
    }
    meter.ns()
}

async fn spawn_batch(job: Job) -> f64 {
    let tasks = job.params.get("n");
    let mut rounds = Rounds::new(&job, tasks);
    while rounds.more() {
        join_all((0..tasks).map(|_| spawn(async {})).collect()).await;
    }
    rounds.ns()
}

async fn sleep(sleeps: &'static Sleeps) {
    let tasks = (0..sleeps.tasks()).map(|task| {
        spawn(async move {
            let sleep = sleeps.begin(task);
            time::sleep(sleep.time()).await;
            sleep.end();
        })
    });
    join_all(tasks.collect()).await;
}

async fn idle(job: Job) -> io::Result<Vec<Value>> {
    static END: Notify = Notify::const_new();

    join_all(vec![spawn(async {})]).await;
    let idle = Idle::begin(&job)?;
    for _ in 0..idle.tasks() {
        spawn(async {
            idle.arrive();
            END.notified().await;
        });
    }
    while !idle.all_arrived() {
        yield_now().await;
    }
    idle.end()
}

async fn pingpong(job: Job) -> f64 {
    let (ping, mut pinged) = mpsc::channel(1);
    let (pong, mut ponged) = mpsc::channel(1);
    let other = spawn(async move {
        while let Some(ball) = pinged.recv().await {
            pong.send(ball).await.expect("it is waited for");
        }
    });
    let mut meter = Meter::new(&job);
    while meter.more() {
        ping.send(1).await.expect("the other is there");
        ponged.recv().await.expect("the other is there");
    }
    drop(ping);
    join_all(vec![other]).await;
    meter.ns()
}

async fn messages(job: Job) -> f64 {
    let (sender, mut receiver) = mpsc::channel(job.params.get("cap"));
    let other = spawn(async move { while sender.send(1).await.is_ok() {} });
    let mut meter = Meter::new(&job);
    while meter.more() {
        receiver.recv().await.expect("the sender is there");
    }
    drop(receiver);
    join_all(vec![other]).await;
    meter.ns()
}

async fn mutex(job: Job) -> f64 {
    let tasks = job.params.get("t");
    let number = Arc::new(Mutex::new(0));
    let mut rounds = Rounds::new(&job, tasks * LOCKS);
    while rounds.more() {
        let tasks = (0..tasks).map(|_| {
            let number = Arc::clone(&number);
            spawn(async move {
                for _ in 0..LOCKS {
                    *number.lock().await += 1;
                }
            })
        });
        join_all(tasks.collect()).await;
    }
    rounds.ns()
}

/// There is no read at an offset: it seeks first.
async fn pread4k(job: Job) -> io::Result<Vec<Value>> {
    let mut file = File::from_std(Pages::new()?.into_file());
    let (mut offsets, mut page) = (Offsets::new(), [0; PAGE]);
    let mut meter = Meter::new(&job);
    while meter.more() {
        file.seek(SeekFrom::Start(offsets.next())).await?;
        file.read_exact(&mut page).await?;
    }
    Ok(vec![("pread4k", meter.ns())])
}

async fn serve() -> io::Result<Vec<Value>> {
    let listener = TcpListener::bind(ADDRESS).await?;
    say_address(listener.local_addr()?)?;
    loop {
        let (stream, _) = listener.accept().await?;
        spawn(echo(stream));
    }
}

async fn echo(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = [0; BUFFER];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Ok(()),
            n => stream.write_all(&buffer[..n]).await?,
        }
    }
}

async fn join_all(tasks: Vec<JoinHandle<()>>) {
    for task in tasks {
        task.await.expect("nobody panics");
    }
}
