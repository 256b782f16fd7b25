//! Doing it: what is prepared before the clone, the clone, the child's side and the parent's.

mod child;
mod parent;
mod prepare;
pub(crate) mod wire;

pub(crate) use parent::{Started, start};
pub(crate) use prepare::prepare;
