//! Processes in which there is no support, and what the error says.

use std::ptr;

use super::super::findings::check_allocator;
use super::super::words::Words;
use super::child;
use super::library::Library;
use crate::sys::signal_action::SignalAction;
use crate::tls::{Hooks, support};

thread_local!(static THREAD_LOCAL: u8 = const { 0 });

/// Of a scheduler that never runs anything.
fn hooks(current: fn() -> usize) -> Hooks {
    Hooks {
        current,
        worker_thread_pointer: || 0,
        forked_child: || (),
    }
}

/// Preloads `source` into a child, in which `check` must be what refuses.
fn refused_with_preloaded(test: &str, source: &str, check: &str, found: &str) {
    let body = || {
        let hooks = hooks(|| THREAD_LOCAL.with(|local| ptr::from_ref(local).addr()));
        let error = support(hooks).expect_err("this should have been refused");
        assert_eq!(error.check(), check);
        assert!(error.to_string().contains(found), "{error}");
        let again = support(hooks).expect_err("the answer is kept");
        assert_eq!(again.to_string(), error.to_string());
    };
    let path = format!("{}::{test}", module_path!().split_once("::").unwrap().1);
    if child::is(&path) {
        return body();
    }
    if let Some(library) = Library::build(test, source, &[]) {
        let file = library.path().to_str().unwrap();
        child::run_with(&path, &[("LD_PRELOAD", file)], body);
    }
}

#[test]
fn another_malloc_is_refused_by_its_file() {
    let source = "
        #include <stddef.h>
        #include <string.h>
        static char heap[1 << 26]; static size_t used;
        void *memalign(size_t align, size_t size) {
            size_t at, next;
            do { at = __atomic_load_n(&used, 5); next = (at + 16 + align + size) & ~15ul; }
            while (!__atomic_compare_exchange_n(&used, &at, next, 0, 5, 5));
            char *p = (char *)(((size_t)heap + at + 16 + align - 1) & ~(align - 1));
            ((size_t *)p)[-1] = size;
            return p;
        }
        void *malloc(size_t size) { return memalign(16, size); }
        void *aligned_alloc(size_t align, size_t size) { return memalign(align, size); }
        int posix_memalign(void **p, size_t align, size_t size) { *p = memalign(align, size); return 0; }
        void *calloc(size_t n, size_t size) { return malloc(n * size); }
        void free(void *p) {}
        void *realloc(void *old, size_t size) {
            void *new = malloc(size);
            if (old) { size_t had = ((size_t *)old)[-1]; memcpy(new, old, had < size ? had : size); }
            return new;
        }";
    refused_with_preloaded(
        "another_malloc_is_refused_by_its_file",
        source,
        "malloc",
        "greenlet-another",
    );
}

#[test]
fn a_sanitizer_is_refused() {
    let source = "void __asan_init(void) {}";
    refused_with_preloaded("a_sanitizer_is_refused", source, "sanitizer", "__asan_init");
}

#[test]
fn an_allocator_on_restartable_sequences_is_refused() {
    let source = "__thread int __rseq_abi[8];";
    let test = "an_allocator_on_restartable_sequences_is_refused";
    refused_with_preloaded(test, source, "restartable sequences", "__rseq_abi");
}

isolated! { fn an_allocator_that_is_not_the_c_librarys_is_refused_unless_it_is_wrapped() {
    // To the check, an allocator is not the C library's if malloc's words do not move when Rust
    // allocates. These are words that never do.
    let support = super::worker::support();
    let words = Words::new(&[support.layout.robust_head], None).unwrap();
    assert!(check_allocator(support.words()).is_ok());
    let error = check_allocator(&words).unwrap_err();
    assert_eq!(error.check(), "global allocator");
    assert!(error.to_string().contains("OnWorker"), "{error}");
    crate::tls::announce_allocator();
    assert!(check_allocator(&words).is_ok());
} }

isolated! { fn dynamic_thread_locals_of_the_scheduler_are_refused_and_no_handler_stays() {
    // As those of a library that was loaded by dlopen, which may unload it after the refusal.
    const SIGSETXID: i32 = 33;
    std::thread::spawn(|| ()).join().unwrap();
    let before = SignalAction::of(SIGSETXID).unwrap().handler;
    let error = support(hooks(|| Box::into_raw(Box::new(0_u8)).addr())).unwrap_err();
    assert_eq!(error.check(), "current");
    assert_eq!(SignalAction::of(SIGSETXID).unwrap().handler, before);
} }
