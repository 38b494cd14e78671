//! One file a call, as clients see it.

mod cancel;
mod close_context;
mod create_context;
mod delete_objects;
mod export_object;
mod fail_objects;
mod fetch_object;
mod get_devices;
mod import_object;
mod keep_alive;
mod list_objects;
mod pin_objects;
mod put_object;
mod register_function;
mod remote_execute;
mod unregister_function;
