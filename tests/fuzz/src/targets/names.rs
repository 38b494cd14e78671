//! Names, addresses and signatures as text.

use std::{fmt::Display, str::FromStr};

use remex_protocol::{
    DeviceName,
    cluster::{Address, TaskName},
    signature::Signature,
};

/// The input is a name, an address or a signature.
pub(super) fn run(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    comes_back::<TaskName>(text);
    comes_back::<DeviceName>(text);
    comes_back::<Address>(text);
    if let Ok(address) = text.parse::<Address>() {
        assert!(!address.scheme().is_empty() && !address.rest().is_empty(), "{text:?}");
        let _ = address.is_local();
    }
    match Signature::symbolic(text) {
        // As it is written it is the same again, and no input makes it do anything but answer.
        Ok(signature) => {
            assert_eq!(Signature::symbolic(&signature.to_string()), Ok(signature.clone()), "{text:?}");
            assert!(signature.inputs.is_empty() || signature.infer(&[]).is_err(), "{text:?}");
        }
        Err(error) => assert!(error.to_string().len() < 4 << 10, "{error}"),
    }
}

/// A name that was understood is written as it was read; one that was not is refused with words that a log can hold.
fn comes_back<T: FromStr<Err: Display> + Display>(text: &str) {
    match text.parse::<T>() {
        Ok(name) => assert_eq!(name.to_string(), text),
        Err(error) => assert!(error.to_string().len() < 16 << 10, "{} bytes of words", error.to_string().len()),
    }
}
