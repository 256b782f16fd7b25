//! What is bound in mount namespaces, as these tell of themselves.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;

use super::scan::parse;
use super::share::{Owner, share};
use crate::host::common::unescaped;
use crate::namespace::Namespace;

/// A namespace, and where it is bound.
pub(super) type Bound = (Namespace, u64, PathBuf);

/// How much may yet be remembered, and be read of one: anybody can mount as much as there is memory for.
#[derive(Clone)]
pub(super) struct Left {
    binds: u64,
    bytes: u64,
}

impl Left {
    pub(super) const ALL: Self = Self { binds: 10_000, bytes: 16 << 20 };

    /// What the next of so many owners may take.
    pub(super) fn share(&self, owner: Owner, owners: usize) -> Self {
        Self { binds: share(self.binds, owner, owners), ..*self }
    }

    /// Less what was taken of a share.
    pub(super) fn less(&mut self, whole: &Self, rest: &Self) {
        self.binds -= whole.binds - rest.binds;
    }
}

/// What is bound in the mount namespace of a process, and whether that is all.
pub(super) fn all_bound(pid: u32, left: &mut Left) -> (Vec<Bound>, bool) {
    match File::open(format!("/proc/{pid}/mountinfo")) {
        Ok(file) => told(file, left),
        Err(_) => (Vec::new(), true),
    }
}

fn told(mounts: impl Read, left: &mut Left) -> (Vec<Bound>, bool) {
    let mut mounts = BufReader::new(mounts).take(left.bytes);
    let (mut found, mut line) = (Vec::new(), Vec::new());
    while mounts.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
        if let Some(bound) = bound(&String::from_utf8_lossy(&line)) {
            if left.binds == 0 {
                return (found, false);
            }
            left.binds -= 1;
            found.push(bound);
        }
        line.clear();
    }
    (found, mounts.limit() > 0)
}

/// The namespace that a line of mountinfo binds somewhere, and where.
pub(crate) fn bound(line: &str) -> Option<Bound> {
    let (fields, _) = line.split_once(" - nsfs ")?;
    let mut fields = fields.split(' ').skip(3);
    let (root, path) = (fields.next()?, fields.next()?);
    let (kind, inode) = parse(root.as_bytes())?;
    Some((kind, inode, unescaped(path)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[test]
    fn mounts_without_end_are_read_to_an_end() {
        let line = b"36 35 0:4 net:[4026531840] /a\\040b rw - nsfs nsfs rw\n";
        let (found, all) = told(line.repeat(20_000).as_slice(), &mut Left::ALL.clone());
        assert!(found.len() == 10_000 && !all);
        assert_eq!(found[0], (Namespace::Net, 4_026_531_840, PathBuf::from("/a b")));
        assert!(told(line.as_slice(), &mut Left::ALL.clone()).1);
        let (found, all) = told(io::repeat(b'x').chain(line.as_slice()), &mut Left::ALL.clone());
        assert!(found.is_empty() && !all);
    }
}
