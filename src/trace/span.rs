//! What the program itself records.

use std::fmt;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::Trigger;
use crate::record::{self, Event, Name};
use crate::sched;

/// Begins a span: a time that has a name, from here to where what this answers is dropped.
///
/// It belongs to the calling greenlet, or thread, and spans may lie in each other. While recording is off this
/// is a load and a branch. `name` should be one of few: names take up room once each.
///
/// ```
/// # fn answer() {}
/// {
///     let _span = greenlet::trace::span("request");
///     answer();
/// }
/// ```
#[inline]
pub fn span(name: &'static str) -> Span {
    let open = if record::is_on() {
        Some(Open::begin(name))
    } else {
        None
    };
    Span { open }
}

/// A span that is open; by [`span`]. It ends when this is dropped.
#[must_use = "a span ends when it is dropped"]
pub struct Span {
    /// None if recording was off when it began.
    open: Option<Open>,
}

struct Open {
    name: &'static str,
    number: u32,
    /// Taking longer than this pulls a trigger.
    limit: Option<(Instant, Duration)>,
}

impl Span {
    /// If the span takes longer than this from here on, [`Trigger::SlowSpan`] is pulled at its end, and the
    /// trace has a mark there.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let _span = greenlet::trace::span("request").slower_than(Duration::from_millis(100));
    /// ```
    pub fn slower_than(mut self, limit: Duration) -> Self {
        if let Some(open) = &mut self.open {
            open.limit = Some((Instant::now(), limit));
        }
        self
    }
}

impl Drop for Span {
    #[inline]
    fn drop(&mut self) {
        if let Some(open) = self.open.take() {
            open.end();
        }
    }
}

impl Open {
    #[cold]
    fn begin(name: &'static str) -> Self {
        static NUMBERS: AtomicU32 = AtomicU32::new(1);
        let number = NUMBERS.fetch_add(1, Relaxed);
        sched::record_named(Name::Label(name), |who, name| Event::SpanBegin {
            who,
            name,
            span: number,
        });
        Self {
            name,
            number,
            limit: None,
        }
    }

    #[cold]
    fn end(self) {
        if record::is_on() {
            let span = self.number;
            sched::record(|who| Event::SpanEnd { who, span });
        }
        if let Some((began, limit)) = self.limit
            && began.elapsed() > limit
        {
            mark(&format!("slow: {}", self.name));
            record::pull(Trigger::SlowSpan);
        }
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.open.as_ref().map(|open| open.name);
        f.debug_struct("Span").field("name", &name).finish()
    }
}

/// Records the value of a counter, as the length of a queue. While recording is off this is a load and a
/// branch.
///
/// ```
/// let queue = [1, 2, 3];
/// greenlet::trace::counter("queue", queue.len() as f64);
/// ```
#[inline]
pub fn counter(name: &'static str, value: f64) {
    #[cold]
    fn record(name: &'static str, value: f64) {
        let name = Name::Label(name);
        sched::record_named(name, move |who, name| Event::Counter { who, name, value });
    }
    if record::is_on() {
        record(name, value);
    }
}

/// Records that something has happened. Each different text takes up room in the trace, so there should not be
/// a million of them.
///
/// ```
/// greenlet::trace::mark("configuration read");
/// ```
#[inline]
pub fn mark(text: &str) {
    #[cold]
    fn record(text: &str) {
        sched::record_named(Name::Text(text), |who, name| Event::Mark { who, name });
    }
    if record::is_on() {
        record(text);
    }
}
