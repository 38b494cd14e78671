//! TODO delete_objects.
