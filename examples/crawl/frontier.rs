//! The pages that are known and not yet visited.
//!
//! The workers share one frontier: they take jobs from it, and put in the links that they find. A
//! worker that finds the queue empty parks, because a page that is being visited may still have
//! links. The crawl is over when the queue is empty and no job is out.
//!
//! The lock is a std mutex, held for a few instructions and never while a greenlet parks: another
//! greenlet of the same hub that wants the lock would block the hub, and with it the one that
//! would unlock it.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard};

use greenlet::Greenlet;
use url::Url;

use crate::fetch_error::FetchError;

/// Chains of redirects longer than this are given up.
const MAX_REDIRECTS: usize = 10;

/// A queue of jobs that knows when there will be no more.
#[derive(Debug)]
pub(crate) struct Frontier {
    state: Mutex<State>,
    /// No more addresses than this are ever taken in.
    max_pages: usize,
}

#[derive(Debug, Default)]
struct State {
    /// Addresses to visit, each with the number of redirects that led there.
    queue: VecDeque<(Url, usize)>,
    /// Every address that was ever in the queue.
    seen: HashSet<Url>,
    /// The redirects that were found, to see when they close a ring.
    redirects: HashMap<Url, Url>,
    /// How many jobs are out.
    jobs: usize,
    /// The workers that wait for a job, parked or just about to.
    waiting: Vec<Greenlet>,
}

/// A page to visit. While it lives there may be more links, and nobody goes home.
#[derive(Debug)]
pub(crate) struct Job<'a> {
    frontier: &'a Frontier,
    pub(crate) url: Url,
    redirects: usize,
}

impl Frontier {
    /// A frontier where `start` is all that is known.
    pub(crate) fn new(start: Url, max_pages: usize) -> Self {
        let frontier = Self {
            state: Mutex::default(),
            max_pages,
        };
        frontier.add([start], 0);
        frontier
    }

    /// The next page to visit. Waits while there is none; `None` when there will be no more.
    pub(crate) fn next(&self) -> Option<Job<'_>> {
        loop {
            {
                let mut state = self.lock();
                if let Some((url, redirects)) = state.queue.pop_front() {
                    state.jobs += 1;
                    return Some(Job {
                        frontier: self,
                        url,
                        redirects,
                    });
                }
                if state.jobs == 0 {
                    return None;
                }
                state.waiting.push(greenlet::current());
            }
            // Whoever took this greenlet off the list has unparked it, or is going to: an unpark
            // that comes before the park is not lost.
            greenlet::park();
        }
    }

    /// How many addresses were found up to now.
    pub(crate) fn seen(&self) -> usize {
        self.lock().seen.len()
    }

    fn add(&self, urls: impl IntoIterator<Item = Url>, redirects: usize) {
        let woken = {
            let mut state = self.lock();
            let before = state.queue.len();
            for url in urls {
                if state.seen.len() < self.max_pages && state.seen.insert(url.clone()) {
                    state.queue.push_back((url, redirects));
                }
            }
            let new = state.queue.len() - before;
            let kept = state.waiting.len().saturating_sub(new);
            state.waiting.split_off(kept)
        };
        woken.iter().for_each(Greenlet::unpark);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics with this lock")
    }
}

impl Job<'_> {
    /// Takes in the links that the page has; those that are known are left out.
    pub(crate) fn add_links(&self, links: impl IntoIterator<Item = Url>) {
        self.frontier.add(links, 0);
    }

    /// Takes in the address that the page redirects to.
    pub(crate) fn redirect(&self, target: Url) -> Result<(), FetchError> {
        if self.redirects == MAX_REDIRECTS {
            return Err(FetchError::TooManyRedirects);
        }
        {
            let mut state = self.frontier.lock();
            // Whichever redirect comes in last closes the ring, and is the one left out: so the
            // map has no rings, and this walk ends.
            let mut next = Some(&target);
            while let Some(url) = next {
                if *url == self.url {
                    return Err(FetchError::RedirectLoop);
                }
                next = state.redirects.get(url);
            }
            state.redirects.insert(self.url.clone(), target.clone());
        }
        self.frontier.add([target], self.redirects + 1);
        Ok(())
    }
}

/// The job is done. If it was the last one, those who wait are sent home.
impl Drop for Job<'_> {
    fn drop(&mut self) {
        let woken = {
            let mut state = self.frontier.lock();
            state.jobs -= 1;
            if state.jobs == 0 && state.queue.is_empty() {
                std::mem::take(&mut state.waiting)
            } else {
                Vec::new()
            }
        };
        woken.iter().for_each(Greenlet::unpark);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::time::Duration;

    fn url(path: &str) -> Url {
        Url::parse("http://site/").unwrap().join(path).unwrap()
    }

    #[test]
    fn each_address_comes_once() {
        let frontier = Frontier::new(url("/"), 100);
        let job = frontier.next().unwrap();
        job.add_links([url("/a"), url("/"), url("/a"), url("/b")]);
        drop(job);
        let paths: Vec<_> = std::iter::from_fn(|| frontier.next())
            .map(|job| job.url.path().to_owned())
            .collect();
        assert_eq!(paths, ["/a", "/b"]);
    }

    #[test]
    fn no_more_pages_than_allowed_are_taken_in() {
        let frontier = Frontier::new(url("/"), 10);
        let mut jobs = 0;
        while let Some(job) = frontier.next() {
            jobs += 1;
            job.add_links((0..5).map(|n| url(&format!("/{jobs}/{n}"))));
        }
        assert_eq!(jobs, 10);
    }

    #[test]
    fn a_waiting_worker_gets_the_new_link_and_all_go_home_at_the_end() {
        greenlet::run(|| {
            let frontier = Arc::new(Frontier::new(url("/"), 100));
            let start = frontier.next().unwrap();
            let workers: Vec<_> = (0..10)
                .map(|_| {
                    let frontier = Arc::clone(&frontier);
                    greenlet::spawn(move || std::iter::from_fn(|| frontier.next()).count())
                })
                .collect();
            greenlet::sleep(Duration::from_millis(20));
            start.add_links([url("/a"), url("/b")]);
            greenlet::sleep(Duration::from_millis(20));
            drop(start);
            let jobs: usize = workers.into_iter().map(|w| w.join().unwrap()).sum();
            assert_eq!(jobs, 2);
        });
    }

    #[test]
    fn a_ring_of_redirects_is_found_wherever_it_is_entered() {
        let frontier = Frontier::new(url("/a"), 100);
        let a = frontier.next().unwrap();
        a.add_links([url("/b"), url("/c")]);
        let (b, c) = (frontier.next().unwrap(), frontier.next().unwrap());
        b.redirect(url("/c")).unwrap();
        a.redirect(url("/b")).unwrap();
        let closing = c.redirect(url("/a"));
        assert!(matches!(closing, Err(FetchError::RedirectLoop)));
    }

    #[test]
    fn a_page_that_redirects_to_itself_is_a_ring() {
        let frontier = Frontier::new(url("/a"), 100);
        let a = frontier.next().unwrap();
        let closing = a.redirect(url("/a"));
        assert!(matches!(closing, Err(FetchError::RedirectLoop)));
    }

    #[test]
    fn redirects_without_end_are_given_up() {
        let frontier = Frontier::new(url("/0"), 100);
        let mut followed = 0;
        while let Some(job) = frontier.next() {
            match job.redirect(url(&format!("/{}", followed + 1))) {
                Ok(()) => followed += 1,
                Err(error) => assert!(matches!(error, FetchError::TooManyRedirects)),
            }
        }
        assert_eq!(followed, MAX_REDIRECTS);
    }
}
