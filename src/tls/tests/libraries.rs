//! Libraries that are loaded and unloaded while there are blocks.

use super::library::Library;
use super::worker::Greenlet;

const INITIAL_EXEC: &str =
    "static __thread int v __attribute__((tls_model(\"initial-exec\"))) = 42;
     int *get(void) { return &v; }";
const OTHER: &str = "static __thread int pad[3] = {1, 2, 3};
     static __thread int v __attribute__((tls_model(\"initial-exec\"))) = 99;
     int *get(void) { return &v + 0 * pad[0]; }";
const GENERAL: &str = "__thread int v = 42; int *get(void) { return &v; }";

/// A block from before the library, one from after, and the first one's next greenlet.
fn every_greenlet_finds_42(name: &str, source: &str, flags: &[&str]) {
    let Some(library) = Library::build(name, source, flags) else {
        return;
    };
    let mut before = Greenlet::new();
    let mut before_and_used = Greenlet::new();
    before_and_used.live(|| ());
    let loaded = library.load();
    let after = Greenlet::new();
    assert_eq!(loaded.replace(42), 42);
    for greenlet in [&before, &before_and_used, &after] {
        greenlet.live(|| {
            assert_eq!(loaded.replace(1), 42);
        });
    }
    for _ in 0..3 {
        for greenlet in [&mut before, &mut before_and_used] {
            assert!(greenlet.renew());
            greenlet.live(|| {
                assert_eq!(loaded.replace(2), 42, "what the last greenlet left");
            });
        }
    }
    drop(loaded);
    assert!(before.renew());
    let loaded = library.load();
    before.live(|| assert_eq!(loaded.replace(42), 42, "loaded again"));
}

isolated! { fn initial_exec_thread_locals_of_a_late_library_are_right() {
    every_greenlet_finds_42("ie", INITIAL_EXEC, &[]);
} }

isolated! { fn thread_locals_by_descriptor_of_a_late_library_are_right() {
    let flags: &[&str] = if cfg!(target_arch = "x86_64") { &["-mtls-dialect=gnu2"] } else { &[] };
    every_greenlet_finds_42("desc", GENERAL, flags);
} }

isolated! { fn dynamic_thread_locals_of_a_late_library_are_right() {
    let flags: &[&str] =
        if cfg!(target_arch = "x86_64") { &["-mtls-dialect=gnu"] } else { &["-mtls-dialect=trad"] };
    every_greenlet_finds_42("gd", GENERAL, flags);
} }

isolated! { fn a_library_in_the_place_of_another_is_not_taken_for_it() {
    let (Some(first), Some(second)) = (
        Library::build("first", INITIAL_EXEC, &[]),
        Library::build("second", OTHER, &[]),
    ) else {
        return;
    };
    let mut greenlet = Greenlet::new();
    for _ in 0..5 {
        for (library, value) in [(&first, 42), (&second, 99)] {
            let loaded = library.load();
            greenlet.live(|| assert_eq!(loaded.replace(0), value));
            assert!(greenlet.renew());
            greenlet.live(|| assert_eq!(loaded.replace(0), value));
            drop(loaded);
            assert!(greenlet.renew());
        }
    }
} }

isolated! { fn libraries_come_and_go_on_one_thread_while_another_renews_blocks() {
    use std::sync::atomic::{AtomicBool, Ordering};
    static DONE: AtomicBool = AtomicBool::new(false);
    let Some(library) = Library::build("busy", INITIAL_EXEC, &[]) else { return };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..200 {
                let loaded = library.load();
                assert_eq!(loaded.replace(42), 42);
            }
            DONE.store(true, Ordering::Relaxed);
        });
        while !DONE.load(Ordering::Relaxed) {
            let mut greenlet = Greenlet::new();
            for _ in 0..20 {
                greenlet.live(|| drop(std::thread::current()));
                assert!(greenlet.renew());
            }
        }
    });
} }
