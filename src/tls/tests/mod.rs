//! The traps of glibc, one by one.
//!
//! Nearly every test is a process of its own: support is found once per process, with the hooks of
//! whoever asks first, and what is tested can kill or hang a process, or change its user.

/// A test in a process of its own.
macro_rules! isolated {
    ($(#[$attribute:meta])* fn $name:ident() $body:block) => {
        $(#[$attribute])*
        #[test]
        fn $name() {
            let path = concat!(module_path!(), "::", stringify!($name));
            let (_crate, path) = path.split_once("::").unwrap();
            $crate::tls::tests::child::run(path, || $body);
        }
    };
}

mod child;
mod library;
mod worker;

mod blocks;
mod forks;
mod libraries;
mod lives;
mod locks;
mod moves;
mod refusals;
mod users;
mod workers;
