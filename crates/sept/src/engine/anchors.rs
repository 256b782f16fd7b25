//! Which steps work below what an earlier one has mounted. They do so from that mount: the path to it could lead elsewhere by
//! then, by a link that goes through it or by one that somebody swaps.

use std::collections::HashMap;
use std::ffi::{CStr, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::AtomicI32;

use crate::plan::Plan;
use crate::plan::step::Step;

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
}

impl Anchors {
    pub(super) fn new(plan: &Plan) -> Self {
        let (mut of_step, mut of_rule) = (vec![None; plan.steps.len()], Vec::new());
        // The last that was mounted on a path: what came before it is covered.
        let mut mounted: HashMap<&Path, usize> = HashMap::new();
        for (at, step) in plan.steps.iter().enumerate() {
            if let Step::Landlock(rules) = step {
                of_rule = rules.paths.iter().map(|(path, _)| last_above(&mounted, as_path(path))).collect();
            }
            let Some(path) = place(step) else { continue };
            of_step[at] = last_above(&mounted, as_path(path));
            if matches!(step, Step::Mount { .. }) {
                mounted.insert(as_path(path), at);
            }
        }
        let mut mounts: Vec<_> = plan.steps.iter().map(|_| AtomicI32::new(UNWANTED)).collect();
        for (mount, _) in of_step.iter().chain(&of_rule).flatten() {
            mounts[*mount] = AtomicI32::new(WANTED);
        }
        Self { of_step, of_rule, mounts }
    }

    /// Where the descriptor of what a step mounts is kept.
    pub(super) fn of_mount(&self, step: usize) -> Option<&AtomicI32> {
        self.mounts.get(step)
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

fn as_path(path: &CStr) -> &Path {
    Path::new(OsStr::from_bytes(path.to_bytes()))
}

/// What was mounted last at or above this path, but on the root.
fn last_above(mounted: &HashMap<&Path, usize>, path: &Path) -> Option<Anchor> {
    let above = path.ancestors().filter(|above| above.parent().is_some());
    let last = above.filter_map(|above| Some((*mounted.get(above)?, above))).max();
    last.map(|(mount, above)| (mount, above.as_os_str().len()))
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
        | Step::RemountReadOnly(at)
        | Step::Remount { at, .. }
        | Step::Symlink { at, .. } => Some(at),
        _ => None,
    }
}
