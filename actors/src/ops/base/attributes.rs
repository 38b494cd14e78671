//! The attributes that an op has: a table of their names and kinds, and of what must be given.

use remex_protocol::attrs::{Attr, AttrError, Attrs};

use super::{Outcome, check};

/// An attribute of an op.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attribute {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) required: bool,
}

/// What the value of an attribute may be.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Int,
    Float,
    Bool,
    DType,
    Ints,
    /// A shape, or its lengths.
    Shape,
    /// The elements of a tensor, or one for all.
    Values,
}

/// An attribute that must be given.
pub(super) const fn required(name: &'static str, kind: Kind) -> Attribute {
    Attribute { name, kind, required: true }
}

/// An attribute that may be left out.
pub(super) const fn optional(name: &'static str, kind: Kind) -> Attribute {
    Attribute { name, kind, required: false }
}

impl Kind {
    fn what(self) -> &'static str {
        match self {
            Kind::Int => "an integer",
            Kind::Float => "a number",
            Kind::Bool => "true or false",
            Kind::DType => "an element type",
            Kind::Ints => "a list of integers",
            Kind::Shape => "a shape or a list of integers",
            Kind::Values => "integers, numbers, or true and false",
        }
    }

    fn allows(self, value: &Attr) -> bool {
        match self {
            Kind::Int => matches!(value, Attr::Int(_)),
            Kind::Float => matches!(value, Attr::Float(_)),
            Kind::Bool => matches!(value, Attr::Bool(_)),
            Kind::DType => matches!(value, Attr::DType(_)),
            Kind::Ints => matches!(value, Attr::Ints(_)),
            Kind::Shape => matches!(value, Attr::Shape(_) | Attr::Ints(_)),
            Kind::Values => matches!(
                value,
                Attr::Int(_) | Attr::Float(_) | Attr::Bool(_) | Attr::Ints(_) | Attr::Floats(_) | Attr::Bools(_)
            ),
        }
    }
}

/// Refuses attributes that are not in the table, of another kind than there, or missing.
pub(super) fn check(table: &[Attribute], attrs: &Attrs) -> Outcome<()> {
    if let Some((name, _)) = attrs.iter().find(|(name, _)| table.iter().all(|known| known.name != *name)) {
        if table.is_empty() {
            return check::refuse(format!("has no attributes, but {name:?} is given"));
        }
        let known: Vec<_> = table.iter().map(|known| known.name).collect();
        return check::refuse(format!("has no attribute {name:?}; it has {}", known.join(", ")));
    }
    table.iter().try_for_each(|Attribute { name, kind, required }| {
        let found = match attrs.get(name) {
            Some(value) if kind.allows(value) => return Ok(()),
            Some(value) => format!("is {}", value.what()),
            None if *required => "is not given".to_owned(),
            None => return Ok(()),
        };
        Err(AttrError { name: (*name).to_owned(), expected: kind.what(), found }.into())
    })
}
