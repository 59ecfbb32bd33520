//! Tapeless.
