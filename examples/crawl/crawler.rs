//! The crawl: workers that share a frontier.

use std::sync::Arc;
use std::time::{Duration, Instant};

use greenlet::trace;
use indicatif::ProgressBar;

use crate::args::Args;
use crate::frontier::{Frontier, Job};
use crate::site::Site;
use crate::visitor::{Answer, Visit, Visitor};

/// Crawls one site.
#[derive(Debug)]
pub(crate) struct Crawler {
    site: Arc<Site>,
    frontier: Frontier,
    timeout: Duration,
    retries: u32,
    progress: ProgressBar,
}

/// A finished crawl.
#[derive(Debug)]
pub(crate) struct Crawl {
    pub(crate) visits: Vec<Visit>,
    pub(crate) wall: Duration,
}

impl Crawler {
    pub(crate) fn new(site: Site, args: &Args, progress: ProgressBar) -> Arc<Self> {
        Arc::new(Self {
            frontier: Frontier::new(site.start.clone(), args.max_pages),
            site: Arc::new(site),
            timeout: args.timeout,
            retries: args.retries,
            progress,
        })
    }

    /// Visits the start page and all that can be reached from it, `workers` pages at a time.
    pub(crate) fn crawl(self: &Arc<Self>, workers: usize) -> Crawl {
        let started = Instant::now();
        let workers: Vec<_> = (0..workers)
            .map(|_| {
                let crawler = Arc::clone(self);
                greenlet::spawn(move || crawler.work())
            })
            .collect();
        let visits = workers
            .into_iter()
            .flat_map(|worker| worker.join().expect("workers do not panic"))
            .collect();
        Crawl {
            visits,
            wall: started.elapsed(),
        }
    }

    /// Someone who can visit the pages of the site.
    pub(crate) fn visitor(&self) -> Visitor {
        Visitor::new(Arc::clone(&self.site), self.timeout, self.retries)
    }

    /// What each worker does: visit pages until there are no more.
    fn work(&self) -> Vec<Visit> {
        let mut visitor = self.visitor();
        let mut visits = Vec::new();
        while let Some(job) = self.frontier.next() {
            let span = trace::span("visit");
            let mut visit = visitor.visit(job.url.clone());
            self.follow(&job, &mut visit);
            drop(span);
            visits.push(visit);
            self.progress.inc(1);
            let seen = self.frontier.seen();
            self.progress.set_length(seen as u64);
            trace::counter("pages known", seen as f64);
        }
        visits
    }

    /// Puts what the visit found into the frontier.
    fn follow(&self, job: &Job<'_>, visit: &mut Visit) {
        match &mut visit.outcome {
            Ok(Answer::Page { links, .. }) => {
                job.add_links(std::mem::take(links));
            }
            Ok(Answer::Redirect(target)) => {
                if let Err(error) = job.redirect(target.clone()) {
                    visit.outcome = Err(error);
                }
            }
            Ok(Answer::OffSite(_)) | Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo_site::DemoSite;
    use crate::fetch_error::FetchError;
    use std::collections::BTreeMap;

    fn crawl(start: &str, words: &[&str]) -> Crawl {
        let args = Args::parse(words.iter().map(Into::into));
        let args = args.unwrap().unwrap();
        let site = Site::find(start).unwrap();
        Crawler::new(site, &args, ProgressBar::hidden()).crawl(args.concurrency)
    }

    #[test]
    fn the_demo_site_is_crawled_to_the_last_page() {
        greenlet::run(|| {
            let demo = DemoSite::start().unwrap();
            // A busy machine may need its time; the slow pages take longer all the same.
            let crawl = crawl(&demo.url(), &["--timeout", "2"]);
            demo.stop();

            let mut kinds = BTreeMap::<String, usize>::new();
            for visit in &crawl.visits {
                let kind = match &visit.outcome {
                    Ok(Answer::Page { .. }) => visit.url.path().split('/').nth(1).unwrap(),
                    Ok(Answer::Redirect(_)) => "redirect",
                    Ok(Answer::OffSite(_)) => "off-site",
                    Err(error) => &error.to_string(),
                };
                *kinds.entry(kind.to_owned()).or_default() += 1;
            }
            // 20 of the numbers are 7 or 22 modulo 30; the even ones take one more step.
            let expected = [
                ("", 1),
                ("HTTP 404", 10),
                ("off-site", 1),
                ("page", 599),
                ("redirect", 40 + 20 + 1),
                ("redirect loop", 1),
                ("search", 10),
            ];
            let kinds: Vec<_> = kinds.iter().map(|(kind, &n)| (kind.as_str(), n)).collect();
            assert_eq!(kinds, expected);
            // Slow, hanging up, busy: each six times. What hangs up on a used connection is
            // tried again at once, and counts as no retry.
            let retries: u32 = crawl.visits.iter().map(|visit| visit.retries).sum();
            assert!((12..=18).contains(&retries), "{retries} retries");
        });
    }

    #[test]
    fn a_start_page_that_cannot_be_fetched_is_one_error() {
        greenlet::run(|| {
            let crawl = crawl("http://127.0.0.1:1/", &["--retries", "1"]);
            assert_eq!(crawl.visits.len(), 1);
            assert_eq!(crawl.visits[0].retries, 1);
            assert!(matches!(crawl.visits[0].outcome, Err(FetchError::Io(_))));
        });
    }
}
