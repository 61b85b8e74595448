//! A report for people: a page for a terminal of 100 columns.

use std::fmt::{self, Display, Formatter, Write};

use super::{Figures, GreenletTotals, Report, Totals};

/// Columns of a page.
const WIDTH: usize = 100;

/// So many characters of the program's path are shown.
const MOST_OF_PATH: usize = 60;

/// So many hubs are shown.
const MOST_HUBS: usize = 32;

/// A time with three digits and a unit that suits it.
pub(super) struct Nanos(pub(super) u64);

impl Display for Nanos {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let nanos = self.0 as f64;
        let (value, unit) = match self.0 {
            0..1_000 => return f.pad(&format!("{} ns", self.0)),
            1_000..1_000_000 => (nanos / 1e3, "µs"),
            1_000_000..1_000_000_000 => (nanos / 1e6, "ms"),
            _ => (nanos / 1e9, "s"),
        };
        let digits = match value {
            ..9.995 => 2,
            ..99.95 => 1,
            _ => 0,
        };
        f.pad(&format!("{value:.digits$} {unit}"))
    }
}

/// A number with its digits in threes.
struct Grouped(u64);

impl Display for Grouped {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        let mut text = String::new();
        for (index, digit) in digits.chars().enumerate() {
            if index > 0 && (digits.len() - index).is_multiple_of(3) {
                text.push(',');
            }
            text.push(digit);
        }
        f.pad(&text)
    }
}

/// The last characters of a text that is too long: what tells one place in the source from another is at
/// its end.
struct Tail<'a>(&'a str, usize);

impl Display for Tail<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self(text, width) = *self;
        let length = text.chars().count();
        if length <= width {
            return write!(f, "{text:width$}");
        }
        f.write_str("…")?;
        let mut rest = text.chars().skip(length + 1 - width);
        rest.try_for_each(|char| f.write_char(char))
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.fmt_overview(f)?;
        self.fmt_hubs(f)?;
        self.fmt_latency(f)?;
        self.fmt_waits(f)?;
        self.fmt_greenlets(f)?;
        self.fmt_wakes(f)?;
        self.fmt_long_runs(f)?;
        self.fmt_program(f)?;
        self.fmt_lints(f)
    }
}

fn heading(f: &mut Formatter<'_>, title: &str, columns: &str) -> fmt::Result {
    let title = title.to_uppercase();
    if columns.is_empty() {
        return writeln!(f, "\n{title}");
    }
    let width = WIDTH.saturating_sub(columns.chars().count());
    writeln!(f, "\n{title:width$}{columns}")
}

fn percent(part: u64, all: u64) -> f64 {
    super::hubs::part(part, all) * 100.0
}

const FIGURES: &str = "   count      p50      p90      p99    p99.9   p99.99      max";

/// The columns of [`FIGURES`].
fn figures(f: &mut Formatter<'_>, name: &str, figures: &Figures) -> fmt::Result {
    let width = WIDTH - FIGURES.len() - 4;
    let name = Tail(name, width);
    let Figures {
        count,
        p50_ns,
        p90_ns,
        p99_ns,
        p99_9_ns,
        p99_99_ns,
        max_ns,
        ..
    } = *figures;
    write!(f, "  {name}  {:>8}", Grouped(count))?;
    for nanos in [p50_ns, p90_ns, p99_ns, p99_9_ns, p99_99_ns, max_ns] {
        match count {
            0 => write!(f, "{:>9}", "-")?,
            _ => write!(f, "{:>9}", Nanos(nanos))?,
        }
    }
    writeln!(f)
}

const TOTALS: &str = "    runs   running     ready   waiting  longest run  longest ready";

fn totals(f: &mut Formatter<'_>, number: u64, name: &str, totals: &Totals) -> fmt::Result {
    let number = Grouped(number).to_string();
    let name = Tail(name, WIDTH - TOTALS.len() - 12);
    writeln!(
        f,
        "  {number:>6}  {name}  {:>8} {:>9} {:>9} {:>9} {:>12} {:>14}",
        Grouped(totals.runs),
        Nanos(totals.running_ns),
        Nanos(totals.ready_ns),
        Nanos(totals.waiting_ns),
        Nanos(totals.longest_run_ns),
        Nanos(totals.longest_ready_ns),
    )
}

impl Report {
    fn fmt_overview(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let overview = &self.overview;
        let program = overview.program.as_deref().unwrap_or("a program");
        let program = Tail(program, program.chars().count().min(MOST_OF_PATH));
        writeln!(
            f,
            "{program}, process {}, {} recorded",
            overview.process,
            Nanos(overview.duration_ns)
        )?;
        writeln!(
            f,
            "  {} greenlets ({} spawned, {} ended), {} switches, {} wakes, {} events",
            Grouped(overview.greenlets),
            Grouped(overview.spawned),
            Grouped(overview.ended),
            Grouped(overview.switches),
            Grouped(overview.wakes),
            Grouped(overview.events)
        )?;
        let Totals {
            running_ns,
            ready_ns,
            waiting_ns,
            ..
        } = self.totals;
        writeln!(
            f,
            "  all greenlets together: {} running, {} ready, {} waiting",
            Nanos(running_ns),
            Nanos(ready_ns),
            Nanos(waiting_ns)
        )?;
        if overview.overwritten > 0 {
            let overwritten = Grouped(overview.overwritten);
            writeln!(f, "  {overwritten} events before these were written over")?;
        }
        for lost in &overview.lost {
            writeln!(
                f,
                "  LOST: {} events of {}",
                Grouped(lost.events),
                lost.ring
            )?;
        }
        if overview.unknown_events > 0 {
            let unknown = Grouped(overview.unknown_events);
            writeln!(
                f,
                "  {unknown} events of kinds that this version does not know"
            )?;
        }
        for problem in &overview.problems {
            writeln!(f, "  DAMAGED {problem}")?;
        }
        for panicked in &self.panics {
            writeln!(f, "  PANICKED: {panicked}")?;
        }
        Ok(())
    }

    fn fmt_hubs(&self, f: &mut Formatter<'_>) -> fmt::Result {
        heading(
            f,
            "hubs",
            "running sleeping between     runs  sleeps  steals  robbed   polls   blocked",
        )?;
        for hub in self.hubs.iter().take(MOST_HUBS) {
            let all = [hub.running_ns, hub.sleeping_ns, hub.scheduling_ns];
            let all = all.into_iter().fold(0, u64::saturating_add);
            writeln!(
                f,
                "  {}  {:>5.1} % {:>6.1} % {:>5.1} % {:>8} {:>7} {:>7} {:>7} {:>7} {:>9}",
                Tail(&hub.name, 21),
                percent(hub.running_ns, all),
                percent(hub.sleeping_ns, all),
                percent(hub.scheduling_ns, all),
                Grouped(hub.runs),
                Grouped(hub.sleeps),
                Grouped(hub.steals),
                Grouped(hub.robbed),
                Grouped(hub.polls),
                Nanos(
                    hub.blocked_on_cpu_ns
                        .saturating_add(hub.blocked_in_kernel_ns)
                ),
            )?;
        }
        if self.hubs.len() > MOST_HUBS {
            let more = self.hubs.len() - MOST_HUBS;
            writeln!(f, "  and {} more, which --json shows", Grouped(more as u64))?;
        }
        if self.hubs.len() > 1 {
            let points = self.imbalance * 100.0;
            writeln!(
                f,
                "  the busiest of a runtime ran {points:.1} points more than the least busy"
            )?;
        }
        Ok(())
    }

    fn fmt_latency(&self, f: &mut Formatter<'_>) -> fmt::Result {
        heading(f, "latency: from ready to running", FIGURES)?;
        let latency = &self.latency;
        figures(f, "after a wake", &latency.woken)?;
        figures(f, "after a spawn", &latency.spawned)?;
        figures(f, "after a yield", &latency.yielded)?;
        if latency.hubs.len() > 1 {
            heading(f, "after a wake, by hub", FIGURES)?;
            for hub in latency.hubs.iter().take(MOST_HUBS) {
                figures(f, &hub.name, &hub.figures)?;
            }
        }
        if !latency.sites.is_empty() {
            heading(f, "after a wake, by spawn site", FIGURES)?;
        }
        for site in &latency.sites {
            figures(f, &site.name, &site.figures)?;
        }
        Ok(())
    }

    fn fmt_waits(&self, f: &mut Formatter<'_>) -> fmt::Result {
        const COLUMNS: &str = "greenlets    waits     total  of all      mean       p99   longest";
        if self.waits.is_empty() {
            return Ok(());
        }
        let all = self.totals.waiting_ns;
        let row = |f: &mut Formatter<'_>, name: &str, greenlets: &str, figures: &Figures| {
            writeln!(
                f,
                "  {}  {greenlets:>9} {:>8} {:>9} {:>5.1} % {:>9} {:>9} {:>9}",
                Tail(name, WIDTH - COLUMNS.len() - 4),
                Grouped(figures.count),
                Nanos(figures.total_ns),
                percent(figures.total_ns, all),
                Nanos(figures.mean_ns),
                Nanos(figures.p99_ns),
                Nanos(figures.max_ns),
            )
        };
        let of_reasons = COLUMNS.trim_start_matches("greenlets").trim_start();
        heading(f, "waits, by reason", of_reasons)?;
        for wait in &self.waits {
            row(f, &wait.reason, "", &wait.figures)?;
        }
        if !self.objects.is_empty() {
            heading(f, "waits, by object", COLUMNS)?;
        }
        for object in &self.objects {
            let greenlets = Grouped(object.greenlets).to_string();
            row(f, &object.object, &greenlets, &object.figures)?;
        }
        Ok(())
    }

    fn fmt_greenlets(&self, f: &mut Formatter<'_>) -> fmt::Result {
        heading(f, "greenlets by spawn site", TOTALS)?;
        for site in &self.sites {
            totals(f, site.greenlets, &site.site, &site.totals)?;
        }
        let mut list = |title: &str, greenlets: &[GreenletTotals]| {
            heading(f, title, TOTALS)?;
            for greenlet in greenlets {
                let name = greenlet.name.as_ref().unwrap_or(&greenlet.site);
                totals(f, greenlet.greenlet, name, &greenlet.totals)?;
            }
            Ok(())
        };
        list("that ran longest", &self.most_running)?;
        list("that waited longest for a turn", &self.most_ready)
    }

    fn fmt_wakes(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.wakes_by_site.is_empty() {
            return Ok(());
        }
        heading(f, "who wakes whom, by spawn site", "times   latency")?;
        for pair in &self.wakes_by_site {
            writeln!(
                f,
                "  {} → {}  {:>8} {:>9}",
                Tail(&pair.by, 36),
                Tail(&pair.woken, 37),
                Grouped(pair.count),
                Nanos(pair.mean_latency_ns)
            )?;
        }
        Ok(())
    }

    fn fmt_long_runs(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.long_runs.is_empty() {
            return Ok(());
        }
        heading(f, "long runs, which kept hubs from others", "")?;
        for run in &self.long_runs {
            writeln!(
                f,
                "  {:>9} {} on hub {}: greenlet {} of {}",
                Nanos(run.nanos_ns),
                if run.in_kernel {
                    "in the kernel"
                } else {
                    "on the CPU"
                },
                run.hub,
                run.greenlet,
                run.name.as_ref().unwrap_or(&run.site),
            )?;
            for line in &run.stack {
                writeln!(f, "              {line}")?;
            }
        }
        Ok(())
    }

    fn fmt_program(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if !self.spans.is_empty() {
            heading(f, "spans", FIGURES)?;
        }
        for span in &self.spans {
            figures(f, &span.name, &span.figures)?;
            if span.open > 0 {
                writeln!(f, "    and {} that had not ended", Grouped(span.open))?;
            }
        }
        if !self.counters.is_empty() {
            let columns =
                "  values       first        last         min         p50         p99         max";
            heading(f, "counters", columns)?;
        }
        for counter in &self.counters {
            let name = Tail(&counter.name, 16);
            write!(f, "  {name}  {:>8}", Grouped(counter.count))?;
            for value in [
                counter.first,
                counter.last,
                counter.min,
                counter.p50,
                counter.p99,
                counter.max,
            ] {
                match value.abs() {
                    ..1e8 if value.fract() == 0.0 => write!(f, " {value:>11}")?,
                    ..1e8 => write!(f, " {value:>11.3}")?,
                    _ => write!(f, " {value:>11.4e}")?,
                }
            }
            writeln!(f)?;
        }
        if !self.marks.is_empty() {
            heading(f, "marks", "")?;
        }
        for mark in &self.marks {
            let after = Nanos(mark.after_ns);
            writeln!(f, "  {after:>9}  {} ({})", mark.name, mark.who)?;
        }
        Ok(())
    }

    fn fmt_lints(&self, f: &mut Formatter<'_>) -> fmt::Result {
        heading(f, "lints", "")?;
        if self.lints.is_empty() {
            return writeln!(f, "  none");
        }
        for lint in &self.lints {
            hanging(f, 2, &format!("{}: {}", lint.kind, lint.seen))?;
            paragraph(f, &lint.explanation)?;
            paragraph(f, &format!("What to do: {}.", lint.advice))?;
            if !lint.greenlets.is_empty() {
                let numbers: Vec<String> = lint.greenlets.iter().map(u64::to_string).collect();
                let more = lint.count.saturating_sub(lint.greenlets.len() as u64);
                let more = if more == 0 {
                    String::new()
                } else {
                    format!(" and {more} more")
                };
                paragraph(f, &format!("Greenlets: {}{more}", numbers.join(", ")))?;
                paragraph(f, &format!("Spawned at {}", lint.sites.join(", ")))?;
            }
        }
        Ok(())
    }
}

/// How far paragraphs are indented.
const INDENT: usize = 6;

/// Words, broken into lines.
fn paragraph(f: &mut Formatter<'_>, text: &str) -> fmt::Result {
    hanging(f, INDENT, text)
}

/// A paragraph whose first line is indented otherwise.
fn hanging(f: &mut Formatter<'_>, first: usize, text: &str) -> fmt::Result {
    let mut words = text.split(' ');
    let word = words.next().unwrap_or_default();
    write!(f, "{:first$}{word}", "")?;
    let mut column = first + word.chars().count();
    for word in words {
        let length = word.chars().count();
        if column + 1 + length > WIDTH {
            write!(f, "\n{:INDENT$}{word}", "")?;
            column = INDENT + length;
        } else {
            write!(f, " {word}")?;
            column += 1 + length;
        }
    }
    writeln!(f)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_three_digits_and_a_unit() {
        let times = [
            (0, "0 ns"),
            (999, "999 ns"),
            (1_000, "1.00 µs"),
            (9_999, "10.0 µs"),
            (12_345, "12.3 µs"),
            (999_400, "999 µs"),
            (12_345_678, "12.3 ms"),
            (3_000_000_000, "3.00 s"),
            (7_200_000_000_000, "7200 s"),
        ];
        for (nanos, text) in times {
            assert_eq!(Nanos(nanos).to_string(), text);
        }
        assert_eq!(format!("{:>9}", Nanos(5)), "     5 ns");
        assert_eq!(Grouped(1_234_567).to_string(), "1,234,567");
        assert_eq!(Grouped(12).to_string(), "12");
    }

    #[test]
    fn of_a_long_text_the_end_is_shown() {
        assert_eq!(
            Tail("src/main.rs:7:5", 20).to_string(),
            "src/main.rs:7:5     "
        );
        assert_eq!(Tail("src/main.rs:7:5", 9).to_string(), "…n.rs:7:5");
    }
}
