//! A trace that is sent while it is recorded.

use std::io::{self, BufWriter, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::State;
use crate::lock::StaticMutex;
use crate::record::{self, Drain, Session};
use crate::sched;
use crate::sys::clock;

/// What was recorded is sent so often.
const PAUSE: Duration = Duration::from_millis(50);

/// The size of a ring, where recording was off before. What a hub records in a pause fits in, unless it
/// does nothing but switch.
const RING_BYTES: usize = 2 << 20;

/// How long the clocks are compared before a trace begins.
const CALIBRATION: Duration = Duration::from_millis(20);

/// Recording that was switched on for clients, and how many there are.
static OURS: StaticMutex<Option<Ours>> = StaticMutex::new(None);

struct Ours {
    session: Arc<Session>,
    clients: usize,
}

/// While it lives, recording is on, unless the program switches it off.
pub(super) struct Subscription {
    session: Arc<Session>,
    /// It is counted in [`OURS`].
    is_ours: bool,
    /// What was recorded before is left out.
    since: u64,
}

impl Subscription {
    pub(super) fn begin() -> io::Result<Self> {
        record::claim()?;
        let mut ours = OURS.lock();
        let started = record::start(|epoch| Session::new(epoch, RING_BYTES, None, false))?;
        if let Some(session) = started {
            // One of before was switched off by the program.
            *ours = Some(Ours {
                session: session.clone(),
                clients: 1,
            });
            drop(ours);
            sched::wake_hubs();
            // The header of the trace tells how fast the clock of events is, by then.
            thread::sleep(CALIBRATION);
            return Ok(Self {
                session,
                is_ours: true,
                since: 0,
            });
        }
        let session = record::session().ok_or(io::ErrorKind::ResourceBusy)?;
        let counted = ours
            .as_mut()
            .filter(|ours| Arc::ptr_eq(&ours.session, &session));
        let is_ours = counted.is_some();
        if let Some(ours) = counted {
            ours.clients += 1;
        }
        Ok(Self {
            session,
            is_ours,
            since: clock::now(),
        })
    }

    /// Whether the program has switched recording off.
    fn is_over(&self) -> bool {
        record::session().is_none_or(|session| !Arc::ptr_eq(&session, &self.session))
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if !self.is_ours {
            return;
        }
        let mut ours = OURS.lock();
        let Some(counted) = &mut *ours else {
            return;
        };
        // Another one has begun since.
        if !Arc::ptr_eq(&counted.session, &self.session) {
            return;
        }
        counted.clients -= 1;
        if counted.clients == 0 {
            let is_on = !self.is_over();
            *ours = None;
            if is_on {
                record::stop();
            }
        }
    }
}

/// Whether recording is on for clients only, so that the program may switch it on.
pub(in super::super) fn is_for_clients() -> bool {
    if record::is_a_parents() {
        return false;
    }
    let ours = OURS.lock();
    let session = record::session();
    let is_on = |ours: &Ours| session.is_some_and(|session| Arc::ptr_eq(&session, &ours.session));
    ours.as_ref().is_some_and(is_on)
}

/// Ends recording that was switched on for clients, because the program wants to record: their streams end,
/// and when they come again they see what the program records.
pub(in super::super) fn give_way() {
    let mut ours = OURS.lock();
    let session = record::session();
    let is_on = |ours: &Ours| session.is_some_and(|session| Arc::ptr_eq(&session, &ours.session));
    if ours.take().is_some_and(|ours| is_on(&ours)) {
        record::stop();
    }
}

/// Sends what is recorded until the client goes, takes nothing for a while, the server ends or recording
/// does.
pub(super) fn send(
    state: &State,
    client: &UnixStream,
    subscription: &Subscription,
) -> io::Result<()> {
    let out = BufWriter::with_capacity(1 << 16, client);
    let mut drain = Drain::begin(subscription.session.clone(), out, subscription.since)?;
    let result = send_all(state, client, subscription, &mut drain);
    if result.is_err() {
        // What is left in the buffer is not waited for again.
        let _ = client.shutdown(Shutdown::Both);
    }
    result
}

fn send_all(
    state: &State,
    client: &UnixStream,
    subscription: &Subscription,
    drain: &mut Drain<impl Write>,
) -> io::Result<()> {
    if subscription.since > 0 {
        // The hubs have told of those that were there before. The moment comes first: who ends meanwhile ends
        // behind it.
        let session = &subscription.session;
        let now = session.clock().pair();
        drain.statuses(now, &sched::statuses(session))?;
    }
    loop {
        if subscription.is_over() {
            return drain.end();
        }
        drain.drain(true)?;
        drain.file().flush()?;
        if state.is_ending_within(client, Some(PAUSE)) || has_gone(client)? {
            return Ok(());
        }
    }
}

/// Whether the client has closed its end. What it sends is left out of account.
fn has_gone(client: &UnixStream) -> io::Result<bool> {
    client.set_nonblocking(true)?;
    let read = (&mut &*client).read(&mut [0; 64]);
    client.set_nonblocking(false)?;
    match read {
        Ok(length) => Ok(length == 0),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error),
    }
}
