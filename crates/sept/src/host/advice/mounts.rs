//! Why a file system can't be had because of the mounts that are below a place.

use std::ffi::{CString, OsStr};
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::error::Advice;
use crate::host::common::unescaped;
use crate::host::facts::is_in_initial_user;
use crate::plan::step::{UpperDir, shown};

/// Where something is mounted below a place, as this thread sees it.
fn below(place: &Path) -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/thread-self/mountinfo").unwrap_or_default();
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(4)).map(unescaped);
    points.filter(|point| point != place && point.starts_with(place)).collect()
}

/// The first of them, and how many more there are.
fn some(points: &[PathBuf]) -> Option<String> {
    let (first, others) = points.split_first()?;
    let first = first.as_os_str().as_bytes().escape_ascii();
    Some(match others.len() {
        0 => first.to_string(),
        more => format!("{first} and {more} more"),
    })
}

/// proc and sysfs are given only to who sees the present one in full.
pub(super) fn covered(kind: &str, place: &str) -> Advice {
    let why = match some(&below(Path::new(place))) {
        None => format!(
            "the kernel gives a {kind} only to who already sees a full one, and perhaps there is none here"
        ),
        Some(points) => format!(
            "parts of the present {place} are covered ({points}); the kernel gives a full {kind} only to who already sees one"
        ),
    };
    // sept has an option for the one only.
    let option = if kind == "proc" { "--proc /proc" } else { "--fs sysfs sysfs /sys" };
    Advice::new(why, format!("share the present one: --no-{} --bind {place} {place}", &place[1..]))
        .or(format!("start the outer container with its {place} unmasked (sept: {option})"))
}

/// An overlay that the kernel finds invalid. `user` is whether it is in a new user namespace.
pub(super) fn overlay(lower: &[CString], upper: &UpperDir, user: bool) -> Advice {
    // There the mounts of outside are locked, so that what they cover stays hidden.
    if user || !is_in_initial_user() {
        let covers = |layer: &CString| {
            let real = fs::canonicalize(OsStr::from_bytes(layer.to_bytes())).ok()?;
            Some((shown(layer), some(&below(&real))?))
        };
        if let Some((layer, points)) = lower.iter().find_map(covers) {
            let advice = Advice::new(
                format!(
                    "there are mounts below {layer} ({points}), and in a user namespace the kernel takes no layer with mounts of \
                     outside below it"
                ),
                "lay it over directories that have none: --overlay-src /usr --tmp-overlay /usr",
            );
            let is_free = rustix::process::geteuid().is_root() && is_in_initial_user();
            return if is_free { advice.or("do without the user namespace: --share user") } else { advice };
        }
    }
    match upper {
        UpperDir::Directory(..) => Advice::new(
            "perhaps the file system of the upper directory can't carry an overlay, or it and the work directory are on two",
            "dmesg says more; take directories on ext4, xfs, btrfs or tmpfs, or --tmp-overlay",
        ),
        UpperDir::None | UpperDir::Tmpfs => Advice::new(
            "perhaps the file system of a directory can't be a layer of an overlay",
            "dmesg says more; take directories on other file systems",
        ),
    }
}
