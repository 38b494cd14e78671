//! TODO keep_alive.
