//! TODO put_object.
