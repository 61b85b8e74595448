//! One page of plain text, for scripts.

use std::fmt::Write;

use crate::app::App;
use crate::text;

/// The page: the program, its hubs, and so many greenlets.
pub(crate) fn page(app: &App, lines: usize) -> String {
    let mut page = String::new();
    write(app, lines, &mut page).expect("a string takes everything");
    page
}

fn write(app: &App, lines: usize, page: &mut String) -> std::fmt::Result {
    writeln!(page, "{}", title(app))?;
    writeln!(page)?;
    writeln!(
        page,
        "{:<6} {:>6} {:>6} {:>11} {:>9} {:>7} {:>7}  STATE",
        "HUB", "BUSY%", "CPU%", "SWITCHES/S", "STEALS/S", "QUEUE", "TIMERS"
    )?;
    for hub in &app.hubs {
        writeln!(
            page,
            "{:<6} {:>6} {:>6} {:>11} {:>9} {:>7} {:>7}  {}",
            hub.name,
            text::percent(hub.busy),
            hub.cpu.map_or("-".into(), text::percent),
            text::count(hub.switches),
            text::count(hub.steals),
            text::count(hub.queued),
            text::count(hub.timers),
            if hub.is_asleep { "asleep" } else { "awake" },
        )?;
    }
    writeln!(page)?;
    writeln!(
        page,
        "{:>8} {:<20} {:<24} {:>8} {:>6} {:>7} {:>9} {:>9} {:>9}  SPAWNED AT",
        "GREENLET", "NAME", "STATE", "FOR", "RUN%", "RUNS/S", "LONGEST", "LATENCY", "WORST"
    )?;
    for row in app.rows.iter().take(lines) {
        writeln!(
            page,
            "{:>8} {:<20} {:<24} {:>8} {:>6} {:>7} {:>9} {:>9} {:>9}  {}",
            row.number,
            row.name,
            row.state,
            text::duration(row.since),
            text::percent(row.running),
            text::count(row.runs),
            text::duration(row.longest_run),
            row.mean_latency.map_or("-".into(), text::duration),
            text::duration(row.latest),
            row.site,
        )?;
    }
    let hidden = app.matching.saturating_sub(lines.min(app.rows.len()));
    if hidden > 0 {
        writeln!(page, "and {hidden} more")?;
    }
    Ok(())
}

/// The first line.
pub(crate) fn title(app: &App) -> String {
    let program = &app.program;
    let uptime = program.uptime().map_or_else(|| "-".into(), text::clock);
    let mut title = format!(
        "{}  process {}  up {uptime}  {} hubs  {} greenlets  {} switches/s",
        program.name,
        program.process,
        app.hubs.len(),
        text::count(app.greenlets()),
        text::count(app.switches()),
    );
    let lost = app.stream.lost();
    if lost > 0 {
        title += &format!("  {} events lost", text::count(lost as f64));
    }
    title
}
