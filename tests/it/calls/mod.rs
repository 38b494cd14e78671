//! One file a call, as clients see it.

mod cancel;
mod close_context;
mod create_context;
mod delete_objects;
mod fail_objects;
mod fetch_object;
mod get_devices;
mod keep_alive;
mod put_object;
mod register_function;
mod remote_execute;
mod unregister_function;
