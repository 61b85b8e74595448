//! corosensei without a scheduler: the floor for whoever switches stacks.

use std::io;

use ::corosensei::stack::DefaultStack;
use ::corosensei::{Coroutine, CoroutineResult, Yielder};

use super::{Job, Value, not_in_here};
use crate::idle::Idle;
use crate::meter::{Meter, Yields};
use crate::rows::Row;

/// Enough for what is done here.
const STACK_SIZE: usize = 32 << 10;

/// So short an operation would be measured together with its loop.
const SWITCHES: u32 = 1_000;

pub(super) fn measure(job: &Job) -> io::Result<Vec<Value>> {
    match job.row {
        Row::Switch => Ok(vec![("switch", switch(job)?)]),
        Row::Yield => Ok(vec![("yield", yields(job)?)]),
        Row::SpawnSeq => Ok(vec![("spawn_seq", spawn_seq(job)?)]),
        Row::Idle => idle(job),
        _ => not_in_here(job),
    }
}

fn switch(job: &Job) -> io::Result<f64> {
    let stack = DefaultStack::new(STACK_SIZE)?;
    // A number goes there and back, as a runtime's commands do.
    let body = |yielder: &Yielder<u64, u64>, mut number: u64| loop {
        number = yielder.suspend(number + 1);
    };
    let mut coroutine: Coroutine<u64, u64, ()> = Coroutine::with_stack(stack, body);
    let mut number = 0;
    let mut meter = Meter::new(job);
    while meter.more() {
        for _ in 0..SWITCHES {
            number = coroutine.resume(number).as_yield().expect("it goes on");
        }
    }
    assert!(number > 0);
    Ok(meter.ns() / f64::from(SWITCHES))
}

/// Every coroutine once, and again, in the order of a list.
fn yields(job: &Job) -> io::Result<f64> {
    let yields = Yields::new(job.params.get("t"), job);
    let coroutines = yields.parts().enumerate().map(|(n, mut part)| {
        let body = move |yielder: &Yielder<(), ()>, ()| {
            while part.more() {
                yielder.suspend(());
            }
        };
        Ok(Coroutine::with_stack(stack(n)?, body))
    });
    let mut coroutines: Vec<Coroutine<(), (), ()>> = coroutines.collect::<io::Result<_>>()?;
    while !coroutines.is_empty() {
        coroutines.retain_mut(|coroutine| !is_over(coroutine.resume(())));
    }
    Ok(yields.ns())
}

fn is_over(result: CoroutineResult<(), ()>) -> bool {
    matches!(result, CoroutineResult::Return(()))
}

/// With one stack for all coroutines, which come one after the other.
fn spawn_seq(job: &Job) -> io::Result<f64> {
    let mut stack = DefaultStack::new(STACK_SIZE)?;
    let mut meter = Meter::new(job);
    while meter.more() {
        let mut coroutine: Coroutine<(), (), ()> = Coroutine::with_stack(stack, |_, ()| ());
        coroutine.resume(());
        stack = coroutine.into_stack();
    }
    Ok(meter.ns())
}

fn idle(job: &Job) -> io::Result<Vec<Value>> {
    let idle = Idle::begin(job)?;
    let coroutines = (0..idle.tasks()).map(|n| {
        let body = |yielder: &Yielder<(), ()>, ()| {
            idle.arrive();
            yielder.suspend(());
        };
        let mut coroutine = Coroutine::with_stack(stack(n)?, body);
        coroutine.resume(());
        Ok(coroutine)
    });
    let mut coroutines: Vec<Coroutine<(), (), ()>> = coroutines.collect::<io::Result<_>>()?;
    let values = idle.end();
    for coroutine in &mut coroutines {
        coroutine.resume(());
    }
    values
}

/// A stack, or how many there could be.
fn stack(n: usize) -> io::Result<DefaultStack> {
    let stack = DefaultStack::new(STACK_SIZE);
    stack.map_err(|error| io::Error::other(format!("after {n} stacks: {error}")))
}
