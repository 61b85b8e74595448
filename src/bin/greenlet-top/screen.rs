//! The screen: what is on it, and what keys do.

use std::io;
use std::time::Duration;

use ratatui::Frame;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Cell, Clear, Paragraph, Row, Table, TableState, Wrap};

use crate::app::{App, HubRow, Lints, Sort};
use crate::connection::Asker;
use crate::model::Doing;
use crate::page;
use crate::text;

/// How often it is drawn, unless keys are pressed.
const PERIOD: Duration = Duration::from_millis(200);

/// Nothing can be shown in less.
const SMALLEST: (u16, u16) = (40, 8);

/// What is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum View {
    Table,
    /// One greenlet and its stack.
    Detail(u64),
    Lints,
    Help,
}

#[derive(Debug)]
struct Screen<'a> {
    app: App,
    asker: &'a Asker,
    styles: Styles,
    view: View,
    /// The greenlet that is selected: it stays so when the order changes.
    selected: Option<u64>,
    table: TableState,
    /// The filter is being typed.
    is_typing: bool,
    /// How far a text is scrolled.
    scroll: u16,
}

/// Colours, or none.
#[derive(Clone, Copy, Debug)]
struct Styles {
    title: Style,
    head: Style,
    running: Style,
    ready: Style,
    waiting: Style,
    warning: Style,
    bar: Style,
    dim: Style,
}

impl Styles {
    fn new(has_colours: bool) -> Self {
        let colour = |colour| match has_colours {
            true => Style::new().fg(colour),
            false => Style::new(),
        };
        Self {
            title: Style::new().add_modifier(Modifier::BOLD),
            head: colour(Color::Cyan).add_modifier(Modifier::BOLD),
            running: colour(Color::Green),
            ready: colour(Color::Yellow),
            waiting: Style::new(),
            warning: colour(Color::Red).add_modifier(Modifier::BOLD),
            bar: colour(Color::Green),
            dim: colour(Color::DarkGray),
        }
    }
}

/// Shows the screen until the user quits.
pub(crate) fn run(app: App, asker: &Asker, has_colours: bool) -> io::Result<()> {
    let mut terminal = ratatui::try_init()?;
    let mut screen = Screen {
        app,
        asker,
        styles: Styles::new(has_colours),
        view: View::Table,
        selected: None,
        table: TableState::default(),
        is_typing: false,
        scroll: 0,
    };
    let result = loop {
        screen.catch_up();
        if let Err(error) = terminal.draw(|frame| screen.draw(frame)) {
            break Err(error);
        }
        match screen.handle_keys() {
            Ok(true) => break Ok(()),
            Ok(false) => {}
            Err(error) => break Err(error),
        }
    };
    ratatui::try_restore()?;
    result
}

impl Screen<'_> {
    fn catch_up(&mut self) {
        while let Ok(news) = self.asker.news.try_recv() {
            self.app.take_news(news);
        }
        self.app.tick();
    }

    /// Waits a while for keys. Answers whether it is to end.
    fn handle_keys(&mut self) -> io::Result<bool> {
        let mut wait = PERIOD;
        while event::poll(wait)? {
            // Others of those that are there already.
            wait = Duration::ZERO;
            if let Event::Key(key) = event::read()?
                && key.kind != KeyEventKind::Release
                && self.handle(key)
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn handle(&mut self, key: KeyEvent) -> bool {
        let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
        if is_control && key.code == KeyCode::Char('c') {
            return true;
        }
        if self.is_typing {
            self.type_filter(key.code);
            return false;
        }
        match (key.code, self.view) {
            (KeyCode::Char('q'), _) => return true,
            (KeyCode::Esc, View::Table) => {
                self.app.filter.clear();
                self.app.arrange();
            }
            (KeyCode::Esc | KeyCode::Backspace | KeyCode::Left, _) => self.show(View::Table),
            (KeyCode::Char('?' | 'h'), View::Help) => self.show(View::Table),
            (KeyCode::Char('?' | 'h'), _) => self.show(View::Help),
            (KeyCode::Char('d'), View::Lints) => self.show(View::Table),
            (KeyCode::Char('d'), _) => {
                self.app.want_lints();
                self.show(View::Lints);
            }
            (KeyCode::Char('r'), View::Table) => self.sort(Sort::Run),
            (KeyCode::Char('w'), View::Table) => self.sort(Sort::Wait),
            (KeyCode::Char('l'), View::Table) => self.sort(Sort::Latency),
            (KeyCode::Char('p' | ' '), _) => self.app.is_paused = !self.app.is_paused,
            (KeyCode::Char('/'), View::Table) => self.is_typing = true,
            (KeyCode::Enter, View::Table) => {
                // The first one, if none is selected.
                self.selected = self
                    .selected
                    .or(self.app.rows.first().map(|row| row.number));
                if let Some(number) = self.selected {
                    self.want_detail(number);
                }
            }
            (KeyCode::Enter, View::Detail(number)) => self.want_detail(number),
            (code, View::Table) => self.move_selection(code),
            (code, _) => self.move_text(code),
        }
        false
    }

    fn show(&mut self, view: View) {
        self.view = view;
        self.scroll = 0;
    }

    fn sort(&mut self, sort: Sort) {
        self.app.sort = sort;
        self.app.arrange();
    }

    fn want_detail(&mut self, number: u64) {
        self.app.dump = None;
        self.asker.dump();
        self.show(View::Detail(number));
    }

    fn type_filter(&mut self, code: KeyCode) {
        match code {
            KeyCode::Enter => self.is_typing = false,
            KeyCode::Esc => {
                self.is_typing = false;
                self.app.filter.clear();
            }
            KeyCode::Backspace => drop(self.app.filter.pop()),
            KeyCode::Char(character) => self.app.filter.push(character),
            _ => {}
        }
        self.app.arrange();
    }

    fn move_selection(&mut self, code: KeyCode) {
        let last = self.app.rows.len().saturating_sub(1);
        let now = self.selected_row();
        let to = match (code, now) {
            (KeyCode::Home, _) => 0,
            (KeyCode::End, _) => last,
            (KeyCode::Down | KeyCode::Char('j') | KeyCode::PageDown, None) => 0,
            (KeyCode::Up | KeyCode::Char('k') | KeyCode::PageUp, None) => last,
            (KeyCode::Down | KeyCode::Char('j'), Some(row)) => (row + 1).min(last),
            (KeyCode::Up | KeyCode::Char('k'), Some(row)) => row.saturating_sub(1),
            (KeyCode::PageDown, Some(row)) => (row + 10).min(last),
            (KeyCode::PageUp, Some(row)) => row.saturating_sub(10),
            _ => return,
        };
        self.selected = self.app.rows.get(to).map(|row| row.number);
    }

    fn selected_row(&self) -> Option<usize> {
        let selected = self.selected?;
        let mut rows = self.app.rows.iter();
        rows.position(|row| row.number == selected)
    }

    fn move_text(&mut self, code: KeyCode) {
        self.scroll = match code {
            KeyCode::Down | KeyCode::Char('j') => self.scroll.saturating_add(1),
            KeyCode::Up | KeyCode::Char('k') => self.scroll.saturating_sub(1),
            KeyCode::PageDown => self.scroll.saturating_add(10),
            KeyCode::PageUp => self.scroll.saturating_sub(10),
            KeyCode::Home => 0,
            _ => self.scroll,
        };
    }

    fn draw(&mut self, frame: &mut Frame<'_>) {
        let area = frame.area();
        if area.width < SMALLEST.0 || area.height < SMALLEST.1 {
            let (width, height) = SMALLEST;
            let what = format!("greenlet-top needs {width} x {height}");
            return frame.render_widget(Paragraph::new(what).wrap(Wrap { trim: true }), area);
        }
        // So many hubs that greenlets have half of the screen.
        let most = usize::from(area.height / 2).saturating_sub(3).max(1);
        let shown = self.app.hubs.len().min(most);
        let more = usize::from(self.app.hubs.len() > shown);
        let hubs_height = (shown + more + 1) as u16;
        let areas = Layout::vertical([
            Constraint::Length(1),
            Constraint::Length(hubs_height),
            Constraint::Min(1),
            Constraint::Length(1),
        ]);
        let [title, hubs, main, foot] = areas.areas(area);
        self.draw_title(frame, title);
        self.draw_hubs(frame, hubs, shown);
        match self.view {
            View::Table => self.draw_table(frame, main),
            View::Detail(number) => self.draw_detail(frame, main, number),
            View::Lints => self.draw_lints(frame, main),
            View::Help => self.draw_text(
                frame,
                main,
                " help ",
                HELP.lines().map(Line::from).collect(),
            ),
        }
        self.draw_foot(frame, foot);
    }

    fn draw_title(&self, frame: &mut Frame<'_>, area: Rect) {
        let mut line = Line::styled(page::title(&self.app), self.styles.title);
        if self.app.is_paused {
            line.push_span(Span::styled("  PAUSED", self.styles.warning));
        }
        frame.render_widget(line, area);
    }

    fn draw_hubs(&self, frame: &mut Frame<'_>, area: Rect, shown: usize) {
        let bar = usize::from(area.width.saturating_sub(64).clamp(8, 40));
        let head = format!(
            "{:<5} {:<bar$} {:>6} {:>6} {:>11} {:>9} {:>6} {:>7}",
            "HUB",
            "BUSY",
            "BUSY%",
            "CPU%",
            "SWITCHES/S",
            "STEALS/S",
            "QUEUE",
            "TIMERS",
            bar = bar + 2,
        );
        let mut lines = vec![Line::styled(head, self.styles.head)];
        let hubs = self.app.hubs.iter().take(shown);
        lines.extend(hubs.map(|hub| self.hub_line(hub, bar)));
        if self.app.hubs.len() > shown {
            let more = format!("and {} more", self.app.hubs.len() - shown);
            lines.push(Line::styled(more, self.styles.dim));
        }
        frame.render_widget(Paragraph::new(lines), area);
    }

    fn hub_line(&self, hub: &HubRow, bar: usize) -> Line<'_> {
        let full = (hub.busy * bar as f64).round() as usize;
        let numbers = format!(
            " {:>6} {:>6} {:>11} {:>9} {:>6} {:>7}",
            text::percent(hub.busy),
            hub.cpu.map_or("-".into(), text::percent),
            text::count(hub.switches),
            text::count(hub.steals),
            text::count(hub.queued),
            text::count(hub.timers),
        );
        let style = match hub.is_asleep && hub.busy < 0.005 {
            true => self.styles.dim,
            false => Style::new(),
        };
        Line::from(vec![
            Span::styled(format!("{:<5} [", hub.name), style),
            Span::styled("|".repeat(full), self.styles.bar),
            Span::styled(format!("{}]", " ".repeat(bar - full.min(bar))), style),
            Span::styled(numbers, style),
        ])
    }

    fn draw_table(&mut self, frame: &mut Frame<'_>, area: Rect) {
        let columns = Columns::that_fit(area.width);
        let sorted = |sort: Sort, name: &'static str| match self.app.sort == sort {
            true => format!("{name}*"),
            false => name.to_owned(),
        };
        let right = |text: String| Cell::from(Line::from(text).right_aligned());
        let head = columns.row([
            right("GREENLET".into()),
            Cell::from("NAME"),
            Cell::from("STATE"),
            right(sorted(Sort::Wait, "FOR")),
            right(sorted(Sort::Run, "RUN%")),
            right(sorted(Sort::Latency, "WORST")),
            right("RUNS/S".into()),
            right("LONGEST".into()),
            right("LATENCY".into()),
            Cell::from("SPAWNED AT"),
        ]);
        let styles = self.styles;
        let rows = self.app.rows.iter().map(|row| {
            let style = match row.doing {
                Doing::Running(_) => styles.running,
                Doing::Ready => styles.ready,
                Doing::Waiting(_) => styles.waiting,
            };
            columns.row([
                right(row.number.to_string()),
                Cell::from(row.name.as_str()),
                Cell::from(Span::styled(row.state.as_str(), style)),
                right(text::duration(row.since)),
                right(text::percent(row.running)),
                right(text::duration(row.latest)),
                right(text::count(row.runs)),
                right(text::duration(row.longest_run)),
                right(row.mean_latency.map_or("-".into(), text::duration)),
                Cell::from(row.site.as_str()),
            ])
        });
        let widths = columns.widths();
        let table = Table::new(rows, widths)
            .header(head.style(styles.head))
            .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED))
            .block(Block::new().borders(Borders::TOP).title(self.table_title()));
        let selected = self.selected_row();
        self.table.select(selected);
        frame.render_stateful_widget(table, area, &mut self.table);
    }

    fn table_title(&self) -> String {
        let sort = match self.app.sort {
            Sort::Run => "those that ran most",
            Sort::Wait => "those that have been waiting longest",
            Sort::Latency => "those that waited longest for their turn",
        };
        let filter = &self.app.filter;
        let only = match filter.is_empty() {
            true => String::new(),
            false => format!(", {} with \"{filter}\"", self.app.matching),
        };
        format!(" greenlets: {sort}{only} ")
    }

    fn draw_detail(&self, frame: &mut Frame<'_>, area: Rect, number: u64) {
        let lines = match &self.app.dump {
            None => vec![Line::from("asking for a dump")],
            Some(Err(error)) => vec![Line::styled(error.as_str(), self.styles.warning)],
            Some(Ok(dump)) => dump.lines(number).into_iter().map(Line::from).collect(),
        };
        let row = self.app.rows.iter().find(|row| row.number == number);
        let name = row.map(|row| row.name.as_str()).filter(|name| *name != "-");
        let name = name.map_or_else(String::new, |name| format!(" '{name}'"));
        self.draw_text(frame, area, &format!(" greenlet #{number}{name} "), lines);
    }

    fn draw_lints(&self, frame: &mut Frame<'_>, area: Rect) {
        let lines = match &self.app.lints {
            None | Some(Lints::Wanted(_)) => vec![Line::from("looking at the last events")],
            Some(Lints::Found(Err(error))) => {
                vec![Line::styled(error.as_str(), self.styles.warning)]
            }
            Some(Lints::Found(Ok(lints))) if lints.is_empty() => {
                vec![Line::from(
                    "nothing looks like a mistake in the last events",
                )]
            }
            Some(Lints::Found(Ok(lints))) => {
                let lines = lints.iter().flat_map(|lint| {
                    let head = format!("{}: {}", lint.kind, lint.seen);
                    let sites = lint
                        .sites
                        .iter()
                        .map(|site| Line::from(format!("  at {site}")));
                    let mut lines = vec![
                        Line::styled(head, self.styles.warning),
                        Line::from(format!("  {}", lint.explanation)),
                        Line::from(format!("  {}", lint.advice)),
                    ];
                    lines.extend(sites);
                    lines.push(Line::default());
                    lines
                });
                lines.collect()
            }
        };
        self.draw_text(frame, area, " lints ", lines);
    }

    fn draw_text(&self, frame: &mut Frame<'_>, area: Rect, title: &str, lines: Vec<Line<'_>>) {
        let last = lines.len().saturating_sub(1) as u16;
        let text = Paragraph::new(lines)
            .block(Block::new().borders(Borders::TOP).title(title.to_owned()))
            .wrap(Wrap { trim: false })
            .scroll((self.scroll.min(last), 0));
        frame.render_widget(Clear, area);
        frame.render_widget(text, area);
    }

    fn draw_foot(&self, frame: &mut Frame<'_>, area: Rect) {
        let line = if self.is_typing {
            Line::from(format!(
                "filter: {}_  (enter: keep, esc: none)",
                self.app.filter
            ))
        } else if let Some(trouble) = &self.app.trouble {
            Line::styled(trouble.as_str(), self.styles.warning)
        } else {
            let keys = match self.view {
                View::Table if area.width < 92 => {
                    "r/w/l sort  enter stack  / filter  d lints  p pause  ? help  q quit"
                }
                View::Table => {
                    "r run  w wait  l latency  up/down enter stack  / filter  d lints  p pause  ? help  q quit"
                }
                View::Detail(_) => "enter again  up/down scroll  esc back  q quit",
                View::Lints | View::Help => "up/down scroll  esc back  q quit",
            };
            Line::styled(keys, self.styles.dim)
        };
        frame.render_widget(line, area);
    }
}

/// The columns of the table, as many as fit.
#[derive(Clone, Copy, Debug)]
struct Columns {
    /// All but this many of the last ones but one are there; that is where the greenlet was spawned.
    left_out: usize,
    has_site: bool,
    /// States are cut off.
    is_narrow: bool,
}

impl Columns {
    const WIDTHS: [Constraint; 10] = [
        Constraint::Length(8),
        Constraint::Fill(2),
        Constraint::Length(22),
        Constraint::Length(8),
        Constraint::Length(5),
        Constraint::Length(7),
        Constraint::Length(6),
        Constraint::Length(7),
        Constraint::Length(7),
        Constraint::Fill(3),
    ];

    fn that_fit(width: u16) -> Self {
        let left_out = match width {
            110.. => 0,
            100.. => 2,
            60.. => 3,
            _ => 4,
        };
        Self {
            left_out,
            has_site: width >= 90,
            is_narrow: width < 80,
        }
    }

    fn choose<T>(self, columns: [T; 10]) -> Vec<T> {
        let site = columns.len() - 1;
        let numbers = ..site - self.left_out;
        let numbered = columns.into_iter().enumerate();
        let chosen =
            numbered.filter(|(at, _)| numbers.contains(at) || *at == site && self.has_site);
        chosen.map(|(_, column)| column).collect()
    }

    fn row(self, cells: [Cell<'_>; 10]) -> Row<'_> {
        Row::new(self.choose(cells))
    }

    fn widths(self) -> Vec<Constraint> {
        let mut widths = Self::WIDTHS;
        if self.is_narrow {
            widths[2] = Constraint::Fill(2);
        }
        self.choose(widths)
    }
}

const HELP: &str = "\
r, w, l          sort by running time, by time waited so far, by the longest wait for a turn
up, down         select a greenlet (also j, k, page up, page down, home, end)
enter            its state and stack, from a dump of the program
/                show only greenlets with a text in name, place, or state; #7 is greenlet 7
d                what looks like a mistake in the last events
p                pause: the tables stay as they are
esc              back; in the table: no filter
q                quit

Figures are of the last second:

BUSY%            part of the time in which the hub ran greenlets
CPU%             part of the time in which its thread computed: less if greenlets block it
QUEUE            greenlets ready to run at the hub; TIMERS: greenlets that parked there with a deadline
FOR              how long the greenlet has been in its state
RUN%, RUNS/S     part of the time in which it ran, and how often it was switched in
LONGEST          its longest run
LATENCY, WORST   from ready to running: the mean, and the longest
";
