//! How much the constants of a model make its operators allocate.
//!
//! Engines run operators of constants while they compile, and memory that is not there ends the process: a model of a few
//! bytes must not ask for more than a large one.

use std::{
    cell::Cell,
    collections::{HashMap, HashSet},
};

use super::error::{Result, too_large};
use super::gate::tensor_ints;
use super::proto::{AttributeProto, NodeProto, TensorProto, elem};

/// Bytes of an element whose type is not known here: the largest there is.
const LARGEST: u64 = 8;

/// What operators may be told to make by constants, in one model.
pub(crate) struct Growth {
    /// Bytes that one operator may make, and that those of constants alone may make together: an engine keeps these.
    most: u64,
    left: Cell<u64>,
}

/// The constants of a graph by name.
#[derive(Default)]
pub(crate) struct Constants<'a> {
    pub(crate) known: HashMap<&'a str, &'a TensorProto>,
    /// What operators make of constants alone.
    made: HashSet<&'a str>,
}

impl Growth {
    pub(crate) fn new(most: u64) -> Self {
        Self { most, left: Cell::new(most) }
    }

    /// Refuses an operator whose constant arguments ask for more bytes than there may be.
    pub(crate) fn check<'a>(&self, node: &'a NodeProto, constants: &mut Constants<'a>) -> Result<()> {
        let is_constant = |name: &String| name.is_empty() || constants.is_constant(name);
        let of_constants = node.input.iter().all(is_constant);
        if let Some(elements) = constants.grown(node) {
            let bytes = elements.saturating_mul(constants.element(node));
            let left = if of_constants { self.left.get() } else { self.most };
            if bytes > left {
                return too_large(format!(
                    "{} is to make {elements} elements, {bytes} bytes; constants may make operators of this model \
                     allocate {} bytes, of which {left} are left",
                    node.label(),
                    self.most
                ));
            }
            if of_constants {
                self.left.set(left - bytes);
            }
        }
        if of_constants {
            constants.made.extend(node.output.iter().map(String::as_str));
        }
        Ok(())
    }
}

impl Constants<'_> {
    fn is_constant(&self, name: &str) -> bool {
        self.known.contains_key(name) || self.made.contains(name)
    }

    /// The elements that constant arguments tell an operator to make, if they do.
    fn grown(&self, node: &NodeProto) -> Option<u64> {
        let lengths = match node.op() {
            "ConstantOfShape" => self.ints(node, 0),
            "Expand" | "Tile" => self.ints(node, 1),
            "Pad" => self.ints(node, 1).or_else(|| attr_ints(node.attr("pads"))),
            "Resize" => self.ints(node, 3),
            "RandomNormal" | "RandomUniform" => attr_ints(node.attr("shape")),
            "Range" => self.range(node),
            _ => None,
        };
        // Zero and -1 stand for a length taken from the input.
        lengths.map(|lengths| lengths.iter().fold(1u64, |p, &len| p.saturating_mul(len.max(1).unsigned_abs())))
    }

    /// Bytes of an element of what the operator makes.
    fn element(&self, node: &NodeProto) -> u64 {
        let of = |input: usize| node.input.get(input).and_then(|name| self.known.get(name.as_str())).copied();
        let number = match node.op() {
            "ConstantOfShape" => match node.attr("value").and_then(|value| value.t.as_deref()) {
                Some(value) => value.data_type,
                None => Some(elem::FLOAT),
            },
            _ => of(0).and_then(|tensor| tensor.data_type),
        };
        number.and_then(elem::dtype).map_or(LARGEST, |dtype| dtype.size_bytes())
    }

    fn range(&self, node: &NodeProto) -> Option<Vec<i64>> {
        let [start, limit, delta] = [0, 1, 2].map(|i| self.ints(node, i).and_then(|v| v.first().copied()));
        let delta = delta?.unsigned_abs().max(1);
        Some(vec![i64::try_from(limit?.abs_diff(start?) / delta).unwrap_or(i64::MAX)])
    }

    fn ints(&self, node: &NodeProto, input: usize) -> Option<Vec<i64>> {
        self.known.get(node.input.get(input)?.as_str()).and_then(|tensor| tensor_ints(tensor))
    }
}

fn attr_ints(attribute: Option<&AttributeProto>) -> Option<Vec<i64>> {
    attribute.map(|attribute| attribute.ints.clone())
}
