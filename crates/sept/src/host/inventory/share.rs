//! Whose a process is, and how much of what that one has is looked at: nobody keeps what others have from being seen.

use std::collections::BTreeMap;
use std::io;

use rustix::process::getuid;

use crate::host::common::read_kernel;
use crate::namespace::Namespace;
use crate::target::NamespaceFile;

/// Who has a share, in the order in which they are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Owner {
    /// Root and the caller.
    First,
    /// Another user, with all that is in user namespaces of his: by subordinate ids he is many.
    User(u32),
    /// The user or pid namespace that root has made for others, as for a container.
    Space(u64),
}

pub(super) struct Owners {
    uid: u32,
    user: u64,
    pid: u64,
    others: BTreeMap<u64, Option<Owner>>,
}

impl Owners {
    /// As the caller sees them.
    pub(super) fn new() -> io::Result<Self> {
        let own = |kind| NamespaceFile::of("self", kind)?.id();
        let (user, pid) = (own(Namespace::User)?.inode, own(Namespace::Pid)?.inode);
        Ok(Self { uid: getuid().as_raw(), user, pid, others: BTreeMap::new() })
    }

    /// Of a process in these namespaces, by the numbers of the kinds.
    pub(super) fn of(&mut self, pid: u32, inside: &[u64; 8]) -> Owner {
        let [space, pids] = [Namespace::User, Namespace::Pid].map(|kind| inside[kind as usize]);
        if space != self.user && !self.others.contains_key(&space) {
            let top = top(pid, self.user).map(|(uid, top)| self.owner(uid, Owner::Space(top)));
            self.others.insert(space, top);
        }
        let known = self.others.get(&space).copied().flatten();
        let roots = if pids == self.pid { Owner::First } else { Owner::Space(pids) };
        // The effective id would be root's for any program of root's with a set-user-ID bit.
        known.unwrap_or_else(|| self.owner(real_uid(pid).unwrap_or(u32::MAX), roots))
    }

    fn owner(&self, uid: u32, roots: Owner) -> Owner {
        match uid {
            0 => roots,
            uid if uid == self.uid => Owner::First,
            uid => Owner::User(uid),
        }
    }
}

/// The user namespace that a process's is or is below, of those right below ours; and who made it.
fn top(pid: u32, ours: u64) -> Option<(u32, u64)> {
    let mut file = NamespaceFile::of(pid, Namespace::User).ok()?;
    loop {
        let parent = file.parent().ok()??;
        if parent.id().ok()?.inode == ours {
            return Some((file.owner_uid().ok()?, file.id().ok()?.inode));
        }
        file = parent;
    }
}

fn real_uid(pid: u32) -> Option<u32> {
    let status = read_kernel(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

/// How much of what is left the next of so many owners may take. What he leaves is for those after him.
pub(super) fn share(left: u64, owner: Owner, owners: usize) -> u64 {
    match owner {
        Owner::First if owners > 1 => left / 2,
        _ => left / owners.max(1) as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_takes_what_others_need() {
        assert_eq!(share(100, Owner::First, 1), 100);
        assert_eq!(share(100, Owner::First, 3), 50);
        assert_eq!((share(50, Owner::User(1), 2), share(25, Owner::Space(7), 1)), (25, 25));
    }
}
