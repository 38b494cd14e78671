//! TODO expiry.
