use super::builder::{BEGIN, TraceBuilder};
use crate::record::{Actor, Ended, Event, Source, State, Stop, Wait};
use crate::trace::analysis::{Doing, Ready, Slice, Timeline, Trace};

const WAIT: Wait = Wait {
    reason: 10,
    object: 0x1000,
};

/// What it does, from when to when, after the trace's beginning.
type Short = (&'static str, u64, u64);

fn short(slice: &Slice) -> Short {
    let doing = match slice.doing {
        Doing::Ready(Ready::Spawned) => "spawned",
        Doing::Ready(Ready::Yielded) => "yielded",
        Doing::Ready(Ready::Woken(..)) => "woken",
        Doing::Ready(Ready::Unknown) => "ready",
        Doing::Running { .. } => "running",
        Doing::Waiting { .. } => "waiting",
    };
    (doing, slice.begin - BEGIN, slice.end - BEGIN)
}

#[track_caller]
fn timeline(builder: &mut TraceBuilder) -> Timeline {
    Timeline::new(&Trace::from_bytes(&builder.seal().bytes()).expect("a trace"))
}

#[track_caller]
fn slices(timeline: &Timeline, greenlet: u64) -> Vec<Short> {
    let life = timeline.greenlet(greenlet).expect("this greenlet");
    life.slices.iter().map(short).collect()
}

fn spawn(greenlet: u64) -> Event {
    Event::Spawn {
        greenlet,
        parent: 0,
        site: 1,
    }
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

#[test]
fn a_life_is_slices_one_after_the_other() {
    let mut trace = TraceBuilder::new(1);
    trace.event(0, 0, spawn(5));
    trace.run(0, 5, 1, [10, 20], Stop::Yield);
    trace.run(0, 5, 2, [30, 40], Stop::Wait(WAIT));
    trace.event(0, 45, Event::Sleep);
    trace.event(0, 55, Event::Awake);
    trace.event(0, 60, wake(5, 2, Source::Reactor));
    trace.run(0, 5, 3, [70, 80], Stop::End);
    let timeline = timeline(&mut trace);
    let expected = [
        ("spawned", 0, 10),
        ("running", 10, 20),
        ("yielded", 20, 30),
        ("running", 30, 40),
        ("waiting", 40, 60),
        ("woken", 60, 70),
        ("running", 70, 80),
    ];
    assert_eq!(slices(&timeline, 5), expected);
    let life = timeline.greenlet(5).expect("this greenlet");
    assert_eq!(life.spawned, Some(BEGIN));
    assert_eq!(life.ended, Some(BEGIN + 80));
    assert!(life.slices.iter().all(|slice| !slice.open && !slice.cut));
    let ended = Some((Source::Reactor, Ended::Woken));
    assert_eq!(life.slices[4].doing, Doing::Waiting { wait: WAIT, ended });
    let hub = &timeline.hubs()[0];
    assert_eq!((hub.running, hub.sleeping, hub.scheduling), (30, 10, 40));
    let edge = timeline.wakes()[0];
    assert_eq!((edge.woken, edge.wait), (5, Some(WAIT)));
    assert_eq!(edge.ran, Some(BEGIN + 70));
}

#[test]
fn slices_do_not_overlap_where_clocks_differ() {
    let mut trace = TraceBuilder::new(2);
    trace.event(0, 0, spawn(5));
    trace.run(0, 5, 1, [10, 20], Stop::Wait(WAIT));
    // By the other's clock before the stop, and after the next run.
    trace.event(1, 18, wake(5, 1, Source::Timer));
    trace.run(0, 5, 2, [30, 40], Stop::Wait(WAIT));
    trace.event(1, 55, wake(5, 2, Source::Timer));
    trace.run(0, 5, 3, [50, 60], Stop::End);
    let expected = [
        ("spawned", 0, 10),
        ("running", 10, 20),
        ("waiting", 20, 20),
        ("woken", 20, 30),
        ("running", 30, 40),
        ("waiting", 40, 50),
        ("woken", 50, 50),
        ("running", 50, 60),
    ];
    assert_eq!(slices(&timeline(&mut trace), 5), expected);
}

#[test]
fn a_trace_may_begin_and_end_in_the_middle() {
    let mut trace = TraceBuilder::new(1);
    let status = |greenlet, run, state, since| Event::Status {
        greenlet,
        run,
        state,
        parent: 0,
        site: 1,
        name: 0,
        since,
    };
    let statuses = [
        status(1, 0, State::Running, 0),
        status(2, 0, State::Waiting(WAIT), 5),
        status(3, 0, State::Waiting(WAIT), 500),
    ];
    trace.event(0, 0, Event::Sleep);
    trace.event(0, 1, Event::Awake);
    trace.statuses(10, &statuses);
    let (greenlet, run, why) = (1, 0, Stop::Yield);
    trace.event(0, 20, Event::Stop { greenlet, run, why });
    trace.event(0, 30, wake(2, 0, Source::Timer));
    trace.event(
        0,
        40,
        Event::Run {
            greenlet: 2,
            run: 1,
        },
    );
    let timeline = timeline(&mut trace);
    assert_eq!(
        slices(&timeline, 1),
        [("running", 0, 20), ("yielded", 20, 40)]
    );
    let expected = [("waiting", 5, 30), ("woken", 30, 40), ("running", 40, 40)];
    assert_eq!(slices(&timeline, 2), expected);
    assert_eq!(slices(&timeline, 3), [("waiting", 0, 40)]);
    let life = timeline.greenlet(3).expect("this greenlet");
    assert!(life.slices[0].open && life.slices[0].cut);
}

#[test]
fn where_events_were_lost_there_is_a_gap() {
    let mut trace = TraceBuilder::new(1);
    trace.event(0, 0, spawn(5));
    trace.run(0, 5, 1, [10, 20], Stop::Yield);
    trace.lose(0, 4);
    trace.run(0, 5, 4, [70, 80], Stop::End);
    let timeline = timeline(&mut trace);
    let expected = [("spawned", 0, 10), ("running", 10, 20), ("running", 70, 80)];
    assert_eq!(slices(&timeline, 5), expected);
    let hub = &timeline.hubs()[0];
    assert_eq!((hub.running, hub.scheduling), (20, 10));
}

#[test]
fn spans_end_where_they_may() {
    let mut trace = TraceBuilder::new(1);
    let (one, two) = (Actor::Greenlet(1), Actor::Thread(7));
    let name = trace.text("work");
    for (time, who, span) in [(1, one, 1), (2, one, 2), (3, two, 1), (4, one, 3)] {
        trace.event(0, time, Event::SpanBegin { who, name, span });
    }
    for (time, who, span) in [(5, one, 1), (6, two, 2), (7, two, 1), (8, two, 9)] {
        trace.event(0, time, Event::SpanEnd { who, span });
    }
    let timeline = timeline(&mut trace);
    let life = timeline.greenlet(1).expect("this greenlet");
    let ends: Vec<_> = life.spans.iter().map(|span| span.end).collect();
    assert_eq!(ends, [Some(BEGIN + 5), Some(BEGIN + 6), None]);
    assert_eq!(timeline.thread_spans()[0].end, Some(BEGIN + 7));
}

#[test]
fn jobs_are_paired_by_threads() {
    let mut trace = TraceBuilder::new(0);
    for (time, thread) in [(1, 10), (2, 11), (5, 12)] {
        let greenlet = u64::from(thread);
        trace.event(0, time, Event::JobBegin { thread, greenlet });
    }
    trace.event(0, 8, Event::JobEnd { thread: 11 });
    trace.event(0, 9, Event::JobEnd { thread: 10 });
    let timeline = timeline(&mut trace);
    let jobs: Vec<_> = timeline
        .jobs()
        .iter()
        .map(|job| (job.thread, job.end))
        .collect();
    let expected = [(10, Some(BEGIN + 9)), (11, Some(BEGIN + 8)), (12, None)];
    assert_eq!(jobs, expected);
    assert!(timeline.hubs().is_empty());
}
