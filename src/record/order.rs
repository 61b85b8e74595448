//! Orders for the thread of a session, and when it is to look at the rings.

use std::collections::VecDeque;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::time::Instant;

use super::trigger::Trigger;
use crate::lock::StaticMutex;
use crate::sys::static_futex;

/// What the thread of a session is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// A trigger was pulled.
    Write(Trigger),
    /// Write what there is, for somebody waits for it; this is the how-manieth such order.
    Flush(u64),
    /// The session is over.
    End,
}

static ORDERS: StaticMutex<VecDeque<Order>> = StaticMutex::new(VecDeque::new());

/// 1 if there is an order or a ring has filled since the thread began to look; it sleeps while this is 0.
static NEWS: AtomicU32 = AtomicU32::new(0);

/// Gives the thread an order.
#[cold]
pub(crate) fn order(order: Order) {
    let mut orders = ORDERS.lock();
    if !orders.contains(&order) {
        orders.push_back(order);
    }
    drop(orders);
    tell();
}

/// Tells the thread, if there is one, that there is an order, or much to write in a ring. Takes no lock and allocates
/// nothing: a ring fills anywhere.
pub(super) fn tell() {
    // Release: pairs with the Acquire in `next_order`.
    if NEWS.swap(1, Release) == 0 {
        static_futex::wake_one(&NEWS);
    }
}

/// For the thread: the next order. `None` if it is time, or a ring has filled; if it is never time, orders are all that
/// it waits for.
pub(crate) fn next_order(time: Option<Instant>) -> Option<Order> {
    loop {
        // Before it looks. Acquire: pairs with the Release in `tell`: what that tells of is there.
        let is_news = NEWS.swap(0, Acquire) != 0;
        if let Some(order) = ORDERS.lock().pop_front() {
            // Perhaps that was of a ring, or there is another one.
            NEWS.store(1, Relaxed);
            return Some(order);
        }
        let left = time.map(|time| time.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| is_news || left.is_zero()) {
            return None;
        }
        static_futex::wait(&NEWS, 0, left);
    }
}

/// Forgets orders for the thread of a session that is over.
pub(crate) fn clear_orders() {
    ORDERS.lock().clear();
}
