//! TODO unregister_function.
