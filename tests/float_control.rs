//! How floating-point arithmetic is set: each greenlet's own.

mod support;

use std::ffi::c_int;
use std::hint::black_box;

use support::{at_once, runtime, watched, with_and_without_moves};

// The rounding modes of fenv.h, whose numbers are the processor's own.
#[cfg(target_arch = "x86_64")]
const MODES: [c_int; 4] = [0, 0x400, 0x800, 0xc00];
#[cfg(target_arch = "aarch64")]
const MODES: [c_int; 4] = [0, 0x80_0000, 0x40_0000, 0xc0_0000];

#[link(name = "m")]
unsafe extern "C" {
    fn fesetround(mode: c_int) -> c_int;
    fn fegetround() -> c_int;
}

fn set_mode(mode: c_int) {
    // SAFETY: any number may be tried. What a test computes meanwhile may be rounded in any way.
    assert_eq!(unsafe { fesetround(mode) }, 0);
}

/// The mode, and what it makes of a third: the first is x87's on x86-64, the second SSE's.
fn seen() -> (c_int, [u64; 2]) {
    // To the compiler a division has no side effects and may be made later, in another mode.
    let third = |one: f64| black_box(black_box(one) / black_box(3.0)).to_bits();
    // SAFETY: takes nothing.
    (unsafe { fegetround() }, [third(1.0), third(-1.0)])
}

/// What `seen` answers in each mode, on a thread.
fn expected() -> [(c_int, [u64; 2]); 4] {
    let seen = MODES.map(|mode| {
        set_mode(mode);
        seen()
    });
    set_mode(MODES[0]);
    assert!(seen[0].1 != seen[1].1 && seen[1].1 != seen[2].1 && seen[2].1 != seen[3].1);
    seen
}

#[test]
fn a_rounding_mode_is_the_greenlets_over_waits() {
    with_and_without_moves(|wait| {
        let expected = expected();
        at_once(20, move |n| {
            assert_eq!(seen(), expected[0]);
            for round in 0..5 {
                let mode = (n + round) % 4;
                set_mode(MODES[mode]);
                wait.now();
                assert_eq!(seen(), expected[mode]);
            }
            // It ends with another mode than it began with.
            set_mode(MODES[n % 4]);
        });
        assert_eq!(seen(), expected[0]);
        greenlet::spawn(move || assert_eq!(seen(), expected[0]))
            .join()
            .unwrap();
    });
}

#[test]
fn a_greenlet_starts_as_the_thread_was_set_that_built_the_runtime() {
    let _watchdog = watched();
    let expected = expected();
    for (mode, expected) in MODES.into_iter().zip(expected) {
        for hubs in [1, 2] {
            set_mode(mode);
            let runtime = runtime(hubs);
            set_mode(MODES[0]);
            let seen = runtime.run(move || {
                let own = seen();
                // Whatever its creator has set.
                set_mode(MODES[3]);
                [own, greenlet::spawn(seen).join().unwrap()]
            });
            assert_eq!(seen, [expected; 2]);
            assert_eq!(self::seen().0, MODES[0]);
        }
    }
}

#[test]
fn a_rounding_mode_is_the_greenlets_where_thread_locals_are_shared_too() {
    let _watchdog = watched();
    // SAFETY: no thread-local is borrowed over a wait.
    let builder = unsafe { greenlet::Runtime::builder().share_thread_locals() };
    builder.hubs(1).build().unwrap().run(|| {
        let expected = expected();
        set_mode(MODES[2]);
        let other = greenlet::spawn(move || {
            set_mode(MODES[1]);
            greenlet::yield_now();
            assert_eq!(seen(), expected[1]);
        });
        greenlet::yield_now();
        assert_eq!(seen(), expected[2]);
        other.join().unwrap();
        assert_eq!(seen(), expected[2]);
    });
}
