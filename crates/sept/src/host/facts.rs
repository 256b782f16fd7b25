//! The facts about the caller and its host on which a plan depends.

use std::path::PathBuf;

use crate::capability::CapabilitySet;
use crate::command::Command;
use crate::error::Error;
use crate::host::common::{duty_in_proc, read_kernel};
use crate::host::joins::{self, JoinFact, OpenJoin};
use crate::host::subid;
use crate::id_map::IdRange;
use crate::namespace::Namespace;

/// What a plan needs to know of this host. Plain data, so that plans can be made for other hosts, too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host {
    /// The caller's effective user id.
    pub uid: u32,
    /// The caller's effective group id.
    pub gid: u32,
    /// The caller's effective capabilities.
    pub capabilities: CapabilitySet,
    /// Whether the caller has capabilities, and can't keep those who have none from a child that shares its memory. Root can, with
    /// CAP_SYS_PTRACE and in the user namespace in which it was executed: when it is not dumpable, its own files of /proc are still its
    /// to write, and its child's to read.
    pub exposed: bool,
    /// Whether a process that changes its ids is dumpable (`fs.suid_dumpable` is 1, proc_sys_fs(5)), read only where one with
    /// capabilities changes some.
    pub shows_changed: bool,
    /// The caller's working directory, read only for a new mount namespace; none where it has no name.
    pub dir: Option<PathBuf>,
    /// Whether a process enters a new time namespace when it forks, and not when it executes a program (before Linux 6.3); asked only
    /// where there is one.
    pub time_at_fork: bool,
    /// The caller's own user id map, read only where it is needed.
    pub uid_map: Vec<IdRange>,
    /// The caller's own group id map, read only where it is needed.
    pub gid_map: Vec<IdRange>,
    /// The caller's subordinate user ids (first, count), read only where they are needed.
    pub subuids: Vec<(u32, u32)>,
    /// The caller's subordinate group ids (first, count), read only where they are needed.
    pub subgids: Vec<(u32, u32)>,
    /// The ABI of Landlock, asked for only where it is needed; none where there is no Landlock.
    pub landlock_abi: Option<u32>,
    /// The namespaces to be joined, without those that the caller is in.
    pub joins: Vec<JoinFact>,
}

/// The number of the initial user namespace, PROC_USER_INIT_INO in the kernel.
const INITIAL: u64 = 0xefff_fffd;

/// Whether there is no other user namespace around the caller's.
pub(crate) fn is_in_initial_user() -> bool {
    rustix::fs::stat("/proc/self/ns/user").is_ok_and(|user| user.st_ino == INITIAL)
}

/// Whether root's own files of /proc stay its own when it is not dumpable: they are then those of root in the user namespace in which
/// this program was executed, and it may have moved since. Nobody moves to the initial one.
fn owns_hidden() -> bool {
    if is_in_initial_user() {
        return true;
    }
    let _hidden = crate::sys::Hidden::begin();
    rustix::fs::stat("/proc/thread-self/uid_map").is_ok_and(|map| map.st_uid == 0)
}

impl Host {
    /// The caller's ids and capabilities.
    pub fn caller() -> Self {
        let capabilities = rustix::thread::capabilities(None)
            .map_or(CapabilitySet::NONE, |sets| CapabilitySet::from_bits(sets.effective.bits()));
        Self {
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            capabilities,
            ..Self::default()
        }
    }

    /// Whether the caller, not dumpable, may write its own files of /proc.
    pub(crate) fn may_write_hidden(&self) -> bool {
        !self.capabilities.is_empty() && !self.exposed
    }

    /// The facts that `command` needs, and no others: each costs a read. With them the namespaces that it joins, open.
    pub(crate) fn for_command(command: &Command) -> Result<(Self, Vec<OpenJoin>), Error> {
        let mut host = Self::caller();
        let joins = joins::open(command)?;
        host.joins = joins.iter().map(|join| join.fact.clone()).collect();
        if !command.landlock.is_empty() {
            host.landlock_abi = crate::host::probe::landlock_abi().ok();
        }
        if command.namespaces.contains(Namespace::Mount) {
            host.dir = std::env::current_dir().ok();
        }
        host.time_at_fork =
            command.namespaces.contains(Namespace::Time) && !crate::host::probe::is_since(6, 3);
        host.look_at_hiding(command);
        host.read_maps(command)?;
        Ok((host, joins))
    }

    fn look_at_hiding(&mut self, command: &Command) {
        if self.capabilities.is_empty() {
            return;
        }
        let hides = self.uid == 0 && self.capabilities.contains(CapabilitySet::SYS_PTRACE) && owns_hidden();
        self.exposed = !hides;
        // Files are made by others where the caller has no number inside.
        let lacks =
            |map: &[IdRange], own| !map.is_empty() && !map.iter().any(|range| range.inside_of(own).is_some());
        let is_changed = command.uid.is_some() || command.gid.is_some();
        if is_changed || lacks(&command.uid_map, self.uid) || lacks(&command.gid_map, self.gid) {
            let mark = read_kernel("/proc/sys/fs/suid_dumpable");
            self.shows_changed = mark.is_ok_and(|mark| mark.trim() == "1");
        }
    }

    fn read_maps(&mut self, command: &Command) -> Result<(), Error> {
        if !command.namespaces.contains(Namespace::User) {
            return Ok(());
        }
        if command.map_all {
            (self.uid_map, self.gid_map) = own_maps()?;
        }
        if command.subids.is_some() {
            (self.subuids, self.subgids) = subid::ranges(self.uid)?;
        }
        Ok(())
    }

    /// Whether the caller may write any user id map, with CAP_SETUID.
    pub fn can_map_uids(&self) -> bool {
        self.capabilities.contains(CapabilitySet::SETUID)
    }

    /// Whether the caller may make device files, with CAP_MKNOD; in a user namespace the kernel refuses it all the same.
    pub fn can_make_devices(&self) -> bool {
        self.capabilities.contains(CapabilitySet::MKNOD)
    }

    /// Whether the caller may write any group id map, with CAP_SETGID.
    pub fn can_map_gids(&self) -> bool {
        self.capabilities.contains(CapabilitySet::SETGID)
    }
}

/// The caller's own user and group id maps, of `/proc/self`.
///
/// # Errors
/// [`Error::Duty`] where they can't be read.
pub fn own_maps() -> Result<(Vec<IdRange>, Vec<IdRange>), Error> {
    Ok((read_map("/proc/self/uid_map")?, read_map("/proc/self/gid_map")?))
}

fn read_map(path: &str) -> Result<Vec<IdRange>, Error> {
    let text = read_kernel(path).map_err(|error| duty_in_proc(format!("read {path}"), &error))?;
    Ok(parse_map(&text))
}

/// The lines of a map, without those that are none.
pub(crate) fn parse_map(text: &str) -> Vec<IdRange> {
    let parse = |line: &str| {
        let mut numbers = line.split_ascii_whitespace().map(str::parse::<u32>);
        match (numbers.next(), numbers.next(), numbers.next()) {
            (Some(Ok(inside)), Some(Ok(outside)), Some(Ok(count))) => {
                Some(IdRange { inside, outside, count })
            }
            _ => None,
        }
    };
    text.lines().filter_map(parse).collect()
}
