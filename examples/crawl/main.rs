//! Crawls a web site hundreds of pages at a time, on one or two OS threads.
//!
//! ```text
//! cargo run --release --example crawl                              # a demo site of our own
//! cargo run --release --example crawl -- --url http://host:port/   # any HTTP/1.1 server
//! cargo run --release --features analysis --example crawl -- --report crawl.html   # what the scheduler did
//! ```
//!
//! The code is what one would write for a single page: connect, write, read until done, sleep a
//! little and try again. Each worker in `crawler.rs` does that in a loop; there just happen to be
//! hundreds of them, and each is a greenlet. The demo site in `demo_site.rs` is a server in the
//! same style, and runs beside the crawler on the same threads.
//!
//! | File | What it is |
//! |---|---|
//! | `args.rs` | the command line |
//! | `site.rs` | the site that is crawled: start page and server address |
//! | `frontier.rs` | the pages that are known and not yet visited; the workers wait here |
//! | `crawler.rs` | the workers |
//! | `visitor.rs` | one visit: fetch, retry, find the links |
//! | `http_client.rs` | requests, over a connection that is kept |
//! | `deadline_stream.rs` | a connection on which everything has to be done by a certain time |
//! | `response.rs` | the HTTP response parser |
//! | `links.rs` | the HTML link extractor |
//! | `fetch_error.rs` | why a page could not be fetched |
//! | `serial.rs` | the same work, one page at a time |
//! | `report.rs` | the table |
//! | `demo_site.rs` | the demo site |
//! | `recording.rs` | what the scheduler does meanwhile, as a file |

mod args;
mod crawler;
mod deadline_stream;
mod demo_site;
mod fetch_error;
mod frontier;
mod http_client;
mod links;
mod recording;
mod report;
mod response;
mod serial;
mod site;
mod visitor;

use std::env;
use std::process::ExitCode;
use std::time::Duration;

use greenlet::Runtime;
use indicatif::{ProgressBar, ProgressStyle};

use crate::args::{Args, HELP};
use crate::crawler::{Crawl, Crawler};
use crate::demo_site::DemoSite;
use crate::recording::Recording;
use crate::report::{Machine, Report};
use crate::serial::Serial;
use crate::site::Site;
use crate::visitor::Answer;

/// The comparison with one page at a time may take about so long.
const SERIAL_BUDGET: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let args = match Args::parse(env::args_os().skip(1)) {
        Ok(Some(args)) => args,
        Ok(None) => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("crawl: {error}; --help tells more");
            return ExitCode::from(2);
        }
    };
    match crawl(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("crawl: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Crawls in a runtime of its own and prints the report.
fn crawl(args: &Args) -> Result<(), String> {
    // Each connection needs a descriptor. If there can be no more, connecting will tell.
    let _ = rlimit::increase_nofile_limit(u64::MAX);

    let runtime = match args.hubs {
        Some(hubs) => Runtime::builder().hubs(hubs).build(),
        None => Runtime::builder().build(),
    }
    .map_err(|error| error.to_string())?;

    let recording = Recording::start(args)?;
    let hubs = runtime.hubs();
    let done = runtime.run(|| match &args.url {
        Some(url) => crawl_site(Site::find(url)?, args, hubs),
        None => {
            let demo = DemoSite::start().map_err(|error| format!("no demo site: {error}"))?;
            let done = Site::find(&demo.url()).and_then(|site| crawl_site(site, args, hubs));
            demo.stop();
            done
        }
    });
    let recorded = recording.map_or(Ok(()), Recording::finish);
    done.and(recorded)
}

fn crawl_site(site: Site, args: &Args, hubs: usize) -> Result<(), String> {
    let start = site.start.clone();
    let progress = progress_bar();
    let crawler = Crawler::new(site, args, progress.clone());
    let crawl = crawler.crawl(args.concurrency);
    let machine = Machine::read(hubs);

    let failure = start_failure(&crawl);
    let serial = failure.is_none().then(|| {
        progress.set_message("done; now some of it one page at a time");
        Serial::measure(crawler.visitor(), &crawl, SERIAL_BUDGET)
    });
    progress.finish_and_clear();

    let report = Report::new(&crawl, serial, machine);
    if args.json {
        println!("{}", report.to_json());
    } else {
        print!("{report}");
    }
    match failure {
        Some(failure) => Err(format!("cannot fetch {start}: {failure}")),
        None => Ok(()),
    }
}

/// Why there is not a single page: then the start page, or what it redirects to, has failed.
fn start_failure(crawl: &Crawl) -> Option<String> {
    let mut failure = "no answer".to_owned();
    for visit in &crawl.visits {
        match &visit.outcome {
            Ok(Answer::Page { .. }) => return None,
            Ok(Answer::Redirect(_)) => {}
            Ok(Answer::OffSite(target)) => {
                failure = match target.scheme() {
                    "https" => format!("it is at {target}, but TLS is not supported"),
                    _ => format!("it is on another site, {target}"),
                }
            }
            Err(error) => return Some(error.to_string()),
        }
    }
    Some(failure)
}

/// A progress bar on stderr. When that is no terminal it is not drawn.
fn progress_bar() -> ProgressBar {
    let style = "{bar:40} {pos} of {len} pages known, {elapsed} {msg}";
    let style = ProgressStyle::with_template(style).expect("the template is right");
    ProgressBar::new(1).with_style(style)
}
