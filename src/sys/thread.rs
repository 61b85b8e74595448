//! The calling thread, as the C library and the kernel know it, and threads on a given stack.

use std::ffi::{c_int, c_void};
use std::io;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::ptr;

/// The kernel's id of the calling thread.
pub(crate) fn kernel_id() -> i32 {
    // SAFETY: takes nothing and cannot fail.
    unsafe { libc::gettid() }
}

/// The C library's handle of the calling thread: the address of its `struct pthread`.
pub(crate) fn handle() -> usize {
    // SAFETY: takes nothing and cannot fail.
    unsafe { libc::pthread_self() as usize }
}

/// Where the calling thread told the kernel that its list of robust mutexes is.
pub(crate) fn robust_list_head() -> io::Result<usize> {
    let (mut head, mut length) = (0_usize, 0_usize);
    // SAFETY: the call writes a pointer and a size; 0 is the calling thread.
    let result =
        unsafe { libc::syscall(libc::SYS_get_robust_list, 0, &raw mut head, &raw mut length) };
    super::cvt(result as c_int).map(|_| head)
}

/// The processor that the calling thread runs on.
pub(crate) fn processor() -> io::Result<u32> {
    // SAFETY: takes nothing.
    super::cvt(unsafe { libc::sched_getcpu() }).map(|number| number as u32)
}

/// The stack of the calling thread, as the C library tells it.
pub(crate) fn stack_bounds() -> io::Result<Range<usize>> {
    let mut attributes = MaybeUninit::uninit();
    let (mut start, mut size) = (ptr::null_mut(), 0);
    // SAFETY: the first call fills `attributes`, the second reads them, the third ends them.
    unsafe {
        check(libc::pthread_getattr_np(
            libc::pthread_self(),
            attributes.as_mut_ptr(),
        ))?;
        let result = libc::pthread_attr_getstack(attributes.as_ptr(), &mut start, &mut size);
        libc::pthread_attr_destroy(attributes.as_mut_ptr());
        check(result)?;
    }
    Ok(start.addr()..start.addr() + size)
}

/// Runs `start(argument)` on a new thread whose stack is `stack`, and waits until it ends.
///
/// # Safety
///
/// `stack` is writable memory that nobody else uses, and `start` accepts `argument`.
pub(crate) unsafe fn run_on_stack(
    stack: Range<usize>,
    start: extern "C" fn(*mut c_void) -> *mut c_void,
    argument: *mut c_void,
) -> io::Result<()> {
    let mut attributes = MaybeUninit::uninit();
    let mut thread = 0;
    // SAFETY: `attributes` are set up before they are used and ended after; the stack is ours
    // to give and the argument is right for the function (caller); the thread is joined once.
    unsafe {
        check(libc::pthread_attr_init(attributes.as_mut_ptr()))?;
        let address = ptr::with_exposed_provenance_mut(stack.start);
        let mut result = libc::pthread_attr_setstack(attributes.as_mut_ptr(), address, stack.len());
        if result == 0 {
            result = libc::pthread_create(&mut thread, attributes.as_ptr(), start, argument);
        }
        libc::pthread_attr_destroy(attributes.as_mut_ptr());
        check(result)?;
        check(libc::pthread_join(thread, ptr::null_mut()))
    }
}

/// A handler of `fork`.
type ForkHandler = unsafe extern "C" fn();

/// Has `fork` call `prepare` before it, and `parent` or `child` after it.
pub(crate) fn at_fork(
    prepare: Option<ForkHandler>,
    parent: Option<ForkHandler>,
    child: Option<ForkHandler>,
) -> io::Result<()> {
    // SAFETY: the functions are in this module, which is not unloaded without the C library
    // forgetting them (it notes which module registered them).
    check(unsafe { libc::pthread_atfork(prepare, parent, child) })
}

/// The `pthread_` functions answer with the error instead of setting `errno`.
pub(super) fn check(result: c_int) -> io::Result<()> {
    match result {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}
