//! What the program counts: hubs' numbers, read from the metrics' text.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::model::HubKey;

/// The numbers of one moment.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    taken: Option<Instant>,
    /// Of every hub: names without the prefix `greenlet_hub_`.
    hubs: BTreeMap<HubKey, BTreeMap<String, f64>>,
    /// Of all runtimes together, and of the process: names without the prefix `greenlet_`.
    sums: BTreeMap<String, f64>,
}

/// Two moments, and so what happened in between.
#[derive(Debug, Default)]
pub(crate) struct Rates {
    before: Metrics,
    last: Metrics,
}

impl Metrics {
    /// Lines that are not as expected are left out.
    pub(crate) fn parse(text: &str) -> Self {
        let mut metrics = Self {
            taken: Some(Instant::now()),
            ..Self::default()
        };
        for line in text.lines() {
            metrics.parse_line(line);
        }
        metrics
    }

    fn parse_line(&mut self, line: &str) -> Option<()> {
        let (what, value) = line.strip_prefix("greenlet_")?.rsplit_once(' ')?;
        let value: f64 = value.parse().ok()?;
        let (name, labels) = what.split_once('{').unwrap_or((what, ""));
        let label = |name: &str| {
            let (_, rest) = labels.split_once(&format!("{name}=\""))?;
            rest.split('"').next()?.parse().ok()
        };
        match (name.strip_prefix("hub_"), label("runtime"), label("hub")) {
            (Some(name), Some(runtime), Some(hub)) => {
                let hub = self.hubs.entry((runtime, hub)).or_default();
                hub.insert(name.to_owned(), value);
            }
            _ => *self.sums.entry(name.to_owned()).or_default() += value,
        }
        Some(())
    }
}

impl Rates {
    pub(crate) fn add(&mut self, metrics: Metrics) {
        self.before = std::mem::replace(&mut self.last, metrics);
    }

    pub(crate) fn hubs(&self) -> impl Iterator<Item = HubKey> {
        self.last.hubs.keys().copied()
    }

    /// A hub's number, as it is.
    pub(crate) fn of_hub(&self, hub: HubKey, name: &str) -> Option<f64> {
        self.last.hubs.get(&hub)?.get(name).copied()
    }

    /// By how much a hub's number has grown in a second.
    pub(crate) fn growth(&self, hub: HubKey, name: &str) -> Option<f64> {
        let before = self.before.hubs.get(&hub)?.get(name)?;
        let time = self.last.taken? - self.before.taken?;
        let grown = (self.of_hub(hub, name)? - before).max(0.0);
        Some(grown / time.as_secs_f64()).filter(|rate| rate.is_finite())
    }

    pub(crate) fn sum(&self, name: &str) -> Option<f64> {
        self.last.sums.get(name).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hubs_and_sums_are_read() {
        let metrics = Metrics::parse(
            "# HELP greenlet_greenlets Greenlets.\n\
             greenlet_greenlets{runtime=\"1\"} 3\n\
             greenlet_greenlets{runtime=\"2\"} 4\n\
             greenlet_hub_switches_total{runtime=\"2\",hub=\"10\"} 77\n\
             something else\n\
             greenlet_blocking_threads 5\n",
        );
        assert_eq!(metrics.sums["greenlets"], 7.0);
        assert_eq!(metrics.sums["blocking_threads"], 5.0);
        assert_eq!(metrics.hubs[&(2, 10)]["switches_total"], 77.0);
    }

    #[test]
    fn rates_are_between_two_moments() {
        let mut rates = Rates::default();
        let at = |switches: u32| {
            let line = format!("greenlet_hub_switches_total{{runtime=\"1\",hub=\"0\"}} {switches}");
            Metrics::parse(&line)
        };
        let before = Instant::now();
        rates.add(at(100));
        assert_eq!(rates.growth((1, 0), "switches_total"), None);
        std::thread::sleep(std::time::Duration::from_millis(10));
        rates.add(at(200));
        let slowest = 100.0 / before.elapsed().as_secs_f64();
        let rate = rates.growth((1, 0), "switches_total").unwrap();
        assert!((slowest..=10_000.0).contains(&rate), "{rate}");
    }
}
