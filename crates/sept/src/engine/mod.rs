//! Doing it: what is prepared before the clone, the clone, the child's side and the parent's.

mod anchors;
mod bound;
pub(crate) mod cgroup;
mod child;
mod directory;
pub(crate) mod ending;
mod in_place;
mod listener;
mod net;
mod parent;
mod prepare;
mod trees;
mod turn;
pub(crate) mod wire;

pub(crate) use cgroup::OwnCgroup;
pub(crate) use in_place::{check, exec};
pub(crate) use parent::{Started, start};
pub(crate) use prepare::prepare;
