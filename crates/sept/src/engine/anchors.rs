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

/// For each step that has one.
#[derive(Debug)]
pub(crate) struct Anchors {
    /// The step that mounts it, and how long its path is in that of the step below.
    of_step: Vec<Option<(usize, usize)>>,
    /// For each step the descriptor of what it has mounted, once it has.
    mounts: Vec<AtomicI32>,
}

impl Anchors {
    pub(super) fn new(plan: &Plan) -> Self {
        let mut of_step = vec![None; plan.steps.len()];
        // The last that was mounted on a path: what came before it is covered.
        let mut mounted: HashMap<&Path, usize> = HashMap::new();
        for (at, step) in plan.steps.iter().enumerate() {
            let Some(path) = place(step) else { continue };
            let path = Path::new(OsStr::from_bytes(path.to_bytes()));
            let above = path.ancestors().filter(|above| above.parent().is_some());
            let last = above.filter_map(|above| Some((*mounted.get(above)?, above))).max();
            of_step[at] = last.map(|(mount, above)| (mount, above.as_os_str().len()));
            if matches!(step, Step::Mount { .. }) {
                mounted.insert(path, at);
            }
        }
        let mut mounts: Vec<_> = plan.steps.iter().map(|_| AtomicI32::new(UNWANTED)).collect();
        for (mount, _) in of_step.iter().flatten() {
            mounts[*mount] = AtomicI32::new(WANTED);
        }
        Self { of_step, mounts }
    }

    /// Where the descriptor of what a step mounts is kept.
    pub(super) fn of_mount(&self, step: usize) -> Option<&AtomicI32> {
        self.mounts.get(step)
    }

    /// The mount that a path of this step lies in, and what of the path is below.
    pub(super) fn below<'p>(&self, step: usize, path: &'p CStr) -> Option<(&AtomicI32, &'p CStr)> {
        let (mount, length) = self.of_step.get(step)?.as_ref()?;
        let mut rest = path.to_bytes_with_nul().get(*length..)?;
        while let [b'/', after @ ..] = rest {
            rest = after;
        }
        let rest = CStr::from_bytes_with_nul(rest).ok()?;
        Some((self.mounts.get(*mount)?, if rest.is_empty() { c"." } else { rest }))
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
        | Step::RemountReadOnly(at)
        | Step::Remount { at, .. }
        | Step::Symlink { at, .. } => Some(at),
        _ => None,
    }
}
