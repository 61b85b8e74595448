//! The whole of std, with this crate's modules in place of those that wait.
//!
//! One line turns a source that was written against std into one that runs on greenlets:
//!
//! ```
//! use greenlet::std;
//! use std::sync::Mutex;
//!
//! let numbers = Mutex::new(vec![1, 2]);
//! std::thread::scope(|scope| {
//!     scope.spawn(|| numbers.lock().unwrap().push(3));
//! });
//! assert_eq!(numbers.into_inner().unwrap(), [1, 2, 3]);
//! ```

pub use ::std::*;

pub use crate::{fs, io, net, os, process, sync, thread, time};
