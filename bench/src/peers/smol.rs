//! smol: one executor, which each worker runs together with the reactor.

use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::thread;

use ::smol::channel;
use ::smol::future::{pending, yield_now};
use ::smol::io::{AsyncReadExt, AsyncWriteExt};
use ::smol::lock::Mutex;
use ::smol::net::{TcpListener, TcpStream};
use ::smol::{Executor, Task, Timer, block_on, unblock};

use super::{ADDRESS, BUFFER, Job, Value, not_in_here, say_address};
use crate::idle::Idle;
use crate::meter::{LOCKS, Meter, Rounds, Yields};
use crate::pages::{Offsets, PAGE, Pages};
use crate::rows::Row;
use crate::sleeps::{self, Sleeps};

static EXECUTOR: Executor = Executor::new();

pub(super) fn measure(job: &Job) -> io::Result<Vec<Value>> {
    for _ in 1..job.params.workers() {
        thread::spawn(|| block_on(EXECUTOR.run(pending::<()>())));
    }
    match job.row {
        Row::Switch | Row::Trace | Row::EchoTraced | Row::Dump => not_in_here(job),
        Row::Yield => Ok(vec![("yield", run(yields(job.clone())))]),
        Row::SpawnSeq => Ok(vec![("spawn_seq", run(spawn_seq(job.clone())))]),
        Row::SpawnBatch => Ok(vec![("spawn_batch", run(spawn_batch(job.clone())))]),
        Row::Timers => sleeps::measure(job.params.get("n"), |sleeps| {
            run(sleep(sleeps));
            Ok(())
        }),
        Row::Idle => run(idle(job.clone())),
        Row::Pingpong => Ok(vec![("pingpong", run(pingpong(job.clone())))]),
        Row::Mpsc => Ok(vec![("mpsc", run(messages(job.clone())))]),
        Row::Mutex => Ok(vec![("mutex", run(mutex(job.clone())))]),
        Row::Echo | Row::Conns => run(serve()),
        Row::Pread4k => run(pread4k(job.clone())),
    }
}

/// Runs a future as a task, with this thread as a worker.
fn run<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> T {
    block_on(EXECUTOR.run(EXECUTOR.spawn(future)))
}

async fn yields(job: Job) -> f64 {
    let yields = Yields::new(job.params.get("t"), &job);
    let tasks: Vec<_> = yields
        .parts()
        .map(|mut part| {
            EXECUTOR.spawn(async move {
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
        EXECUTOR.spawn(async {}).await;
    }
    meter.ns()
}

async fn spawn_batch(job: Job) -> f64 {
    let tasks = job.params.get("n");
    let mut rounds = Rounds::new(&job, tasks);
    while rounds.more() {
        join_all((0..tasks).map(|_| EXECUTOR.spawn(async {})).collect()).await;
    }
    rounds.ns()
}

async fn sleep(sleeps: &'static Sleeps) {
    let tasks = (0..sleeps.tasks()).map(|task| {
        EXECUTOR.spawn(async move {
            let sleep = sleeps.begin(task);
            Timer::after(sleep.time()).await;
            sleep.end();
        })
    });
    join_all(tasks.collect()).await;
}

async fn idle(job: Job) -> io::Result<Vec<Value>> {
    EXECUTOR.spawn(async {}).await;
    let (end, ended) = channel::bounded::<()>(1);
    let ended: &'static _ = Box::leak(Box::new(ended));
    let idle = Idle::begin(&job)?;
    for _ in 0..idle.tasks() {
        let task = EXECUTOR.spawn(async {
            idle.arrive();
            let _ = ended.recv().await;
        });
        task.detach();
    }
    while !idle.all_arrived() {
        yield_now().await;
    }
    let values = idle.end();
    drop(end);
    values
}

async fn pingpong(job: Job) -> f64 {
    let (ping, pinged) = channel::bounded(1);
    let (pong, ponged) = channel::bounded(1);
    let other = EXECUTOR.spawn(async move {
        while let Ok(ball) = pinged.recv().await {
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
    let (sender, receiver) = channel::bounded(job.params.get("cap"));
    let other = EXECUTOR.spawn(async move { while sender.send(1).await.is_ok() {} });
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
            EXECUTOR.spawn(async move {
                for _ in 0..LOCKS {
                    *number.lock().await += 1;
                }
            })
        });
        join_all(tasks.collect()).await;
    }
    rounds.ns()
}

/// Its files read ahead, much of it in vain where offsets are random: this is what they are made of.
async fn pread4k(job: Job) -> io::Result<Vec<Value>> {
    let file = Arc::new(Pages::new()?.into_file());
    let (mut offsets, mut page) = (Offsets::new(), vec![0; PAGE]);
    let mut meter = Meter::new(&job);
    while meter.more() {
        let (file, offset) = (Arc::clone(&file), offsets.next());
        let read = unblock(move || file.read_exact_at(&mut page, offset).map(|()| page));
        page = read.await?;
    }
    Ok(vec![("pread4k", meter.ns())])
}

async fn serve() -> io::Result<Vec<Value>> {
    let listener = TcpListener::bind(ADDRESS).await?;
    say_address(listener.local_addr()?)?;
    loop {
        let (stream, _) = listener.accept().await?;
        EXECUTOR.spawn(echo(stream)).detach();
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

async fn join_all(tasks: Vec<Task<()>>) {
    for task in tasks {
        task.await;
    }
}
