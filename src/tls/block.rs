//! A thread control block with static thread-locals, in which one greenlet after the other lives.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use super::ids::Ids;
use super::list::Generation;
use super::modules::Modules;
use super::place;
use super::support::Support;

/// A block at the top of a stack slot, as glibc lays out a thread. `README.md` has its states.
///
/// It is given up by [`Block::destroy`]; one that is merely dropped stays on glibc's list, so
/// its memory may then never be discarded.
#[derive(Debug)]
#[must_use = "a block that is dropped instead of destroyed stays on glibc's list of threads"]
pub(crate) struct Block {
    /// The thread pointer: on glibc's list from `create` to `destroy`.
    tp: usize,
    inserted: Generation,
    /// The number that the greenlet in it goes by.
    id: u32,
    /// The modules that its thread-locals were last reset for.
    modules: Arc<Modules>,
    support: &'static Support,
}

impl Block {
    /// See [`Support::create`].
    ///
    /// # Safety
    ///
    /// As there.
    pub(super) unsafe fn create(
        support: &'static Support,
        top: usize,
        stack: Range<usize>,
    ) -> io::Result<Self> {
        let tp = support.layout.thread_pointer_below(top);
        let out_of_memory = |what: &str| io::Error::new(io::ErrorKind::OutOfMemory, what);
        let id = (support.ids.take())
            .ok_or_else(|| out_of_memory("there are no numbers left for greenlets"))?;
        // SAFETY: the memory is ours and zero (caller). The block is listed before it gets its
        // thread-locals: a library that is loaded meanwhile is then seen by one or the other.
        let inserted = unsafe {
            support.template.write(tp, id);
            *place(tp, support.layout.stack_bounds) = [stack.start, stack.len()];
            support.list.insert(tp)
        };
        let block = Self {
            tp,
            inserted,
            id,
            modules: support.modules.get(),
            support,
        };
        // SAFETY: nobody is on the block yet.
        unsafe {
            if !support.symbols.allocate_tls(tp) {
                block.unlist();
                return Err(out_of_memory("no memory for a greenlet's thread-locals"));
            }
            support.template.write_thread_locals(tp);
        }
        Ok(block)
    }

    /// What the thread pointer must be for its greenlet to run.
    #[inline]
    pub(crate) fn thread_pointer(&self) -> usize {
        self.tp
    }

    /// Makes the block that of a new thread again, whose greenlet has another number. False if
    /// the last one left something behind that cannot be put right: then it must be destroyed.
    ///
    /// # Safety
    ///
    /// The greenlet in it has called [`leave`](super::leave), and nobody is on the block; the
    /// caller is on its own thread's thread pointer, or is another greenlet, which runs.
    #[inline]
    pub(crate) unsafe fn renew(&mut self) -> bool {
        let Support {
            layout,
            symbols,
            template,
            ..
        } = self.support;
        // SAFETY: nobody is on the block (caller).
        unsafe {
            let robust_head = place::<usize>(self.tp, layout.robust_head);
            if *robust_head != robust_head.addr() || self.support.keys.used(self.tp) {
                return false;
            }
            template.write_again(self.tp);
            self.id = Ids::next(self.id);
            *place(self.tp, layout.tid) = self.id;
            self.support
                .modules
                .reset(symbols, &mut self.modules, self.tp)
        }
    }

    /// Takes the block back from glibc. The memory may then be discarded, or made zero and used
    /// for another [`Support::create`].
    ///
    /// # Safety
    ///
    /// Nobody is on the block or will be; the caller is on its own thread's thread pointer, or is
    /// another greenlet, which runs.
    pub(crate) unsafe fn destroy(self) {
        // SAFETY: nobody is on the block (caller), and nobody sees it any more when it goes.
        unsafe {
            self.unlist();
            self.support.symbols.deallocate_tls(self.tp);
        }
    }

    /// Tells glibc that the greenlet's stack is `stack` now, and answers what it was.
    ///
    /// # Safety
    ///
    /// Nobody else is on the block. The answer is put back before it is renewed.
    pub(crate) unsafe fn swap_stack_bounds(&self, stack: Range<usize>) -> Range<usize> {
        let bounds = place::<[usize; 2]>(self.tp, self.support.layout.stack_bounds);
        // SAFETY: the two words are there; only the greenlet itself reads them (caller).
        let [start, size] = unsafe { bounds.replace([stack.start, stack.len()]) };
        start..start + size
    }

    /// # Safety
    ///
    /// As for [`Self::destroy`].
    unsafe fn unlist(&self) {
        // SAFETY: the block was inserted in `create`, and is removed once: both callers own it.
        unsafe { self.support.list.remove(self.tp, self.inserted) };
        self.support.ids.give_back(self.id);
    }
}
