//! Spans and events of the crate `tracing`, in traces.

use std::fmt::{self, Write};

use tracing_core::field::{Field, Visit};
use tracing_core::span::Id;
use tracing_core::{Event as TracingEvent, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use crate::record::{self, Event, Name};
use crate::sched;

/// A [`Layer`] that records what the crate `tracing` tells, while recording is on: a span of `tracing` becomes one
/// of the trace for each time that a greenlet or thread enters it, and an event a mark. With the feature `tracing`.
///
/// A span may stay entered over a wait, as over any call: what is entered is kept in thread-locals, and those are
/// the greenlet's own. Spans have their names; their fields are left out. A mark is the event's level, target, message
/// and other fields in a row; each different one takes up room in the trace, so what is different in every event
/// is better filtered out:
///
/// ```
/// use greenlet::trace::TracingLayer;
/// use tracing::level_filters::LevelFilter;
/// use tracing_subscriber::layer::{Layer, SubscriberExt};
///
/// let subscriber = tracing_subscriber::registry()
///     .with(TracingLayer::new().with_filter(LevelFilter::INFO));
/// tracing::subscriber::with_default(subscriber, || {
///     let _request = tracing::info_span!("request").entered();
///     tracing::info!(user = 7, "logged in");
/// });
/// ```
///
/// While recording is off it costs a load and a branch each time.
#[derive(Clone, Copy, Debug, Default)]
pub struct TracingLayer(());

impl TracingLayer {
    /// The layer, to be put on a registry of spans.
    pub fn new() -> Self {
        Self::default()
    }
}

impl<S> Layer<S> for TracingLayer
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        if !record::is_on() {
            return;
        }
        if let Some(metadata) = context.metadata(id) {
            let (name, span) = (Name::Label(metadata.name()), number(id));
            sched::record_named(name, |who, name| Event::SpanBegin { who, name, span });
        }
    }

    fn on_exit(&self, id: &Id, _: Context<'_, S>) {
        if record::is_on() {
            let span = number(id);
            sched::record(|who| Event::SpanEnd { who, span });
        }
    }

    fn on_event(&self, event: &TracingEvent<'_>, _: Context<'_, S>) {
        if !record::is_on() {
            return;
        }
        let text = describe(event);
        sched::record_named(Name::Text(&text), |who, name| Event::Mark { who, name });
    }
}

/// Tells a span from others that a greenlet may have open: those of [`span`](super::span) have small numbers.
fn number(id: &Id) -> u32 {
    let id = id.into_u64();
    (id ^ id >> 32) as u32 | 1 << 31
}

/// An event as a text.
fn describe(event: &TracingEvent<'_>) -> String {
    let metadata = event.metadata();
    let mut fields = Fields::default();
    event.record(&mut fields);
    let Fields { message, others } = fields;
    let (level, target) = (metadata.level(), metadata.target());
    let text = format!("{level} {target}: {message}{others}");
    text.trim_end().to_owned()
}

/// The fields of an event: its message, and the others each behind a space.
#[derive(Debug, Default)]
struct Fields {
    message: String,
    others: String,
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let written = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.others, " {name}={value:?}"),
        };
        written.expect("a string takes everything");
    }
}
