use super::builder::{BEGIN, TraceBuilder};
use crate::record::{Actor, Ended, Event, Source, Stop, Wait};
use crate::trace::analysis::{Rule, Trace, check, check_whole};

const PARK: Stop = Stop::Wait(Wait {
    reason: 0,
    object: Wait::NO_OBJECT,
});

fn spawn(greenlet: u64) -> Event {
    let (parent, site) = (0, 0);
    Event::Spawn {
        greenlet,
        parent,
        site,
    }
}

fn run(greenlet: u64, run: u16) -> Event {
    Event::Run { greenlet, run }
}

fn stop(greenlet: u64, run: u16, why: Stop) -> Event {
    Event::Stop { greenlet, run, why }
}

fn wake(greenlet: u64, run: u16, by: Source) -> Event {
    let outcome = Ended::Woken;
    Event::Wake {
        greenlet,
        run,
        by,
        outcome,
    }
}

/// The rules that are broken by events of two hubs: ring, microseconds, event.
#[track_caller]
fn broken(events: &[(u16, u64, Event)]) -> Vec<Rule> {
    let mut builder = TraceBuilder::new(2);
    for &(ring, micros, event) in events {
        builder.event(ring, micros * 1000, event);
    }
    rules(&mut builder)
}

#[track_caller]
fn rules(builder: &mut TraceBuilder) -> Vec<Rule> {
    let trace = Trace::from_bytes(&builder.seal().bytes()).expect("a trace");
    let violations = check(&trace);
    violations
        .into_iter()
        .map(|violation| violation.rule)
        .collect()
}

/// The same for a trace of which nothing may be missing.
#[track_caller]
fn whole(builder: &mut TraceBuilder) -> Vec<Rule> {
    let trace = Trace::from_bytes(&builder.seal().bytes()).expect("a trace");
    let violations = check_whole(&trace).into_iter();
    violations.map(|violation| violation.rule).collect()
}

/// A life as it should be, on two hubs.
fn sound() -> Vec<(u16, u64, Event)> {
    let one = Source::Actor(Actor::Greenlet(1));
    vec![
        (2, 0, spawn(1)),
        (2, 0, spawn(2)),
        (0, 50, run(1, 1)),
        (1, 50, run(2, 1)),
        (1, 100, stop(2, 1, PARK)),
        (1, 110, Event::Sleep),
        (0, 150, wake(2, 1, one)),
        (0, 160, stop(1, 1, Stop::Yield)),
        (1, 170, Event::Awake),
        (1, 180, run(2, 2)),
        (0, 190, run(1, 2)),
        (0, 200, stop(1, 2, Stop::End)),
        (1, 210, stop(2, 2, Stop::End)),
    ]
}

#[test]
fn what_a_scheduler_does_breaks_no_rule() {
    assert_eq!(broken(&sound()), []);
    let mut builder = TraceBuilder::new(2);
    for (ring, micros, event) in sound() {
        builder.event(ring, micros * 1000, event);
    }
    assert_eq!(whole(&mut builder.clone()), [Rule::Whole], "without an end");
    builder.end_at(BEGIN + 300_000);
    assert_eq!(whole(&mut builder), []);
}

#[test]
fn a_trace_may_begin_and_end_anywhere() {
    let events = sound();
    for from in 0..events.len() {
        for to in from..=events.len() {
            // Each ring loses what was before, as a flight recorder does; nothing says so.
            assert_eq!(broken(&events[from..to]), [], "{from}..{to}");
        }
    }
}

#[test]
fn no_event_of_a_life_may_be_missing_or_come_twice() {
    let events = sound();
    for place in 2..events.len() - 1 {
        let mut missing = events.clone();
        let (_, _, event) = missing.remove(place);
        // Of the last event of a life, or of the hub's run, nothing can be said.
        let is_last = matches!(event, Event::Stop { why: Stop::End, .. });
        if !is_last {
            assert_ne!(broken(&missing), [], "without {event:?}");
        }
        let mut twice = events.clone();
        twice.insert(place, events[place]);
        assert_ne!(broken(&twice), [], "twice {event:?}");
    }
}

#[test]
fn a_greenlet_is_on_one_hub_at_a_time() {
    let events = [
        (0, 0, run(1, 1)),
        (1, 50, run(1, 2)),
        (0, 100, stop(1, 1, Stop::Yield)),
        (1, 150, stop(1, 2, Stop::Yield)),
    ];
    assert_eq!(broken(&events), [Rule::Order]);
}

#[test]
fn a_hub_runs_one_at_a_time() {
    let events = [
        (0, 0, run(1, 1)),
        (0, 10, run(2, 1)),
        (0, 20, stop(2, 1, Stop::Yield)),
        (0, 30, stop(1, 1, Stop::Yield)),
    ];
    assert_eq!(broken(&events), [Rule::Hub, Rule::Hub]);
}

#[test]
fn a_wake_comes_before_the_run() {
    let events = [
        (0, 0, run(1, 1)),
        (0, 10, stop(1, 1, PARK)),
        (0, 20, run(1, 2)),
        (0, 30, stop(1, 2, Stop::Yield)),
        (1, 60, wake(1, 1, Source::Reactor)),
    ];
    assert_eq!(broken(&events), [Rule::Order]);
    assert_eq!(broken(&events[..4]), [Rule::Life]);
    // Not so much that clocks could not differ by it.
    let mut close = events;
    close[4].1 = 25;
    assert_eq!(broken(&close), []);
}

#[test]
fn what_a_hub_does_in_one_go_has_the_time_of_its_beginning() {
    let mut events = [
        (0, 0, run(1, 1)),
        (1, 0, run(2, 1)),
        // What is done for its end: the wake is some time later, when the other has parked.
        (1, 10, stop(2, 1, Stop::End)),
        (1, 10, wake(1, 1, Source::Actor(Actor::Greenlet(2)))),
        (0, 60, stop(1, 1, PARK)),
        (1, 90, Event::Sleep),
    ];
    assert_eq!(broken(&events), []);
    events[5].1 = 40;
    assert_eq!(broken(&events), [Rule::Order]);
}

#[test]
fn only_who_runs_wakes_others() {
    let by = Source::Actor(Actor::Greenlet(9));
    let events = [
        (1, 0, run(2, 1)),
        (1, 10, stop(2, 1, PARK)),
        (0, 0, run(1, 1)),
        (0, 20, wake(2, 1, by)),
    ];
    assert_eq!(broken(&events), [Rule::Waker]);
}

#[test]
fn where_events_were_lost_nothing_is_concluded() {
    let mut builder = TraceBuilder::new(1);
    builder.run(0, 1, 1, [0, 10], Stop::Yield);
    builder.event(0, 20, run(2, 5));
    builder.lose(0, 10);
    builder.run(0, 1, 4, [100, 110], Stop::Yield);
    assert_eq!(rules(&mut builder.clone()), []);
    // The loss, two greenlets that have not ended, and the end of the trace.
    assert_eq!(whole(&mut builder.clone()), [Rule::Whole; 4]);
    // Far from a loss it is.
    builder.run(0, 1, 5, [100_000, 110_000], Stop::Yield);
    assert_eq!(rules(&mut builder.clone()), []);
    builder.run(0, 1, 7, [200_000, 210_000], Stop::Yield);
    assert_ne!(rules(&mut builder), []);
}
