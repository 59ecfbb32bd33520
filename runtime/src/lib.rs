//! The runtime of Tapeless.
