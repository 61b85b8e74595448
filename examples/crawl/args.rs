//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use lexopt::prelude::*;

pub(crate) const HELP: &str = "\
Crawls a web site with one greenlet per connection, in plain blocking code.

Usage: crawl [OPTIONS]

Without --url it starts a demo site of a few hundred pages and crawls that.

Options:
  --url URL          crawl the site of this http:// address
  --hubs N           run on N hubs (OS threads)         [default: GREENLET_HUBS, or the CPUs]
  --concurrency N    fetch N pages at once              [default: 256; 32 with --url]
  --timeout SECONDS  give a page so long, at each try   [default: 1; 10 with --url]
  --retries N        try a page so many times more      [default: 2]
  --max-pages N      visit no more addresses than that  [default: 10000]
  --json             print the result as a JSON object
  --trace FILE       record what the scheduler does; greenlet-trace reads it
  --report FILE      the same as a page for a browser (with the feature `analysis` of greenlet)
  --help             print this text

Ends with code 0 when the start page was fetched, 1 when it could not be, and 2 when the
command line is wrong.
";

/// More greenlets than that only run out of ports and descriptors.
const MAX_CONCURRENCY: usize = 10_000;

const NO_REPORT: &str = "\
--report needs `cargo run --release --features analysis --example crawl -- --report FILE`";

/// What the user asked for.
#[derive(Debug)]
pub(crate) struct Args {
    /// The start page; none for the demo site.
    pub(crate) url: Option<String>,
    /// None leaves it to the runtime.
    pub(crate) hubs: Option<usize>,
    pub(crate) concurrency: usize,
    pub(crate) timeout: Duration,
    pub(crate) retries: u32,
    pub(crate) max_pages: usize,
    pub(crate) json: bool,
    /// Where the scheduler's trace goes.
    pub(crate) trace: Option<PathBuf>,
    /// Where a page that shows the trace goes.
    pub(crate) report: Option<PathBuf>,
}

impl Args {
    /// Reads the words after the program's name; `None` is a request for help.
    pub(crate) fn parse(
        words: impl IntoIterator<Item = OsString>,
    ) -> Result<Option<Self>, lexopt::Error> {
        let (mut url, mut hubs, mut concurrency, mut timeout) = (None, None, None, None);
        let (mut retries, mut max_pages, mut json) = (2, 10_000, false);
        let (mut trace, mut report) = (None, None);

        let mut parser = lexopt::Parser::from_args(words);
        while let Some(argument) = parser.next()? {
            match argument {
                Long("url") => url = Some(parser.value()?.string()?),
                Long("hubs") => hubs = Some(count(&parser.value()?.string()?, usize::MAX)?),
                Long("concurrency") => {
                    concurrency = Some(count(&parser.value()?.string()?, MAX_CONCURRENCY)?);
                }
                Long("timeout") => timeout = Some(seconds(&parser.value()?.string()?)?),
                Long("retries") => retries = parser.value()?.parse()?,
                Long("max-pages") => max_pages = count(&parser.value()?.string()?, usize::MAX)?,
                Long("json") => json = true,
                Long("trace") => trace = Some(parser.value()?.into()),
                Long("report") if cfg!(feature = "analysis") => {
                    report = Some(parser.value()?.into());
                }
                Long("report") => return Err(NO_REPORT.into()),
                Long("help") | Short('h') => return Ok(None),
                _ => return Err(argument.unexpected()),
            }
        }

        // The demo site is ours and near; somebody else's deserves fewer connections and patience.
        let demo = url.is_none();
        Ok(Some(Self {
            url,
            hubs,
            concurrency: concurrency.unwrap_or(if demo { 256 } else { 32 }),
            timeout: timeout.unwrap_or(Duration::from_secs(if demo { 1 } else { 10 })),
            retries,
            max_pages,
            json,
            trace,
            report,
        }))
    }
}

fn count(word: &str, max: usize) -> Result<usize, String> {
    match usize::from_str(word) {
        Ok(number) if (1..=max).contains(&number) => Ok(number),
        Ok(number) if number > max => Err(format!("{word} is more than {max}")),
        _ => Err(format!("{word:?} is not a number from 1 up")),
    }
}

fn seconds(word: &str) -> Result<Duration, String> {
    let duration = f64::from_str(word)
        .ok()
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    match duration {
        Some(duration) if duration >= Duration::from_millis(1) && duration.as_secs() <= 86_400 => {
            Ok(duration)
        }
        _ => Err(format!(
            "{word:?} is not a number of seconds from 0.001 to 86400"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Option<Args>, lexopt::Error> {
        Args::parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn the_demo_site_is_crawled_faster_than_a_foreign_one() {
        let demo = parse("").unwrap().unwrap();
        let foreign = parse("--url http://a/").unwrap().unwrap();
        assert!(demo.concurrency > foreign.concurrency);
        assert!(demo.timeout < foreign.timeout);
    }

    #[test]
    fn numbers_that_make_no_sense_are_refused() {
        for line in [
            "--hubs 0",
            "--concurrency 0",
            "--concurrency 10001",
            "--timeout 0",
            "--timeout -1",
            "--timeout nan",
            "--timeout 1e300",
            "--retries -1",
            "--max-pages 0",
            "--frobnicate",
            "stray",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn a_report_needs_the_feature() {
        let args = parse("--report page.html --trace a.trace");
        match cfg!(feature = "analysis") {
            true => assert_eq!(
                args.unwrap().unwrap().report.unwrap().to_str(),
                Some("page.html")
            ),
            false => assert!(
                args.unwrap_err()
                    .to_string()
                    .contains("--features analysis")
            ),
        }
    }

    #[test]
    fn help_wins_over_everything_before_it() {
        assert!(parse("--json --help").unwrap().is_none());
    }
}
