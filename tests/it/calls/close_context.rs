//! TODO close_context.
