//! The child's rights: limits, capabilities, Landlock.

use std::os::fd::AsFd;

use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;
use rustix::thread::{CapabilitySet as Bits, Gid};

use super::{Child, Result};
use crate::capability::{Capabilities, CapabilitySet};
use crate::landlock::OF_FILES;
use crate::namespace::Namespace;
use crate::plan::layers;
use crate::plan::step::LandlockRules;
use crate::rlimit::Rlimit;
use crate::sys;

pub(super) fn limit(limit: &Rlimit) -> Result {
    let (soft, hard) = (limit.soft.unwrap_or(u64::MAX), limit.hard.unwrap_or(u64::MAX));
    sys::set_rlimit(limit.resource.number(), soft, hard)
}

pub(super) fn core_scheduling() -> Result {
    const CREATE: usize = 1;
    /// The thread group.
    const SCOPE: usize = 1;
    sys::prctl(libc::PR_SCHED_CORE, [CREATE, 0, SCOPE, 0]).map(drop)
}

/// Every capability that this kernel has and that is not to be kept. One that is not there any more can be dropped again, but
/// only by who has CAP_SETPCAP.
pub(super) fn limit_bounding(keep: CapabilitySet) -> Result {
    for number in numbers(!keep.bits()) {
        match sys::prctl(libc::PR_CAPBSET_DROP, [number, 0, 0, 0]) {
            Ok(_) => {}
            // The first that this kernel does not know.
            Err(Errno::INVAL) => return Ok(()),
            // Without the right to it the kernel looks at nothing else: whether there is anything to be dropped.
            Err(errno) => match sys::prctl(libc::PR_CAPBSET_READ, [number, 0, 0, 0]) {
                Ok(0) => {}
                Err(Errno::INVAL) => return Ok(()),
                _ => return Err(errno),
            },
        }
    }
    Ok(())
}

/// Sets them, and looks whether they are what was asked for. A capability that this kernel does not have is not set.
pub(super) fn set_capabilities(sets: &Capabilities) -> Result {
    let (known, bounding) = known()?;
    let of = |set: CapabilitySet| Bits::from_bits_retain(set.bits() & known);
    let wanted = rustix::thread::CapabilitySets {
        effective: of(sets.effective),
        permitted: of(sets.permitted),
        inheritable: of(sets.inheritable),
    };
    sys::prctl(libc::PR_CAP_AMBIENT, [libc::PR_CAP_AMBIENT_CLEAR_ALL as usize, 0, 0, 0])?;
    rustix::thread::set_capabilities(None, wanted)?;
    let ambient =
        |option: i32, number: usize| sys::prctl(libc::PR_CAP_AMBIENT, [option as usize, number, 0, 0]);
    for number in numbers(sets.ambient.bits() & known) {
        ambient(libc::PR_CAP_AMBIENT_RAISE, number)?;
    }
    let is = rustix::thread::capabilities(None)?;
    // The bounding set can only shrink: what is not wanted must not be there.
    let mut same = is == wanted && bounding & !sets.bounding.bits() == 0;
    // What is not inheritable, the kernel keeps no ambient.
    for number in numbers(is.inheritable.bits()) {
        let bit = 1 << number;
        same &= (ambient(libc::PR_CAP_AMBIENT_IS_SET, number)? != 0) == (sets.ambient.bits() & bit != 0);
    }
    if same { Ok(()) } else { Err(Errno::PERM) }
}

fn numbers(bits: u64) -> impl Iterator<Item = usize> {
    (0..64).filter(move |number| bits & (1 << number) != 0)
}

/// Those that this kernel has, and those that are in the bounding set.
fn known() -> Result<(u64, u64)> {
    let (mut known, mut bounding) = (0, 0);
    for number in 0..64 {
        match sys::prctl(libc::PR_CAPBSET_READ, [number, 0, 0, 0]) {
            Ok(is) => (known, bounding) = (known | 1 << number, bounding | u64::from(is != 0) << number),
            Err(Errno::INVAL) => break,
            Err(errno) => return Err(errno),
        }
    }
    Ok((known, bounding))
}

impl Child<'_> {
    /// The paths are looked up inside the new root, as the command will see them.
    pub(super) fn landlock(&mut self, rules: &LandlockRules) -> Result {
        let joined = self.prepared.plan.joins(Namespace::Mount);
        let ruleset = sys::landlock_ruleset(rules.handled_files, rules.handled_ports, rules.scoped)?;
        for (n, (path, access)) in rules.paths.iter().enumerate() {
            let anchor = self.prepared.anchors.of_rule(n);
            let place = self.open_anchored(anchor, path, OFlags::PATH).map_err(of_path)?;
            if self.prepared.anchors.foreign_root
                && self.is_led_above_mounts(path, &place).map_err(of_path)?
            {
                return Err(Errno::XDEV);
            }
            // Links there are of whom is joined, and can lead to all that there is.
            if joined && self.is_led_by_link(path, &place).map_err(of_path)? {
                return Err(Errno::LOOP);
            }
            let there = rustix::fs::fstat(&place).map_err(of_path)?;
            let directory = FileType::from_raw_mode(there.st_mode).is_dir();
            let access = if directory { *access } else { access & OF_FILES };
            sys::landlock_path(ruleset.as_fd(), access, place.as_fd())?;
        }
        for (port, access) in &rules.ports {
            sys::landlock_port(ruleset.as_fd(), *access, *port)?;
        }
        sys::landlock_restrict(ruleset.as_fd())
    }
}

/// A file system in user space answers what it likes: that must not pass for what the kernel says of Landlock.
fn of_path(errno: Errno) -> Errno {
    if layers::is_of_landlock(errno.raw_os_error()) { Errno::IO } else { errno }
}

/// setgroups(2) takes an array of its own type; the plan refuses more than fit here.
pub(super) fn set_groups(groups: &[u32]) -> Result {
    let mut array = [Gid::ROOT; crate::plan::MOST_GROUPS];
    let array = array.get_mut(..groups.len()).ok_or(Errno::INVAL)?;
    array.iter_mut().zip(groups).for_each(|(place, group)| *place = Gid::from_raw(*group));
    rustix::thread::set_thread_groups(array)
}

/// What is permitted becomes inheritable, and then ambient: exec keeps that for any user.
pub(super) fn keep_capabilities() -> Result {
    let mut sets = rustix::thread::capabilities(None)?;
    sets.inheritable = sets.permitted;
    rustix::thread::set_capabilities(None, sets)?;
    for bit in (0..64).map(|bit| 1_u64 << bit) {
        let capability = Bits::from_bits_retain(bit);
        if sets.permitted.contains(capability) {
            rustix::thread::configure_capability_in_ambient_set(capability, true)?;
        }
    }
    Ok(())
}
