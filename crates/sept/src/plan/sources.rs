//! Which sources of binds must be opened before anything is mounted: those that another mount of the command covers, or lies in.

use std::collections::BTreeSet;
use std::ffi::{CStr, CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use crate::plan::step::Held;

/// The mount points so far, as the caller names them, and the sources that are held.
pub(super) struct Sources {
    root: PathBuf,
    /// From where relative sources begin.
    here: PathBuf,
    /// Each with a slash at its end.
    covered: BTreeSet<Vec<u8>>,
    /// Those that are not among them yet: most plans never need to look.
    fresh: Vec<Vec<u8>>,
    /// The first names of all.
    tops: BTreeSet<Vec<u8>>,
    all: bool,
    aside: bool,
    pub held: Vec<(CString, Held)>,
}

/// As many sources are held even if by their words they are not covered: a link may lead to what is.
const FEW: usize = 64;

impl Sources {
    /// Of so many mounts, in a root of the command's own or in that of the caller.
    pub(super) fn new(own_root: Option<&Path>, mounts: usize, here: Option<&Path>) -> Self {
        let here = here.unwrap_or(Path::new("")).to_path_buf();
        let all = own_root.is_none() && mounts <= FEW;
        // In a clone of the caller's whole tree nothing covers what the caller sees.
        let aside = own_root == Some(Path::new("/"));
        let root = own_root.unwrap_or(Path::new("/")).to_path_buf();
        let (covered, tops) = (BTreeSet::new(), BTreeSet::new());
        Self { root, here, covered, fresh: Vec::new(), tops, all, aside, held: Vec::new() }
    }

    /// Something lies at this path inside from now on.
    pub(super) fn cover(&mut self, target: &Path) {
        let inside = target.strip_prefix("/").unwrap_or(target);
        let path = if self.root == Path::new("/") { plain(target) } else { plain(&self.root.join(inside)) };
        let top = top(&path);
        if !self.tops.contains(top) {
            self.tops.insert(top.to_vec());
        }
        self.fresh.push(path);
    }

    /// Its number among those that are held, if this source must be.
    pub(super) fn hold(&mut self, source: &CStr, kind: Held) -> Option<usize> {
        let path = Path::new(OsStr::from_bytes(source.to_bytes()));
        let open = self.aside || self.tops.is_empty();
        let whole = self.here.join(path);
        // Where the caller's directory has no name, what is looked up from there is not looked into.
        if open || !(self.all || whole.is_absolute() && self.is_touched(&plain(&whole))) {
            return None;
        }
        self.held.push((source.to_owned(), kind));
        Some(self.held.len() - 1)
    }

    /// The same for what is found by its name again, however often.
    pub(super) fn hold_place(&mut self, source: &CStr) {
        let is_it = |(held, kind): &(CString, Held)| *kind == Held::Place && held.as_c_str() == source;
        if !self.held.iter().any(is_it) {
            self.hold(source, Held::Place);
        }
    }

    fn is_touched(&mut self, source: &[u8]) -> bool {
        if source != b"/" && !self.tops.contains(top(source)) && !self.tops.contains(b"".as_slice()) {
            return false;
        }
        self.covered.extend(self.fresh.drain(..));
        let below = self.covered.range(source.to_vec()..).next().is_some_and(|one| one.starts_with(source));
        let ends = source.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at + 1);
        below || ends.filter_map(|end| source.get(..end)).any(|above| self.covered.contains(above))
    }
}

/// Without `.`, `..` and repeated slashes, and with one at the end. Links are not followed: this is a plan.
fn plain(path: &Path) -> Vec<u8> {
    let bytes = path.as_os_str().as_bytes();
    let dotted = bytes.windows(2).any(|two| two == b"//" || two == b"/.");
    if bytes.starts_with(b"/") && !dotted {
        let mut text = Vec::with_capacity(bytes.len() + 1);
        text.extend_from_slice(bytes);
        if !bytes.ends_with(b"/") {
            text.push(b'/');
        }
        return text;
    }
    let mut text = vec![b'/'];
    let mut ends = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => {
                ends.push(text.len());
                text.extend_from_slice(name.as_bytes());
                text.push(b'/');
            }
            Component::ParentDir => text.truncate(ends.pop().unwrap_or(1)),
            _ => {}
        }
    }
    text
}

/// The first name of a plain path.
fn top(path: &[u8]) -> &[u8] {
    path.split(|byte| *byte == b'/').nth(1).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_that_are_covered_or_lie_around_a_mount_are_held() {
        let hold = |root: Option<&str>, targets: &[&str], source: &str| {
            let mut sources = Sources::new(root.map(Path::new), FEW + 1, Some(Path::new("/home/a")));
            targets.iter().for_each(|target| sources.cover(Path::new(target)));
            sources.hold(&CString::new(source).expect("a path"), Held::Tree).is_some()
        };
        for (source, held) in [
            ("/home/a", true),
            ("/home", true),
            ("/", true),
            ("/homes", false),
            ("/hom", false),
            ("/x/../home//a/.", true),
            ("/usr", false),
            ("home", true),
            ("../../usr", false),
        ] {
            assert_eq!(hold(None, &["/proc", "/home"], source), held, "{source}");
        }
        assert!(!hold(None, &[], "/") && !hold(Some("/"), &["/home"], "/home"));
        assert!(hold(None, &["/a/b"], "/a") && hold(None, &["/a/b"], "/a/b/c"));
        assert!(hold(Some("/srv"), &["/home"], "/srv") && hold(Some("/srv"), &["/home"], "/srv/home/x"));
        assert!(!hold(Some("/srv"), &["/home"], "/home") && !hold(Some("/srv"), &["/home"], "/srv/usr"));
    }
}
