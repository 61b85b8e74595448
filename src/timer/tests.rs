//! The wheel against a sorted map, and its claims one by one.

use super::{Key, Wheel};
use std::collections::BTreeMap;
use std::rc::Rc;

const TICK: u64 = 4096;
const SECOND: u64 = 1_000_000_000;
const CENTURY: u64 = 100 * 366 * 24 * 3600 * SECOND;

/// xorshift64*, so that a failure can be repeated from its seed.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// A span whose number of bits, not whose value, is uniform: from 0 to `2^bits - 1`.
    fn span(&mut self, bits: u64) -> u64 {
        let bits = self.below(bits + 1);
        self.next() & ((1 << bits) - 1)
    }
}

/// A wheel, and what it must hold.
struct Checked {
    wheel: Wheel<u64>,
    /// Payload to key and deadline.
    model: BTreeMap<u64, (Key, u64)>,
    now: u64,
    inserted: u64,
    /// Keys that must not be answered any more.
    stale: Vec<Key>,
}

impl Checked {
    fn new(now: u64) -> Self {
        Self {
            wheel: Wheel::new(now),
            model: BTreeMap::new(),
            now,
            inserted: 0,
            stale: Vec::new(),
        }
    }

    fn insert(&mut self, deadline: u64) {
        let payload = self.inserted;
        self.inserted += 1;
        let key = self.wheel.insert(deadline, payload);
        self.model.insert(payload, (key, deadline));
        self.check();
    }

    fn cancel_any(&mut self, random: &mut Random) {
        let start = random.below(self.inserted + 1);
        let Some((&payload, &(key, _))) = self.model.range(start..).next() else {
            return;
        };
        assert_eq!(self.wheel.cancel(key), Some(payload));
        self.model.remove(&payload);
        self.stale.push(key);
        self.check();
    }

    fn cancel_stale(&mut self, random: &mut Random) {
        if !self.stale.is_empty() {
            let at = random.below(self.stale.len() as u64) as usize;
            assert_eq!(self.wheel.cancel(self.stale[at]), None);
        }
    }

    fn expire(&mut self, now: u64) {
        self.now = now;
        let mut expired = Vec::new();
        self.wheel.expire(now, &mut |payload| expired.push(payload));
        let mut previous_tick = 0;
        for payload in expired {
            let (key, deadline) = self.model.remove(&payload).expect("expired once, and ours");
            assert!(deadline <= now, "early by {} ns", deadline - now);
            // Those inserted late come with the tick they were inserted in.
            let tick = deadline / TICK;
            if self.inserted_in_time(payload) {
                assert!(tick >= previous_tick, "out of order");
                previous_tick = tick;
            }
            self.stale.push(key);
        }
        assert!(
            self.model.values().all(|&(_, deadline)| deadline > now),
            "late"
        );
        self.check();
    }

    /// Payloads are even when their deadline was in the future at their insertion.
    fn inserted_in_time(&self, payload: u64) -> bool {
        payload.is_multiple_of(2)
    }

    fn check(&self) {
        assert_eq!(self.wheel.len(), self.model.len());
        assert_eq!(self.wheel.is_empty(), self.model.is_empty());
        let earliest = self.model.values().map(|&(_, deadline)| deadline).min();
        match (self.wheel.next_deadline(), earliest) {
            (None, None) => {}
            (Some(next), Some(earliest)) => {
                assert!(next < earliest.max(self.now) + TICK, "would sleep too long");
                assert!(
                    next > self.now || earliest <= self.now || next == earliest,
                    "no progress"
                );
            }
            (next, earliest) => panic!("next is {next:?}, earliest is {earliest:?}"),
        }
    }
}

fn expired<T>(wheel: &mut Wheel<T>, now: u64) -> Vec<T> {
    let mut expired = Vec::new();
    wheel.expire(now, &mut |payload| expired.push(payload));
    expired
}

#[test]
fn agrees_with_a_sorted_map_over_small_and_huge_jumps() {
    for seed in 0..60 {
        let mut random = Random::new(seed);
        let mut checked = Checked::new(random.span(60));
        // Some runs stay within a few ticks, others leap over centuries.
        let span_bits = 8 + seed % 50;
        for _ in 0..800 {
            match random.below(10) {
                0..=4 => {
                    let deadline = if checked.inserted.is_multiple_of(2) {
                        checked.now.saturating_add(random.span(span_bits))
                    } else {
                        checked.now.saturating_sub(random.span(span_bits))
                    };
                    checked.insert(deadline);
                }
                5..=6 => checked.cancel_any(&mut random),
                7 => checked.cancel_stale(&mut random),
                _ => {
                    let now = checked.now.saturating_add(random.span(span_bits));
                    checked.expire(now);
                }
            }
        }
        checked.expire(u64::MAX);
        assert!(checked.wheel.is_empty());
    }
}

#[test]
fn sleeping_until_the_next_deadline_expires_every_timer_on_time() {
    for seed in 0..20 {
        let mut random = Random::new(seed);
        let mut wheel = Wheel::new(0);
        let timers = 1 + random.below(200);
        for _ in 0..timers {
            let deadline = 1 + random.span(50);
            wheel.insert(deadline, deadline);
        }
        let (mut now, mut passes) = (0, 0);
        while let Some(next) = wheel.next_deadline() {
            assert!(next > now, "no progress");
            now = next;
            passes += 1;
            wheel.expire(now, &mut |deadline| assert!(now - deadline < TICK, "late"));
        }
        // At most one pass for each timer, and one for each slot of more than 16 on its way down.
        assert!(
            passes <= timers + 9 * timers / 16,
            "{passes} passes for {timers} timers"
        );
    }
}

#[test]
fn the_earliest_of_many_timers_that_expire_close_together_is_not_overslept() {
    // All in one slot of level 4, the earliest last in its list.
    let mut wheel = Wheel::new(0);
    for n in (0..10_000).rev() {
        let deadline = 100 * SECOND + n * 7 * TICK / 3;
        wheel.insert(deadline, deadline);
    }
    let mut passes = 0;
    while let Some(next) = wheel.next_deadline() {
        passes += 1;
        wheel.expire(next, &mut |deadline| {
            assert!(next - deadline < TICK, "late")
        });
    }
    assert!(passes < 11_000, "{passes} passes");
}

#[test]
fn few_timers_need_no_spurious_wake_up() {
    for bits in 0..63 {
        let mut wheel = Wheel::new(1);
        for n in 0..16 {
            wheel.insert((1 << bits) + n, ());
        }
        assert_eq!(wheel.next_deadline(), Some(1 << bits));
    }
}

#[test]
fn a_timer_expires_at_its_deadline_and_not_a_nanosecond_before() {
    for bits in 0..64 {
        for start in [0, 1, TICK - 1, 64 * TICK - 1, SECOND, CENTURY] {
            let deadline = 1_u64 << bits;
            let mut wheel = Wheel::new(start.min(deadline - 1));
            wheel.insert(deadline, ());
            assert_eq!(expired(&mut wheel, deadline - 1).len(), 0);
            assert_eq!(wheel.next_deadline(), Some(deadline));
            assert_eq!(expired(&mut wheel, deadline).len(), 1);
            assert_eq!(wheel.next_deadline(), None);
        }
    }
}

#[test]
fn timers_of_different_ticks_expire_in_order_even_in_one_call() {
    let mut random = Random::new(7);
    let mut wheel = Wheel::new(0);
    for _ in 0..10_000 {
        let deadline = random.span(56);
        wheel.insert(deadline, deadline / TICK);
    }
    let ticks = expired(&mut wheel, u64::MAX);
    assert_eq!(ticks.len(), 10_000);
    assert!(ticks.is_sorted());
}

#[test]
fn a_deadline_in_the_past_expires_at_the_next_call() {
    let mut wheel = Wheel::new(SECOND);
    wheel.insert(0, 'a');
    wheel.insert(SECOND, 'b');
    wheel.insert(SECOND + 1, 'c');
    assert_eq!(wheel.next_deadline(), Some(0));
    assert_eq!(expired(&mut wheel, SECOND), ['a', 'b']);
    assert_eq!(expired(&mut wheel, SECOND + 1), ['c']);
}

#[test]
fn the_end_of_time_is_a_deadline_like_any_other() {
    let mut wheel = Wheel::new(5 * SECOND);
    wheel.insert(u64::MAX, ());
    assert_eq!(expired(&mut wheel, u64::MAX - 1).len(), 0);
    assert_eq!(expired(&mut wheel, u64::MAX).len(), 1);
}

#[test]
fn a_clock_that_steps_back_expires_nothing_and_loses_nothing() {
    let mut wheel = Wheel::new(SECOND);
    wheel.insert(3 * SECOND, 'a');
    assert!(expired(&mut wheel, 2 * SECOND).is_empty());
    assert!(expired(&mut wheel, SECOND).is_empty());
    wheel.insert(SECOND + 1, 'b');
    assert_eq!(expired(&mut wheel, 2 * SECOND), ['b']);
    assert_eq!(expired(&mut wheel, 3 * SECOND), ['a']);
}

#[test]
fn cancel_answers_none_once_the_timer_is_gone() {
    let mut wheel = Wheel::new(0);
    let cancelled = wheel.insert(SECOND, 'a');
    assert_eq!(wheel.cancel(cancelled), Some('a'));
    assert_eq!(wheel.cancel(cancelled), None);
    let over = wheel.insert(SECOND, 'b');
    assert_eq!(expired(&mut wheel, SECOND), ['b']);
    assert_eq!(wheel.cancel(over), None);
    // The memory of both is used again, their keys are not.
    let later = wheel.insert(2 * SECOND, 'c');
    assert_eq!((wheel.cancel(cancelled), wheel.cancel(over)), (None, None));
    assert_eq!(wheel.cancel(later), Some('c'));
}

#[test]
fn a_key_of_another_wheel_or_no_key_at_all_is_answered_with_none() {
    let mut full = Wheel::new(0);
    let keys: Vec<Key> = (0..100).map(|n| full.insert(SECOND, n)).collect();
    let mut empty = Wheel::<u64>::new(0);
    assert!(keys.into_iter().all(|key| empty.cancel(key).is_none()));
    let nonsense = Key::new(u32::MAX, u32::MAX);
    assert_eq!(full.cancel(nonsense), None);
}

#[test]
fn cancelled_timers_leave_no_wake_up_behind() {
    let mut wheel = Wheel::new(0);
    let keys: Vec<Key> = (0..1000).map(|n| wheel.insert(n * n * TICK, n)).collect();
    for key in keys {
        wheel.cancel(key);
    }
    assert_eq!(wheel.next_deadline(), None);
    assert!(expired(&mut wheel, u64::MAX).is_empty());
}

#[test]
fn dropping_the_wheel_drops_the_payloads() {
    let payload = Rc::new(());
    let mut wheel = Wheel::new(0);
    let key = wheel.insert(1, Rc::clone(&payload));
    wheel.insert(SECOND, Rc::clone(&payload));
    wheel.insert(CENTURY, Rc::clone(&payload));
    assert_eq!(Rc::strong_count(&payload), 4);
    drop(wheel.cancel(key));
    assert_eq!(Rc::strong_count(&payload), 3);
    drop(wheel);
    assert_eq!(Rc::strong_count(&payload), 1);
}

#[test]
fn memory_is_reused_and_given_back_when_the_wheel_runs_empty() {
    let mut wheel = Wheel::new(0);
    let first_keys = [wheel.insert(0, 0), wheel.insert(0, 0)];
    for round in 0..100_000 {
        let key = wheel.insert(SECOND, round);
        wheel.insert(round, round);
        wheel.cancel(key);
        wheel.expire(round, &mut drop);
    }
    assert!(
        wheel.capacity() <= 16,
        "{} nodes for 2 timers",
        wheel.capacity()
    );
    let keys: Vec<Key> = (0..100_000).map(|n| wheel.insert(CENTURY, n)).collect();
    assert!(wheel.capacity() >= 100_000);
    for key in &keys {
        assert!(wheel.cancel(*key).is_some());
    }
    assert_eq!(wheel.capacity(), 0);
    // Keys from before are still stale, those of the first insertions among them.
    let keys = keys.into_iter().chain(first_keys);
    wheel.insert(SECOND, 0);
    assert!(keys.into_iter().all(|key| wheel.cancel(key).is_none()));
    assert_eq!(wheel.len(), 1);
}
