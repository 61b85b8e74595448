//! A bare loop around epoll, with one buffer: the floor for whoever serves on one thread.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use super::{ADDRESS, BUFFER, Job, Value, not_in_here, say_address};
use crate::rows::Row;

/// What stands for the listener in an event; connections have their place in the list.
const LISTENER: u64 = u64::MAX;

pub(super) fn measure(job: &Job) -> io::Result<Vec<Value>> {
    match job.row {
        Row::Echo => serve(),
        _ => not_in_here(job),
    }
}

fn serve() -> io::Result<Vec<Value>> {
    let listener = TcpListener::bind(ADDRESS)?;
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    epoll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))?;
    say_address(listener.local_addr()?)?;

    let mut streams = Vec::new();
    let mut events = [EpollEvent::empty(); 1024];
    loop {
        let ready = epoll.wait(&mut events, EpollTimeout::NONE)?;
        for event in &events[..ready] {
            if event.data() == LISTENER {
                let (stream, _) = listener.accept()?;
                streams.push(Some(add(&epoll, stream, streams.len())?));
                continue;
            }
            let slot = &mut streams[event.data() as usize];
            let open = slot.as_mut().map(answer).transpose()?;
            if open == Some(false) {
                *slot = None;
            }
        }
    }
}

fn add(epoll: &Epoll, stream: TcpStream, place: usize) -> io::Result<TcpStream> {
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    epoll.add(
        stream.as_fd(),
        EpollEvent::new(EpollFlags::EPOLLIN, place as u64),
    )?;
    Ok(stream)
}

/// Answers one request; whether the connection is still open.
fn answer(stream: &mut TcpStream) -> io::Result<bool> {
    let mut buffer = [0; BUFFER];
    match stream.read(&mut buffer)? {
        0 => Ok(false),
        n => stream.write_all(&buffer[..n]).map(|()| true),
    }
}
