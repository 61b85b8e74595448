//! [`std::os::unix::thread`] for greenlets: all of it but `JoinHandleExt`, as a greenlet is no pthread.

#[allow(deprecated)]
pub use ::std::os::unix::thread::RawPthread;
