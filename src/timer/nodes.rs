//! The wheel's nodes: a slab of payloads, linked into circular lists by index.
//!
//! Owns every payload of a wheel and the links between them; [`Wheel`](super::Wheel) is the only
//! caller and owns the heads of the lists. Invariant: a node with a payload is in exactly one
//! list, a node without one is in the free list.

use std::num::NonZeroU64;

/// "No node": the head of an empty list, the end of the free list.
pub(super) const NIL: u32 = u32::MAX;

/// A slab that has become empty gives its memory back if it is larger than this many nodes.
const KEPT_WHEN_EMPTY: usize = 1024;

/// Names one insertion into a wheel, and nothing else ever after.
///
/// ```text
/// 63         32 31          0
/// | generation |    index   |     the generation is never 0, so a key is never 0
/// ```
///
/// The generation counts the insertions of the whole wheel. A key that is kept for exactly 2^32
/// insertions, or a multiple, could be taken for a later one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key(NonZeroU64);

impl Key {
    #[inline]
    pub(super) fn new(index: u32, generation: u32) -> Self {
        debug_assert!(generation != 0);
        let bits = u64::from(generation) << 32 | u64::from(index);
        Self(NonZeroU64::new(bits).unwrap_or(NonZeroU64::MIN))
    }

    #[inline]
    pub(super) fn index(self) -> u32 {
        self.0.get() as u32
    }

    #[inline]
    fn generation(self) -> u32 {
        (self.0.get() >> 32) as u32
    }
}

/// One timer.
#[derive(Debug)]
pub(super) struct Node<T> {
    /// As the caller gave it, in nanoseconds.
    pub(super) deadline: u64,
    /// `None` in the free list.
    payload: Option<T>,
    /// The node after this one in its list; the first one follows the last.
    pub(super) next: u32,
    /// The node before this one; that of a free node means nothing.
    prev: u32,
    /// Of the key that names this node.
    generation: u32,
    /// The wheel's slot whose list this node is in.
    pub(super) slot: u16,
}

/// All nodes of a wheel.
#[derive(Debug)]
pub(super) struct Nodes<T> {
    nodes: Vec<Node<T>>,
    /// First of the free list, or [`NIL`].
    free: u32,
    /// Nodes that hold a payload.
    len: usize,
    /// Of the last insertion. Counted for the slab, not for a node, so that nodes can be dropped
    /// without their keys becoming valid again.
    generation: u32,
}

impl<T> Nodes<T> {
    pub(super) const fn new() -> Self {
        Self {
            nodes: Vec::new(),
            free: NIL,
            len: 0,
            generation: 0,
        }
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The number of nodes there is memory for.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.nodes.capacity()
    }

    #[inline]
    pub(super) fn get(&self, index: u32) -> &Node<T> {
        &self.nodes[index as usize]
    }

    #[inline]
    fn get_mut(&mut self, index: u32) -> &mut Node<T> {
        &mut self.nodes[index as usize]
    }

    /// Stores a payload. The node is in no list until it is appended to one.
    #[inline]
    pub(super) fn insert(&mut self, deadline: u64, payload: T) -> Key {
        self.generation = self.generation.checked_add(1).unwrap_or(1);
        let node = Node {
            deadline,
            payload: Some(payload),
            next: NIL,
            prev: NIL,
            generation: self.generation,
            slot: 0,
        };
        let index = if self.free == NIL {
            self.push_slow(node)
        } else {
            let index = self.free;
            self.free = self.get(index).next;
            *self.get_mut(index) = node;
            index
        };
        self.len += 1;
        Key::new(index, self.generation)
    }

    #[cold]
    fn push_slow(&mut self, node: Node<T>) -> u32 {
        let index = self.nodes.len();
        assert!(
            index < NIL as usize,
            "a timer wheel holds at most 2^32 - 1 timers"
        );
        self.nodes.push(node);
        index as u32
    }

    /// The node that a key names, unless its timer has been removed.
    #[inline]
    pub(super) fn find(&self, key: Key) -> Option<u32> {
        let node = self.nodes.get(key.index() as usize)?;
        (node.generation == key.generation() && node.payload.is_some()).then(|| key.index())
    }

    /// Takes the payload out of a node that is in no list any more.
    #[inline]
    pub(super) fn remove(&mut self, index: u32) -> Option<T> {
        let free = self.free;
        let node = self.get_mut(index);
        let payload = node.payload.take();
        debug_assert!(payload.is_some());
        node.next = free;
        self.free = index;
        self.len -= 1;
        if self.len == 0 && self.nodes.capacity() > KEPT_WHEN_EMPTY {
            self.release_slow();
        }
        payload
    }

    #[cold]
    fn release_slow(&mut self) {
        self.nodes = Vec::new();
        self.free = NIL;
    }

    /// The last node of the list that begins at `head`.
    #[inline]
    pub(super) fn last(&self, head: u32) -> u32 {
        self.get(head).prev
    }

    /// Appends a node to the list that begins at `head`.
    #[inline]
    pub(super) fn append(&mut self, head: &mut u32, slot: u16, index: u32) {
        let (next, prev) = match *head {
            NIL => {
                *head = index;
                (index, index)
            }
            first => {
                let last = self.get(first).prev;
                self.get_mut(last).next = index;
                self.get_mut(first).prev = index;
                (first, last)
            }
        };
        let node = self.get_mut(index);
        node.next = next;
        node.prev = prev;
        node.slot = slot;
    }

    /// Takes a node out of the list that begins at `head`.
    #[inline]
    pub(super) fn unlink(&mut self, head: &mut u32, index: u32) {
        let &Node { next, prev, .. } = self.get(index);
        if next == index {
            *head = NIL;
            return;
        }
        self.get_mut(prev).next = next;
        self.get_mut(next).prev = prev;
        if *head == index {
            *head = next;
        }
    }
}
