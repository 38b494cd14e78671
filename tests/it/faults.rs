//! TODO faults.
