//! The stack that a thread's signal handlers run on.

use std::ptr;

/// Room for a handler that formats a message.
const SIZE: usize = 64 * 1024;

/// An alternate signal stack of ours, on a thread that had none. Rust's own threads have one.
#[derive(Debug)]
pub(crate) struct AlternateStack(Option<Box<[u8]>>);

impl AlternateStack {
    /// Sees to it that the calling thread has one while the value lives.
    pub(crate) fn ensure() -> Self {
        let mut present = none();
        // SAFETY: reads no stack and writes one.
        unsafe { libc::sigaltstack(ptr::null(), &mut present) };
        if present.ss_flags & libc::SS_DISABLE == 0 {
            return Self(None);
        }
        let mut memory = vec![0u8; SIZE].into_boxed_slice();
        let stack = libc::stack_t {
            ss_sp: memory.as_mut_ptr().cast(),
            ss_flags: 0,
            ss_size: SIZE,
        };
        // SAFETY: the memory stays with this thread's value, whose drop takes it back.
        unsafe { libc::sigaltstack(&stack, ptr::null_mut()) };
        Self(Some(memory))
    }
}

impl Drop for AlternateStack {
    fn drop(&mut self) {
        if self.0.is_some() {
            // SAFETY: no handler runs on it: this is the thread itself, on its own stack.
            unsafe { libc::sigaltstack(&none(), ptr::null_mut()) };
        }
    }
}

fn none() -> libc::stack_t {
    libc::stack_t {
        ss_sp: ptr::null_mut(),
        ss_flags: libc::SS_DISABLE,
        ss_size: 0,
    }
}
