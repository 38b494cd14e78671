//! TODO bring_up.
