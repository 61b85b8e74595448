//! Orders for the thread of a session, and when it is to look at the rings.

use std::collections::VecDeque;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{Acquire, Release};
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

/// What the thread has not looked for since it was told; it sleeps while there is nothing that it wants.
static NEWS: AtomicU32 = AtomicU32::new(0);

/// There is an order.
const ORDERED: u32 = 1;
/// A part of a ring is full.
const FILLED: u32 = 2;

/// Gives the thread an order.
#[cold]
pub(crate) fn order(order: Order) {
    let mut orders = ORDERS.lock();
    if !orders.contains(&order) {
        orders.push_back(order);
    }
    drop(orders);
    tell(ORDERED);
}

/// A part of a ring is full. Takes no lock, allocates nothing and waits for nobody, because rings fill anywhere.
pub(super) fn ring_has_filled() {
    tell(FILLED);
}

fn tell(news: u32) {
    // Release: pairs with the Acquires in `next_order`.
    if NEWS.fetch_or(news, Release) & news == 0 {
        static_futex::wake_one(&NEWS);
    }
}

/// For the thread: the next order. `None` if it is time, or a part of a ring is full; if it is never time, orders are
/// all that it waits for.
pub(crate) fn next_order(time: Option<Instant>) -> Option<Order> {
    loop {
        // Before it looks for any. Acquire, here and below: pairs with the Release in `tell`, what that is of is there.
        let news = NEWS.fetch_and(!ORDERED, Acquire);
        if let Some(order) = ORDERS.lock().pop_front() {
            return Some(order);
        }
        let Some(time) = time else {
            static_futex::wait(&NEWS, news & !ORDERED, None);
            continue;
        };
        let left = time.saturating_duration_since(Instant::now());
        if NEWS.fetch_and(!FILLED, Acquire) & FILLED != 0 || left.is_zero() {
            return None;
        }
        static_futex::wait(&NEWS, 0, Some(left));
    }
}

/// Forgets orders for the thread of a session that is over.
pub(crate) fn clear_orders() {
    ORDERS.lock().clear();
}
