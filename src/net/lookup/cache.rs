//! Answers that are kept for a while.

use std::collections::BTreeMap;
use std::time::Duration;

use super::answer::Answer;

/// How many names are kept.
const NAMES_MAX: usize = 1024;

/// How long addresses are kept unless the user says otherwise.
const TTL: Duration = Duration::from_secs(5);

/// How long a failure is kept at most.
const FAILURE_TTL: Duration = Duration::from_secs(1);

/// Names and their answers. Times are nanoseconds of the monotonic clock.
#[derive(Debug)]
pub(super) struct Cache {
    ttl: Duration,
    entries: BTreeMap<String, Entry>,
}

#[derive(Debug)]
struct Entry {
    answer: Answer,
    expires: u64,
}

impl Cache {
    pub(super) const fn new() -> Self {
        Self {
            ttl: TTL,
            entries: BTreeMap::new(),
        }
    }

    pub(super) fn is_off(&self) -> bool {
        self.ttl.is_zero()
    }

    /// Forgets everything, and keeps what comes for `ttl`.
    pub(super) fn set_ttl(&mut self, ttl: Duration) {
        self.ttl = ttl;
        self.entries.clear();
    }

    pub(super) fn get(&self, host: &str, now: u64) -> Option<Answer> {
        let entry = self.entries.get(host)?;
        (now < entry.expires).then(|| entry.answer.clone())
    }

    /// Keeps `answer`, unless it is one of the moment only.
    pub(super) fn insert(&mut self, host: &str, answer: &Answer, now: u64) {
        let ttl = match answer {
            Answer::Found(_) => self.ttl,
            Answer::Failed(failure) if !failure.is_ours() => self.ttl.min(FAILURE_TTL),
            Answer::Failed(_) | Answer::Abandoned => Duration::ZERO,
        };
        if ttl.is_zero() {
            return;
        }
        if !self.entries.contains_key(host) {
            self.make_room(now);
        }
        let nanoseconds = u64::try_from(ttl.as_nanos()).unwrap_or(u64::MAX);
        let entry = Entry {
            answer: answer.clone(),
            expires: now.saturating_add(nanoseconds),
        };
        self.entries.insert(host.to_owned(), entry);
    }

    /// Makes room for one: gives up what has expired, or else what expires first.
    fn make_room(&mut self, now: u64) {
        if self.entries.len() < NAMES_MAX {
            return;
        }
        self.entries.retain(|_, entry| now < entry.expires);
        if self.entries.len() < NAMES_MAX {
            return;
        }
        let first = self.entries.iter().min_by_key(|(_, entry)| entry.expires);
        if let Some((host, _)) = first {
            let host = host.clone();
            self.entries.remove(&host);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn found() -> Answer {
        Ok(vec!["127.0.0.1:0".parse().unwrap()]).into()
    }

    fn failed(error: impl Into<io::Error>) -> Answer {
        Err(error.into()).into()
    }

    fn unknown() -> Answer {
        failed(io::Error::other("no such name"))
    }

    #[test]
    fn addresses_are_kept_for_the_ttl_and_failures_for_a_second() {
        let mut cache = Cache::new();
        cache.insert("found", &found(), 7);
        cache.insert("unknown", &unknown(), 7);
        assert!(cache.get("other", 7).is_none());
        for name in ["found", "unknown"] {
            assert!(cache.get(name, 7 + SECOND - 1).is_some());
        }
        assert!(cache.get("unknown", 7 + SECOND).is_none());
        assert!(cache.get("found", 7 + 5 * SECOND - 1).is_some());
        assert!(cache.get("found", 7 + 5 * SECOND).is_none());
    }

    #[test]
    fn a_failure_of_our_own_and_a_lookup_that_was_abandoned_are_not_kept() {
        let mut cache = Cache::new();
        let ours = failed(io::Error::from_raw_os_error(libc::EMFILE));
        cache.insert("ours", &ours, 0);
        cache.insert("abandoned", &Answer::Abandoned, 0);
        assert!(cache.entries.is_empty());
    }

    #[test]
    fn a_ttl_of_zero_keeps_nothing_and_a_new_one_forgets() {
        let mut cache = Cache::new();
        cache.insert("a", &found(), 0);
        cache.set_ttl(Duration::ZERO);
        assert!(cache.is_off());
        assert!(cache.get("a", 0).is_none());
        cache.insert("a", &found(), 0);
        cache.insert("b", &unknown(), 0);
        assert!(cache.entries.is_empty());
        cache.set_ttl(Duration::from_nanos(1));
        cache.insert("b", &unknown(), 0);
        assert!(cache.get("b", 1).is_none());
        cache.set_ttl(Duration::MAX);
        cache.insert("a", &found(), 1);
        assert!(cache.get("a", u64::MAX - 1).is_some());
    }

    #[test]
    fn the_names_that_expire_first_make_room() {
        let mut cache = Cache::new();
        for time in 0..2 * NAMES_MAX as u64 {
            cache.insert(&format!("name {time}"), &found(), time);
            assert!(cache.entries.len() <= NAMES_MAX);
        }
        assert!(cache.get(&format!("name {}", NAMES_MAX - 1), 0).is_none());
        assert!(cache.get(&format!("name {NAMES_MAX}"), 0).is_some());
        // One that is there already needs none.
        cache.insert(&format!("name {NAMES_MAX}"), &found(), 0);
        assert_eq!(cache.entries.len(), NAMES_MAX);
        // Those that have expired go first, all of them.
        cache.insert("late", &found(), 100 * SECOND);
        assert_eq!(cache.entries.len(), 1);
    }
}
