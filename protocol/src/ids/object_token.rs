//! Hands an object on to another client of its context.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use super::{ContextId, DeviceIndex, ObjectId, ObjectPrefix};

/// What makes a token one's own: 128 random bits, drawn by the task that has the object. Who knows them has the object.
///
/// ```text
/// high u64 | low u64
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TokenSecret {
    /// The upper half.
    pub high: u64,
    /// The lower half.
    pub low: u64,
}

impl fmt::Debug for TokenSecret {
    /// Does not say it: what is logged shall open nothing.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenSecret(..)")
    }
}

/// One count of an object, to be taken over once, within its lease, by another client of the context. Does not cross this
/// system's wire as it is: the application hands it on as text (`c5.7.2a.0.00…ff`), which serde writes too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectToken {
    /// The context that the object is of.
    pub context: ContextId,
    /// The object.
    pub object: ObjectId,
    /// What nobody can guess.
    pub secret: TokenSecret,
}

/// A text that is no token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "this is not the token of an object: expected cCONTEXT.PREFIX.NUMBER.DEVICE.SECRET, the number in decimals, the others in hex, as ObjectRef::export gave it"
)]
pub struct TokenError;

impl fmt::Display for ObjectToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { context, object: ObjectId { prefix, local, device }, secret } = self;
        write!(f, "{context}.{:x}.{local}.{:x}.{:016x}{:016x}", prefix.0, device.0, secret.high, secret.low)
    }
}

impl FromStr for ObjectToken {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let mut parts = text.strip_prefix('c').ok_or(TokenError)?.split('.');
        let mut next = || parts.next().filter(|part| !part.is_empty() && !part.starts_with('+')).ok_or(TokenError);
        let hex = |part: &str| u64::from_str_radix(part, 16).map_err(|_| TokenError);
        let (context, prefix) = (ContextId(hex(next()?)?), ObjectPrefix(hex(next()?)?));
        let local = next()?.parse().map_err(|_| TokenError)?;
        let device = DeviceIndex(u16::from_str_radix(next()?, 16).map_err(|_| TokenError)?);
        let secret = next()?;
        let (high, low) = secret.split_at_checked(16).filter(|(_, low)| low.len() == 16).ok_or(TokenError)?;
        let secret = TokenSecret { high: hex(high)?, low: hex(low)? };
        let token = Self { context, object: ObjectId { prefix, local, device }, secret };
        // One text for a token: no signs, no zeros in front, no capitals, nothing behind.
        if token.to_string() == text { Ok(token) } else { Err(TokenError) }
    }
}

impl Serialize for ObjectToken {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ObjectToken {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "cff.1122334455667788.42.a.0123456789abcdeffedcba9876543210";

    #[test]
    fn a_token_is_read_as_it_is_written() {
        let token: ObjectToken = TOKEN.parse().unwrap();
        assert_eq!((token.context, token.object.local, token.object.device), (ContextId(255), 42, DeviceIndex(10)));
        assert_eq!(token.secret, TokenSecret { high: 0x0123_4567_89ab_cdef, low: 0xfedc_ba98_7654_3210 });
        assert_eq!(token.to_string(), TOKEN);
    }

    #[test]
    fn what_is_no_token_is_refused() {
        let cut = &TOKEN[..TOKEN.len() - 1];
        let cases = [
            "",
            "c",
            "cff",
            cut,
            "cff.1.2.3",
            "ff.1.2.3.00",
            "cff.1.-2.3.0123456789abcdeffedcba9876543210",
            "cff.1.2.10000.0123456789abcdeffedcba9876543210",
            "cff.01.2.3.0123456789abcdeffedcba9876543210",
            "cFF.1.2.3.0123456789abcdeffedcba9876543210",
            "cff.1.2.3.0123456789abcdeffedcba987654321é",
            "cff.1.2.3.0123456789abcdeffedcba9876543210.1",
            "cff.+1.2.3.0123456789abcdeffedcba9876543210",
        ];
        for case in cases {
            assert_eq!(case.parse::<ObjectToken>(), Err(TokenError), "{case:?}");
        }
    }

    #[test]
    fn a_secret_is_not_logged() {
        let token: ObjectToken = TOKEN.parse().unwrap();
        let said = format!("{token:?}");
        assert!(!said.contains("123456") && !said.contains("fedc"), "{said}");
    }
}
