//! Attributes on the wire, and what of them is refused.

use crate::{
    attrs::*,
    codec,
    frame::{MAX_ATTR_LEN, MAX_ATTRS, MAX_ATTRS_TOTAL, MAX_NAME},
    tensor::{DType, Shape},
};

fn all() -> Attrs {
    Attrs::new()
        .with("int", -5i64)
        .with("float", 0.5)
        .with("bool", true)
        .with("str", "x")
        .with("dtype", DType::F32)
        .with("shape", Shape::from([2, 3]))
        .with("ints", vec![1i64, -2])
        .with("floats", vec![f64::INFINITY])
        .with("bools", vec![false])
        .with("strs", vec!["a".to_owned(), String::new()])
        .with("dtypes", vec![DType::Bool])
        .with("shapes", vec![Shape::scalar()])
}

fn round(attrs: &Attrs) -> Result<Attrs, String> {
    let mut bytes = Vec::new();
    codec::encode(&mut bytes, attrs).unwrap();
    codec::decode(&bytes).map_err(|error| error.0)
}

#[test]
fn every_type_comes_back() {
    let attrs = all();
    assert_eq!(round(&attrs).unwrap(), attrs);
    assert_eq!((attrs.int("int"), attrs.str("str").map(|s| &**s), attrs.len()), (Ok(&-5), Ok("x"), 12));
    assert_eq!(attrs.int_or("axis", &7), Ok(&7));
    assert!(attrs.check().is_ok() && !attrs.is_empty());
}

#[test]
fn a_missing_attribute_and_one_of_another_type_are_told_apart() {
    let error = all().int("axis").unwrap_err();
    assert_eq!(error.to_string(), "attribute \"axis\" must be an integer, it is not given");
    let error = all().float_or("int", &1.0).unwrap_err();
    assert_eq!(error.to_string(), "attribute \"int\" must be a number, it is an integer");
}

#[test]
fn what_is_over_a_limit_or_malformed_is_refused() {
    let many = |n: usize| (0..n).map(|i| (format!("a{i}"), Attr::Int(0))).collect::<Attrs>();
    assert!(round(&many(MAX_ATTRS)).is_ok());
    assert!(round(&many(MAX_ATTRS + 1)).unwrap_err().contains("more than 64 attributes"));
    assert!(many(MAX_ATTRS + 1).check().is_err());
    let long = |n: usize| Attrs::new().with("x", vec![0i64; n]);
    assert!(round(&long(MAX_ATTR_LEN)).is_ok());
    let error = round(&long(MAX_ATTR_LEN + 1)).unwrap_err();
    assert!(error.contains("attribute \"x\": more than 4096 elements of an attribute"), "{error}");
    assert!(long(MAX_ATTR_LEN + 1).check().unwrap_err().contains("has 4097 elements, at most 4096"));
    let text = |n: usize| Attrs::new().with("x", "n".repeat(n));
    assert!(round(&text(MAX_ATTR_LEN)).is_ok());
    assert!(round(&text(MAX_ATTR_LEN + 1)).unwrap_err().contains("has 4097 elements, at most 4096"));
    assert!(round(&Attrs::new().with("n".repeat(MAX_NAME + 1), 1i64)).unwrap_err().contains("257 bytes"));
    assert!(round(&Attrs::new().with("", 1i64)).is_err());
    for (bytes, words) in [
        (&[0x91, 0x93, 0xa1, b'x', 99, 0][..], "99 is not the number"),
        (&[0x92, 0x93, 0xa1, b'x', 1, 0, 0x93, 0xa1, b'x', 1, 0], "stands twice"),
        (&[0x91, 0x92, 0xa1, b'x', 1], "length"),
        (&[0x91, 0x93, 0xa1, b'x', 5, 77], "77"),
    ] {
        let error = codec::decode::<Attrs>(bytes).unwrap_err();
        assert!(error.0.contains(words), "{error:?}");
    }
}

#[test]
fn a_long_list_is_not_read_to_its_end() {
    // The count alone is enough: the elements need not be there.
    for kind in 7..=12u8 {
        let bytes = [&[0x91, 0x93, 0xa1, b'x', kind][..], &[0xdd, 0xff, 0xff, 0xff, 0xff]].concat();
        let error = codec::decode::<Attrs>(&bytes).unwrap_err();
        assert!(error.0.contains("more than 4096 elements of an attribute"), "{kind}: {error:?}");
    }
    // Nor is one of which few elements are too much already: texts and shapes count for what is in them. The last
    // element is none of that kind, and would be refused for that.
    let mut texts = vec![0x91, 0x93, 0xa1, b'x', 10, 0x93];
    for _ in 0..2 {
        texts.extend_from_slice(&[0xda, 0x0f, 0xff]);
        texts.extend_from_slice(&[b'n'; 0xfff]);
    }
    texts.push(0xc0);
    let error = codec::decode::<Attrs>(&texts).unwrap_err();
    assert!(error.0.contains("more than 4096 elements of an attribute"), "{error:?}");
    let shapes = |n: usize| Attrs::new().with("x", vec![Shape::try_from(vec![1; 31]).unwrap(); n]);
    assert!(round(&shapes(128)).is_ok());
    assert!(round(&shapes(129)).unwrap_err().contains("more than 4096 elements of an attribute"));
}

#[test]
fn all_attributes_together_have_a_limit() {
    let lists = |n: usize| {
        let whole = (0..n).map(|i| (format!("a{i}"), Attr::Bools(vec![true; MAX_ATTR_LEN])));
        whole.collect::<Attrs>()
    };
    let full = MAX_ATTRS_TOTAL / MAX_ATTR_LEN;
    assert!(round(&lists(full)).is_ok() && lists(full).check().is_ok());
    let over = lists(full).with("one", true);
    for error in [round(&over).unwrap_err(), over.check().unwrap_err()] {
        assert!(error.contains("16385 elements together, at most 16384 are allowed"), "{error}");
    }
    // Those that come after the limit is passed are not read: the last of these is malformed.
    let mut bytes = Vec::new();
    codec::encode(&mut bytes, &lists(full + 1)).unwrap();
    bytes[0] += 1;
    bytes.push(0xc0);
    let error = codec::decode::<Attrs>(&bytes).unwrap_err();
    assert!(error.0.contains("elements together"), "{error:?}");
}
