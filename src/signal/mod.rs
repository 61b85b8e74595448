//! Signals as something that greenlets wait for.
