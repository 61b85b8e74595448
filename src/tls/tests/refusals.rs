//! Processes in which there is no support, and what the error says.

use std::ptr;

use super::super::findings::{Findings, check_allocator, check_size};
use super::super::keys::Keys;
use super::super::list::StackList;
use super::super::modules::CurrentModules;
use super::super::probe::{Change, Sample};
use super::super::symbols::Symbols;
use super::super::words::Words;
use super::super::{check, layout, setxid};
use super::child;
use super::library::Library;
use crate::error::ThreadLocalsError;
use crate::sys::signal_action::SignalAction;
use crate::tls::{Hooks, Support, support};

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

fn assert_refused<T>(answer: Result<T, ThreadLocalsError>, check: &str, found: &str) {
    let Err(error) = answer else {
        panic!("{check} did not refuse: {found}");
    };
    assert_eq!(error.check(), check, "{error}");
    assert!(error.to_string().contains(found), "{error}, not {found}");
}

/// What probe threads can be doctored with.
struct Laboratory {
    symbols: Symbols,
    list: StackList,
    keys: Keys,
}

impl Laboratory {
    fn new() -> Self {
        let symbols = Symbols::find().unwrap();
        Self {
            symbols,
            list: StackList::find(&symbols).unwrap(),
            keys: Keys::new(&symbols),
        }
    }

    fn sample(&self) -> Sample {
        Sample::take(&self.symbols, &self.list, &self.keys).unwrap()
    }

    /// What is found on a thread that looks as `doctor` leaves it.
    fn find(&self, doctor: impl FnOnce(&mut Sample)) -> Result<Findings, ThreadLocalsError> {
        let mut sample = self.sample();
        doctor(&mut sample);
        Findings::from(&self.symbols, &sample)
    }

    /// What is found by symbols that `doctor` has changed.
    fn find_by(&self, doctor: impl FnOnce(&mut Symbols)) -> Result<Findings, ThreadLocalsError> {
        let mut symbols = self.symbols;
        doctor(&mut symbols);
        Findings::from(&symbols, &self.sample())
    }

    /// The index, among the words of the sample, of what lies so far from the thread pointer.
    fn index(&self, sample: &Sample, offset: isize) -> usize {
        let start = layout::pthread(&self.symbols, sample.tp).start;
        (sample.tp.wrapping_add_signed(offset) - start) / 8
    }
}

isolated! { fn a_thread_whose_fields_are_not_where_they_should_be_is_refused() {
    const PTHREAD: &str = "struct pthread";
    let lab = Laboratory::new();
    let sound = lab.find(|_| ()).unwrap();
    let refused = |doctor: &dyn Fn(&mut Sample), found| {
        assert_refused(lab.find(doctor), PTHREAD, found);
    };
    refused(&|sample| sample.kernel_id += 1, "no tid");
    refused(&|sample| sample.robust_head += 8, "robust mutexes");
    refused(&|sample| sample.robust_head = 4096, "robust mutexes");
    let specific = lab.symbols.in_pthread(lab.symbols.pthread_specific);
    for value in [0, 4096] {
        let doctor = |sample: &mut Sample| {
            let index = lab.index(sample, specific);
            sample.pthread[index] = value;
        };
        refused(&doctor, "no values of keys");
    }
    refused(&|sample| sample.stack = 4096..8192, "bounds of the stack");
    let twice = |sample: &mut Sample| {
        let last = sample.pthread.len() - 2;
        sample.pthread[last..].copy_from_slice(&[sample.stack.start, sample.stack.len()]);
    };
    refused(&twice, "bounds of the stack");
    refused(&|sample| sample.resolver = 4096, "resolver");
    refused(&|sample| sample.resolver_pointer = 4096, "resolver");
    let early = layout::pthread(&lab.symbols, 0).start;
    let doctor = |sample: &mut Sample| sample.resolver = sample.tp.wrapping_add(early) + 64;
    refused(&doctor, "another order");
    for area in [0, 6, 1 << 30] {
        let answer = lab.find_by(|symbols| symbols.rseq_offset = Some(area));
        assert_refused(answer, PTHREAD, "rseq area");
    }
    // A word that nobody knows, with the address of something.
    let doctor = |sample: &mut Sample| {
        let index = lab.index(sample, sound.layout.stack_bounds + 16);
        sample.pthread[index] = ptr::from_ref(&lab).addr();
    };
    refused(&doctor, "1 pointers that are not understood");
    // And what is not of that thread is not part of what is found.
    assert!(lab.find(|sample| sample.start_routine = 0).is_err());
    assert_eq!(lab.find(|_| ()).unwrap(), sound);
} }

isolated! { fn a_thread_on_which_glibc_does_something_else_is_refused() {
    let lab = Laboratory::new();
    let refused = |doctor: &dyn Fn(&mut Sample), check, found| {
        assert_refused(lab.find(doctor), check, found);
    };
    let sound = lab.find(|_| ()).unwrap();
    refused(&|sample| sample.listed = false, "list of threads", "is not on it");
    refused(&|sample| sample.keys_agree = false, "pthread keys", "not where they should be");
    let unchanged = |change: &mut Change| change.after.clone_from(&change.before);
    refused(&|sample| unchanged(&mut sample.malloc), "malloc", "keeps 0 words");
    let doctor = |sample: &mut Sample| {
        unchanged(&mut sample.malloc);
        // No matter which of them is `errno`.
        sample.malloc.after.iter_mut().take(6).for_each(|word| *word ^= 1);
    };
    refused(&doctor, "malloc", " words in libc");
    let doctor = |sample: &mut Sample| {
        let index = lab.index(sample, sound.layout.stack_bounds);
        sample.random.after[index] ^= 1;
        sample.random.after[index + 1] ^= 1;
    };
    refused(&doctor, "getrandom", "more than one word");
    // Two threads that are not alike.
    let mut other = lab.find(|_| ()).unwrap();
    assert!(sound.check_against(&other).is_ok());
    other.layout.resolver += 8;
    assert_refused(sound.check_against(&other), "probe threads", "two threads differ");
} }

isolated! { fn sizes_that_glibc_does_not_use_are_refused() {
    let lab = Laboratory::new();
    assert!(check_size(&lab.symbols).is_ok());
    let size = lab.symbols.sizeof_pthread;
    for wrong in [0, size + 4, 1 << 17, size - 64, size + 64] {
        let mut symbols = lab.symbols;
        symbols.sizeof_pthread = wrong;
        assert_refused(check_size(&symbols), "size of struct pthread", "the C library says");
    }
    // Thread-locals of the program's lie outside of a block that has no room for them.
    let mut symbols = lab.symbols;
    symbols.static_size = size;
    assert_refused(CurrentModules::read(&symbols), "modules", "thread-locals of a module at");
} }

isolated! { fn a_signal_that_glibc_does_not_handle_is_refused() {
    const SIGSETXID: i32 = 33;
    std::thread::spawn(|| ()).join().unwrap();
    let mut action = SignalAction::of(SIGSETXID).unwrap();
    for handler in [libc::SIG_DFL, libc::SIG_IGN] {
        action.handler = handler;
        // SAFETY: nobody changes the user meanwhile.
        unsafe { action.install(SIGSETXID).unwrap() };
        assert_refused(setxid::wrap(), "signal of setuid", "glibc has no handler");
    }
} }

isolated! { fn a_block_that_is_not_what_it_should_be_fails_its_trial() {
    super::worker::support();
    let doctored = |doctor: fn(&mut Support)| {
        let mut support = Support::find().unwrap();
        doctor(&mut support);
        check::check(Box::leak(Box::new(support)))
    };
    assert!(doctored(|_| ()).is_ok());
    let doctor = |support: &mut Support| {
        // The bounds of the stack are asked for with the worker's id in this place.
        support.layout.tid = support.layout.stack_bounds + 16;
    };
    assert_refused(doctored(doctor), "self-check", "bounds of the stack");
} }
