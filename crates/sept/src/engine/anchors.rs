//! Which steps work below what an earlier one has mounted. They do so from that mount: the path to it could lead elsewhere by
//! then, by a link that goes through it or by one that somebody swaps.

use std::collections::HashMap;
use std::ffi::{CStr, CString, OsStr};
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32};

use crate::plan::Plan;
use crate::plan::step::{Source, Step, UpperDir};

/// No later step wants the mount of this one.
const UNWANTED: i32 = -1;
/// It is wanted, and not there yet.
pub(super) const WANTED: i32 = -2;

/// The step that mounts something, and how long its path is in that of what lies below.
pub(super) type Anchor = (usize, usize);

#[derive(Debug)]
pub(crate) struct Anchors {
    of_step: Vec<Option<Anchor>>,
    /// Of the paths of Landlock.
    of_rule: Vec<Option<Anchor>>,
    /// For each step the descriptor of what it has mounted, once it has.
    mounts: Vec<AtomicI32>,
    /// And after how many mounts that may cover it it was last seen at its path.
    seen: Vec<AtomicU32>,
    /// Whether the root may be somebody's who has laid links in it.
    pub(super) foreign_root: bool,
    /// Whether some step changes a mount that is there.
    pub(super) remounts: bool,
    /// Whether a tmpfs of the line's has a copy of what it covers.
    pub(super) copies_up: bool,
    /// Whether something that guards lies where the command could rename what it lies on.
    pub(super) movable: AtomicBool,
}

impl Anchors {
    pub(super) fn new(plan: &Plan) -> Self {
        let (mut of_step, mut of_rule) = (vec![None; plan.steps.len()], Vec::new());
        let mut mounted = Mounted::default();
        for (at, step) in plan.steps.iter().enumerate() {
            if let Step::Landlock(rules) = step {
                of_rule = rules.paths.iter().map(|(path, _)| mounted.last_above(as_path(path))).collect();
            }
            let Some(path) = place(step) else { continue };
            of_step[at] = mounted.last_above(as_path(path));
            if matches!(step, Step::Mount { .. }) {
                mounted.add(as_path(path), at);
            }
        }
        let mut mounts: Vec<_> = plan.steps.iter().map(|_| AtomicI32::new(UNWANTED)).collect();
        for (mount, _) in of_step.iter().chain(&of_rule).flatten() {
            mounts[*mount] = AtomicI32::new(WANTED);
        }
        let seen = plan.steps.iter().map(|_| AtomicU32::new(0)).collect();
        Self {
            of_step,
            of_rule,
            mounts,
            seen,
            foreign_root: plan.steps.iter().any(brings_a_root),
            remounts: plan.steps.iter().any(|step| matches!(step, Step::Remount { .. })),
            copies_up: plan
                .steps
                .iter()
                .any(|step| matches!(step, Step::Mount { change, .. } if change.copy_up)),
            movable: AtomicBool::new(false),
        }
    }

    /// Where the descriptor of what a step mounts is kept.
    pub(super) fn of_mount(&self, step: usize) -> Option<&AtomicI32> {
        self.mounts.get(step)
    }

    /// After how many such mounts what a step has mounted was last seen at its path.
    pub(super) fn seen(&self, step: usize) -> Option<&AtomicU32> {
        self.seen.get(step)
    }

    pub(super) fn of_step(&self, step: usize) -> Option<Anchor> {
        *self.of_step.get(step)?
    }

    pub(super) fn of_rule(&self, rule: usize) -> Option<Anchor> {
        *self.of_rule.get(rule)?
    }

    /// The mount, and what of the path is below it.
    pub(super) fn below<'p>(
        &self,
        (mount, length): Anchor,
        path: &'p CStr,
    ) -> Option<(&AtomicI32, &'p CStr)> {
        let mut rest = path.to_bytes_with_nul().get(length..)?;
        while let [b'/', after @ ..] = rest {
            rest = after;
        }
        let rest = CStr::from_bytes_with_nul(rest).ok()?;
        Some((self.mounts.get(mount)?, if rest.is_empty() { c"." } else { rest }))
    }
}

/// The caller's own root is none, wherever it is bound.
fn brings_a_root(step: &Step) -> bool {
    let is_foreign = |dir: &CString| as_path(dir) != Path::new("/");
    match step {
        Step::CloneRoot { dir, .. } => is_foreign(dir),
        Step::Chroot(_) | Step::ChrootTo(_) => true,
        Step::Mount { target, source, .. } if target.as_c_str() == c"/" => match source {
            Source::Tmpfs { .. } => false,
            Source::Bind { path, .. } => is_foreign(path),
            Source::Overlay { lower, upper, .. } => {
                matches!(upper, UpperDir::Directory(..)) || lower.iter().any(is_foreign)
            }
            _ => true,
        },
        _ => false,
    }
}

fn as_path(path: &CStr) -> &Path {
    Path::new(OsStr::from_bytes(path.to_bytes()))
}

/// What was mounted so far.
#[derive(Default)]
struct Mounted<'p> {
    /// The last on each path: what came before it is covered.
    /// The words are the caller's own: no random keys, which the kernel would have to give.
    steps: HashMap<&'p Path, usize, BuildHasherDefault<DefaultHasher>>,
    /// The directory of the path that was looked at last, and what was mounted last at or above that: where there are many
    /// mounts they lie side by side.
    near: Option<(&'p Path, Option<Anchor>)>,
}

impl<'p> Mounted<'p> {
    fn add(&mut self, path: &'p Path, at: usize) {
        // A new root covers all.
        if path.parent().is_none() {
            *self = Self::default();
        } else {
            self.steps.insert(path, at);
        }
    }

    /// What was mounted last at or above a path, but on the root.
    fn last_above(&mut self, path: &'p Path) -> Option<Anchor> {
        let parent = path.parent()?;
        let anchor = |path: &Path| Some((*self.steps.get(path)?, path.as_os_str().len()));
        let above = match self.near {
            Some((near, above)) if near.as_os_str() == parent.as_os_str() => above,
            _ => parent.ancestors().filter(|above| above.parent().is_some()).filter_map(anchor).max(),
        };
        let last = anchor(path).max(above);
        self.near = Some((parent, above));
        last
    }
}

/// The path inside that a step works on.
fn place(step: &Step) -> Option<&CStr> {
    match step {
        Step::Mount { target: at, .. }
        | Step::LoadInterpreter { file: at, .. }
        | Step::MakeDir { at, .. }
        | Step::WriteFile { at, .. }
        | Step::ChangeMode { at, .. }
        | Step::Mask { at, .. }
        | Step::ReadOnly(at)
        | Step::Keep { at, .. }
        | Step::RemountReadOnly(at)
        | Step::Remount { at, .. }
        | Step::Symlink { at, .. } => Some(at),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_mount_at_or_above_a_path_is_its_anchor() {
        let mut mounted = Mounted::default();
        let mut after = |at: usize, path: &'static str| {
            let found = mounted.last_above(Path::new(path));
            mounted.add(Path::new(path), at);
            found
        };
        assert_eq!(after(1, "/a"), None);
        assert_eq!(after(2, "/a/b"), Some((1, 2)));
        assert_eq!(after(3, "/a/c"), Some((1, 2)), "beside it");
        assert_eq!(after(4, "/a/b/x"), Some((2, 4)), "the deeper one");
        assert_eq!(after(5, "/a"), Some((1, 2)), "over it");
        assert_eq!(after(6, "/a/b/y"), Some((5, 2)), "what covers the deeper one");
        assert_eq!(after(7, "/ab"), None, "a name that begins alike");
        assert_eq!(after(8, "/a//d/"), Some((5, 2)));
        assert_eq!(after(9, "/"), None);
        assert_eq!(after(10, "/a/b/z"), None, "a new root covers all");
        assert_eq!(after(11, "/a/b/z/w"), Some((10, 6)));
    }
}
