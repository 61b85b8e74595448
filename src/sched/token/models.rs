//! Models of the token: it is not lost, and a wait that ends otherwise leaves no waker behind.

use loom::sync::Arc;
use loom::thread;

use super::*;
use crate::atomic::model;
use crate::waker::models::SleeperRef;

impl Token {
    /// What the owner does, which is `sleeper`, up to when it waits. Whether it has to.
    fn begin(&self, sleeper: &SleeperRef) -> bool {
        let waits = self.0.swap(ABSENT, AcqRel) != THERE;
        if waits {
            self.await_with(sleeper.park(false).unwrap());
        }
        waits
    }

    fn end(&self, sleeper: &SleeperRef) {
        // SAFETY: the owner's.
        drop(unsafe { self.replace(ABSENT, sleeper.header_pointer()) });
    }
}

fn give(token: &Arc<Token>, sleeper: &SleeperRef) -> thread::JoinHandle<()> {
    let (token, sleeper) = (token.clone(), sleeper.clone());
    // SAFETY: its owner's.
    thread::spawn(move || unsafe { token.give(sleeper.header_pointer()) })
}

#[test]
fn whoever_waits_for_the_token_gets_it() {
    model(|| {
        let (token, sleeper) = (Arc::new(Token::new()), SleeperRef::new());
        let givers = [give(&token, &sleeper), give(&token, &sleeper)];
        if token.begin(&sleeper) {
            assert_eq!(sleeper.wait(), Outcome::Woken);
            token.end(&sleeper);
        }
        for giver in givers {
            giver.join().unwrap();
        }
        assert!(!sleeper.is_scheduled());
    });
}

#[test]
fn a_deadline_and_the_token_do_not_both_end_the_wait() {
    model(|| {
        let (token, sleeper) = (Arc::new(Token::new()), SleeperRef::new());
        let waker = sleeper.park(false).unwrap();
        let late = waker.clone();
        token.await_with(waker);
        let giver = give(&token, &sleeper);
        let expired = thread::spawn(move || late.expire());
        assert_ne!(sleeper.wait(), Outcome::Cancelled);
        token.end(&sleeper);
        // A park that comes after that is not ended by who came late.
        let next = sleeper.park(false).unwrap();
        giver.join().unwrap();
        expired.join().unwrap();
        assert!(!sleeper.is_scheduled());
        next.wake();
        assert_eq!(sleeper.wait(), Outcome::Woken);
    });
}
