//! TODO fetch_object.
