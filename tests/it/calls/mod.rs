//! One file a call, as clients see it.

mod remote_execute;
