//! The tests of `std::io` that are about pipes, standard streams and copying, by their names, on plain
//! threads and in greenlets.

use std::panic::{RefUnwindSafe, UnwindSafe};

use greenlet::io::{
    self, BufReader, BufWriter, Read, Stderr, StderrLock, Stdin, StdinLock, Stdout, StdoutLock,
    Write,
};
use greenlet::sync::mpsc;

mod support;

use support::sockets::{everywhere, spawn};

#[test]
fn pipe_creation_clone_and_rw() {
    everywhere(|| {
        let (rx, tx) = io::pipe().unwrap();
        (&tx).write_all(b"12345").unwrap();
        drop(tx);
        let mut rx2 = rx.try_clone().unwrap();
        drop(rx);
        let mut text = String::new();
        rx2.read_to_string(&mut text).unwrap();
        assert_eq!(text, "12345");
    });
}

#[test]
fn copy_copies() {
    everywhere(|| {
        let mut r = io::repeat(0).take(4);
        let mut w = io::sink();
        assert_eq!(io::copy(&mut r, &mut w).unwrap(), 4);
        let mut r = io::repeat(0).take(1 << 17);
        assert_eq!(
            io::copy(&mut r as &mut dyn Read, &mut w as &mut dyn Write).unwrap(),
            1 << 17
        );
    });
}

/// Gives as many bytes as asked for, and tells the largest number.
struct ShortReader {
    cap: usize,
    observed_buffer: usize,
}

impl Read for ShortReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let bytes = self.cap.min(buf.len()).min(10);
        self.cap -= bytes;
        self.observed_buffer = self.observed_buffer.max(buf.len());
        Ok(bytes)
    }
}

#[test]
fn copy_specializes_bufwriter() {
    everywhere(|| {
        let mut source = io::repeat(b'a').take(1234);
        let mut sink = BufWriter::with_capacity(1024 * 1024, io::sink());
        assert_eq!(io::copy(&mut source, &mut sink).unwrap(), 1234);
        let mut source = ShortReader {
            cap: 117 * 1024,
            observed_buffer: 0,
        };
        assert_eq!(io::copy(&mut source, &mut sink).unwrap(), 117 * 1024);
        assert!(source.observed_buffer > 16 * 1024);
    });
}

#[test]
fn copy_specializes_bufreader() {
    everywhere(|| {
        let mut source = vec![0; 768 * 1024];
        source[1] = 42;
        let mut buffered = BufReader::with_capacity(256 * 1024, &source[..]);
        let mut sink = Vec::new();
        assert_eq!(
            io::copy(&mut buffered, &mut sink).unwrap(),
            source.len() as u64
        );
        assert_eq!(source, sink);
    });
}

fn assert_unwind_safe<T: UnwindSafe + RefUnwindSafe>() {}

#[test]
fn stdout_unwind_safe() {
    assert_unwind_safe::<Stdout>();
}

#[test]
fn stdoutlock_unwind_safe() {
    assert_unwind_safe::<StdoutLock<'_>>();
    assert_unwind_safe::<StdoutLock<'static>>();
}

#[test]
fn stderr_unwind_safe() {
    assert_unwind_safe::<Stderr>();
}

#[test]
fn stderrlock_unwind_safe() {
    assert_unwind_safe::<StderrLock<'_>>();
    assert_unwind_safe::<StderrLock<'static>>();
}

#[test]
fn stdin_unwind_safe() {
    assert_unwind_safe::<Stdin>();
    assert_unwind_safe::<StdinLock<'_>>();
}

#[test]
fn panic_doesnt_poison() {
    everywhere(|| {
        let panics = spawn(|| {
            let _a = io::stdin().lock();
            let _b = io::stdout().lock();
            let _c = io::stderr().lock();
            std::panic::resume_unwind(Box::new("with all locked"));
        });
        panics.join().unwrap_err();
        let _a = io::stdin().lock();
        let _b = io::stdout().lock();
        let _c = io::stderr().lock();
    });
}

/// One has the lock twice while another waits for it, and has it when both are given back.
fn test_lock<L: 'static>(get_lock: fn() -> L) {
    #[derive(Debug, PartialEq)]
    enum State {
        Start1,
        Acquire1,
        Start2,
        Release1,
        Acquire2,
        Release2,
    }
    use State::*;

    let (log, logged) = mpsc::channel();
    let ((tx1, rx1), (tx2, rx2)) = (mpsc::channel(), mpsc::channel());
    let first = spawn({
        let log = log.clone();
        move || {
            log.send(Start1).unwrap();
            let lock = get_lock();
            log.send(Acquire1).unwrap();
            tx1.send(()).unwrap();
            rx2.recv().unwrap();
            let again = get_lock();
            greenlet::sleep(std::time::Duration::from_millis(10));
            drop(again);
            log.send(Release1).unwrap();
            drop(lock);
        }
    });
    let second = spawn(move || {
        rx1.recv().unwrap();
        log.send(Start2).unwrap();
        tx2.send(()).unwrap();
        let lock = get_lock();
        log.send(Acquire2).unwrap();
        log.send(Release2).unwrap();
        drop(lock);
    });
    first.join().unwrap();
    second.join().unwrap();
    let order: Vec<_> = logged.iter().collect();
    assert_eq!(
        order,
        [Start1, Acquire1, Start2, Release1, Acquire2, Release2]
    );
}

#[test]
fn test_lock_stderr() {
    everywhere(|| test_lock(|| io::stderr().lock()));
}

#[test]
fn test_lock_stdout() {
    everywhere(|| test_lock(|| io::stdout().lock()));
}
