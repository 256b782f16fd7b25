//! What is bound in mount namespaces, as these tell of themselves.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::scan::parse;
use super::share::{Owner, share};
use crate::host::common::unescaped;
use crate::namespace::Namespace;

/// A namespace, and where it is bound.
pub(super) type Bound = (Namespace, u64, PathBuf);

/// How much may yet be remembered, and be read of all: anybody can mount as much as there is memory for, and the kernel takes a long
/// time to tell where what lies over itself many times is.
#[derive(Clone, Copy)]
pub(super) struct Left {
    binds: u64,
    bytes: u64,
    microseconds: u64,
}

/// So much is read of one mount namespace.
const MOST_OF_ONE: u64 = 16 << 20;

impl Left {
    pub(super) const ALL: Self = Self { binds: 10_000, bytes: 64 << 20, microseconds: 4_000_000 };

    /// What the next of so many owners may take.
    pub(super) fn share(&self, owner: Owner, owners: usize) -> Self {
        let share = |left| share(left, owner, owners);
        Self { binds: share(self.binds), bytes: share(self.bytes), microseconds: share(self.microseconds) }
    }

    /// Less what was taken of a share.
    pub(super) fn less(&mut self, whole: &Self, rest: &Self) {
        self.binds -= whole.binds - rest.binds;
        self.bytes -= whole.bytes - rest.bytes;
        self.microseconds -= whole.microseconds - rest.microseconds;
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
    let (begun, time) = (Instant::now(), Duration::from_micros(left.microseconds));
    let most = left.bytes.min(MOST_OF_ONE);
    let mut mounts = BufReader::new(mounts).take(most);
    let (mut found, mut line, mut all) = (Vec::new(), Vec::new(), false);
    while begun.elapsed() < time {
        line.clear();
        if !mounts.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
            all = mounts.limit() > 0;
            break;
        }
        if let Some(bound) = bound(&String::from_utf8_lossy(&line)) {
            if left.binds == 0 {
                break;
            }
            left.binds -= 1;
            found.push(bound);
        }
    }
    left.bytes -= most - mounts.limit();
    left.microseconds = left.microseconds.saturating_sub(begun.elapsed().as_micros() as u64);
    (found, all)
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
        let mut left = Left::ALL;
        let (found, all) = told(line.as_slice(), &mut left);
        assert_eq!((found, all), (vec![(Namespace::Net, 4_026_531_840, PathBuf::from("/a b"))], true));
        assert_eq!((left.binds, left.bytes), (9_999, Left::ALL.bytes - line.len() as u64));
        let (found, all) = told(line.repeat(20_000).as_slice(), &mut left);
        assert!(found.len() == 9_999 && !all);
        let (found, all) = told(io::repeat(b'x').chain(line.as_slice()), &mut left);
        assert!(found.is_empty() && !all && left.bytes < 48 << 20);
        let mut left = Left { microseconds: 0, ..Left::ALL };
        assert_eq!(told(line.as_slice(), &mut left), (vec![], false));
    }
}
