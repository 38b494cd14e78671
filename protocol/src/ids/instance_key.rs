//! Names one exchange of data between tasks of a context.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::frame::MAX_NAME;

/// The name under which data is sent and received: 1 to 256 bytes, agreed between sender and receiver. Clones share the
/// text. Travels as that string.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct InstanceKey(Arc<str>);

/// The text is no instance key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an instance key of {0} bytes: it has 1 to {MAX_NAME}")]
pub struct InstanceKeyError(pub usize);

impl InstanceKey {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<&str> for InstanceKey {
    type Error = InstanceKeyError;

    fn try_from(text: &str) -> Result<Self, InstanceKeyError> {
        if (1..=MAX_NAME).contains(&text.len()) { Ok(Self(text.into())) } else { Err(InstanceKeyError(text.len())) }
    }
}

impl TryFrom<String> for InstanceKey {
    type Error = InstanceKeyError;

    fn try_from(text: String) -> Result<Self, InstanceKeyError> {
        text.as_str().try_into()
    }
}

impl From<InstanceKey> for String {
    fn from(key: InstanceKey) -> String {
        key.0.as_ref().to_owned()
    }
}

impl fmt::Display for InstanceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_1_to_256_bytes() {
        for len in [1, 256] {
            assert!(InstanceKey::try_from("k".repeat(len)).is_ok());
        }
        for len in [0, 257] {
            let error = InstanceKey::try_from("k".repeat(len)).unwrap_err();
            assert_eq!(error.to_string(), format!("an instance key of {len} bytes: it has 1 to 256"));
        }
    }
}
