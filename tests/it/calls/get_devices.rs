//! TODO get_devices.
