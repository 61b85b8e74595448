//! `trace::TracingLayer`: spans and events of the crate `tracing`, in traces.

mod support;

use std::sync::Once;
use std::time::Duration;

use greenlet::trace::analysis::{Span as TraceSpan, Timeline, Trace};
use greenlet::trace::{self, Actor, Options, TracingLayer};
use support::temp::TempDir;
use support::{go_to_hub, runtime, watched};
use tracing::{Span, info, info_span, warn};
use tracing_subscriber::layer::SubscriberExt;

/// For all threads and greenlets of this process.
fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let subscriber = tracing_subscriber::registry().with(TracingLayer::new());
        tracing::subscriber::set_global_default(subscriber).expect("the first one");
    });
}

/// What is recorded meanwhile.
fn recorded(body: impl FnOnce()) -> Trace {
    recorded_after(|| {}, body)
}

/// The same, with something that is done before. Recording is the process's, so this is one test at a time.
fn recorded_after(before: impl FnOnce(), body: impl FnOnce()) -> Trace {
    static ONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    install();
    before();
    let folder = TempDir::new();
    let path = folder.join("trace");
    trace::start(Options::stream(&path)).unwrap();
    body();
    trace::stop().unwrap();
    Trace::open(path).unwrap()
}

/// Those of greenlets, and then those of threads.
fn spans(timeline: &Timeline) -> Vec<TraceSpan> {
    let greenlets = timeline.greenlets().iter();
    let of_greenlets = greenlets.flat_map(|life| &life.spans);
    of_greenlets
        .chain(timeline.thread_spans())
        .copied()
        .collect()
}

fn current_span() -> Option<&'static str> {
    Span::current().metadata().map(|metadata| metadata.name())
}

#[test]
fn a_span_that_is_entered_over_waits_and_moves_is_the_greenlets() {
    let _watchdog = watched();
    const EACH: usize = 20;
    let trace = recorded(|| {
        runtime(4).run(|| {
            let greenlets: Vec<_> = (0..EACH)
                .map(|number| {
                    greenlet::spawn(move || {
                        let name_is = |name| assert_eq!(current_span(), name, "{number}");
                        name_is(None);
                        let outer = info_span!("outer").entered();
                        name_is(Some("outer"));
                        greenlet::sleep(Duration::from_millis(2));
                        go_to_hub(number % 4);
                        name_is(Some("outer"));
                        {
                            let _inner = info_span!("inner").entered();
                            go_to_hub((number + 1) % 4);
                            name_is(Some("inner"));
                        }
                        name_is(Some("outer"));
                        drop(outer);
                        name_is(None);
                    })
                })
                .collect();
            for greenlet in greenlets {
                greenlet.join().unwrap();
            }
        });
    });
    let timeline = Timeline::new(&trace);
    let named = |name: &str| -> Vec<_> {
        let spans = spans(&timeline).into_iter();
        spans
            .filter(|span| trace.text(span.name) == Some(name))
            .collect()
    };
    let (outer, inner) = (named("outer"), named("inner"));
    assert_eq!((outer.len(), inner.len()), (EACH, EACH));
    let mut who: Vec<Actor> = outer.iter().map(|span| span.who).collect();
    who.sort();
    who.dedup();
    assert_eq!(who.len(), EACH, "each is its greenlet's");
    for span in &outer {
        assert!(span.end.unwrap() - span.begin >= 2_000_000, "{span:?}");
        let of_same = inner.iter().find(|inner| inner.who == span.who);
        let inner = of_same.expect("the greenlet has both");
        assert!(span.begin <= inner.begin && inner.end <= span.end);
    }
}

#[test]
fn events_become_marks_with_their_messages() {
    let _watchdog = watched();
    let trace = recorded(|| {
        runtime(1).run(|| {
            info!("plain");
            warn!(user = 7, path = "/x", "could not {}", "log in");
            info!(only = true);
        });
        info!("of a thread");
    });
    let timeline = Timeline::new(&trace);
    let marks: Vec<_> = timeline
        .marks()
        .iter()
        .map(|mark| {
            (
                mark.who.greenlet().is_some(),
                trace.text(mark.name).unwrap(),
            )
        })
        .filter(|(_, text)| text.contains("trace_tracing"))
        .collect();
    assert_eq!(
        marks,
        [
            (true, "INFO trace_tracing: plain"),
            (true, "WARN trace_tracing: could not log in user=7 path=/x"),
            (true, "INFO trace_tracing:  only=true"),
            (false, "INFO trace_tracing: of a thread"),
        ]
    );
}

#[test]
fn spans_of_tracing_and_of_the_trace_do_not_get_mixed_up() {
    let _watchdog = watched();
    let trace = recorded(|| {
        runtime(1).run(|| {
            for _ in 0..50 {
                let _ours = trace::span("ours");
                let _theirs = info_span!("theirs").entered();
                greenlet::yield_now();
            }
        });
    });
    let timeline = Timeline::new(&trace);
    for name in ["ours", "theirs"] {
        let spans = spans(&timeline).into_iter();
        let of_name: Vec<_> = spans
            .filter(|span| trace.text(span.name) == Some(name))
            .collect();
        assert_eq!(of_name.len(), 50, "{name}");
    }
}

#[test]
fn nothing_is_done_while_recording_is_off() {
    let _watchdog = watched();
    let unrecorded = || {
        runtime(1).run(|| {
            let _span = info_span!("unseen").entered();
            info!("unheard");
        });
    };
    let trace = recorded_after(unrecorded, || runtime(1).run(|| ()));
    let timeline = Timeline::new(&trace);
    assert_eq!(spans(&timeline).len(), 0);
}
