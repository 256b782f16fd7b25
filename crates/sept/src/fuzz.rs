//! A door for the fuzz targets to parsers that are private. No part of the interface.
#![allow(missing_docs)]

use std::path::PathBuf;

use crate::engine::cgroup;
use crate::host::{facts, inventory, subid};
use crate::id_map::{self, IdRange, SubIds};
use crate::namespace::Namespace;

pub fn subordinate_ids(text: &str, uid: u32, name: Option<&str>) -> Vec<(u32, u32)> {
    subid::parse(text, uid, name)
}

pub fn with_subordinate_ids(keep: bool, own: u32, ranges: &[(u32, u32)]) -> Vec<IdRange> {
    id_map::with_subids(if keep { SubIds::KeepId } else { SubIds::RootIsCaller }, own, ranges)
}

pub fn check_map(ranges: &[IdRange]) -> Result<(), String> {
    id_map::check("user", ranges)
}

pub fn id_map(text: &str) -> Vec<IdRange> {
    facts::parse_map(text)
}

pub fn namespace_link(link: &[u8]) -> Option<(Namespace, u64)> {
    inventory::scan::parse(link)
}

pub fn bound_namespace(line: &str) -> Option<(Namespace, u64, PathBuf)> {
    inventory::mounts::bound(line)
}

/// By the name of a controller of version 1 in its place in the list, or version 2.
pub fn own_cgroup(text: &str, controller: Option<&str>) -> Option<String> {
    use crate::cgroup::Controller;
    let all = [Controller::Memory, Controller::Cpu, Controller::Pids];
    let known = all.into_iter().find(|known| controller == Some(known.name()));
    cgroup::own(text, known).map(str::to_owned)
}
