//! TODO create_context.
