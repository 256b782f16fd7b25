//! Work below what an earlier step has mounted: from that mount, and only where that is what the command will see there.

use std::ffi::CStr;
use std::os::fd::{AsFd, IntoRawFd, OwnedFd};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use rustix::fs::{OFlags, ResolveFlags};
use rustix::io::Errno;

use super::files::{identity, open_under};
use super::{Child, Result};
use crate::engine::anchors::{Anchor, WANTED};
use crate::plan::step::Step;
use crate::sys;

impl Child<'_> {
    /// The number of this step.
    pub(super) fn at(&self) -> usize {
        self.prepared.control.step.load(Acquire) as usize
    }

    /// That of this step's path.
    pub(super) fn anchor(&self) -> Option<Anchor> {
        self.prepared.anchors.of_step(self.at())
    }

    /// Keeps what this step has mounted, if a later one works below it.
    pub(super) fn keep(&self, mount: OwnedFd) {
        let anchors = &self.prepared.anchors;
        if let Some(kept) = anchors.of_mount(self.at())
            && kept.load(Acquire) == WANTED
        {
            kept.store(mount.into_raw_fd(), Release);
            anchors.seen(self.at()).inspect(|seen| seen.store(self.by_name, Relaxed));
        }
    }

    /// A mount is placed at this step's path. It may cover an earlier one where it lies over that, and where its path begins with
    /// none: a link or a `..` may lead it there.
    pub(super) fn placed(&mut self, path: &CStr) {
        let below = self.anchor().and_then(|anchor| self.prepared.anchors.below(anchor, path));
        if self.strayed || below.is_none_or(|(_, rest)| rest == c".") {
            self.by_name += 1;
        }
    }

    /// A path inside, from what an earlier step has mounted above it.
    pub(super) fn open_anchored(
        &mut self,
        anchor: Option<Anchor>,
        path: &CStr,
        flags: OFlags,
    ) -> Result<OwnedFd> {
        match self.open_below(anchor, path, flags) {
            // Out again by a `..` that the line has, in a root of the caller's own.
            Some(Err(Errno::XDEV)) if goes_up(path) && !self.prepared.anchors.foreign_root => {
                open_under(self.root()?, path, flags, ResolveFlags::IN_ROOT)
            }
            Some(answer) => answer,
            None if self.prepared.anchors.foreign_root => self.open_in_foreign_root(path, flags),
            None => open_under(self.root()?, path, flags, ResolveFlags::IN_ROOT),
        }
    }

    /// In what an earlier step has mounted above it, if one has, and nowhere else.
    pub(super) fn open_below(
        &mut self,
        anchor: Option<Anchor>,
        path: &CStr,
        flags: OFlags,
    ) -> Option<Result<OwnedFd>> {
        let anchor = anchor?;
        if let Err(errno) = self.is_uncovered(anchor) {
            return Some(Err(errno));
        }
        let (mount, rest) = self.anchored(anchor, path)?;
        // Of a file there is no `.`.
        if rest == c"." && flags == OFlags::PATH {
            return Some(rustix::io::fcntl_dupfd_cloexec(mount, 0));
        }
        // By neither a link nor a `..` it leads over no earlier mount.
        let plainly = open_under(mount, rest, flags, ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS);
        let strays = plainly.as_ref().err() == Some(&Errno::LOOP);
        let found = if strays { open_under(mount, rest, flags, ResolveFlags::BENEATH) } else { plainly };
        self.strayed = strays || goes_up(path);
        Some(found)
    }

    /// Fails where its path leads to something else by now: what is done to a mount that is covered guards nothing.
    fn is_uncovered(&mut self, anchor: Anchor) -> Result {
        let prepared = self.prepared;
        let (Some(Step::Mount { target, .. }), Some(seen)) =
            (prepared.plan.steps.get(anchor.0), prepared.anchors.seen(anchor.0))
        else {
            return Ok(());
        };
        if seen.load(Relaxed) == self.by_name {
            return Ok(());
        }
        // What is not there is no mask to be left out: it is covered.
        let there = open_under(self.root()?, target, OFlags::PATH, ResolveFlags::IN_ROOT).map_err(
            |errno| match errno {
                Errno::NOENT | Errno::NOTDIR | Errno::LOOP => Errno::XDEV,
                errno => errno,
            },
        )?;
        let Some((mount, _)) = self.anchored(anchor, target) else { return Ok(()) };
        if sys::mount_number(mount)? != sys::mount_number(there.as_fd())?
            || identity(mount)? != identity(there.as_fd())?
        {
            return Err(Errno::XDEV);
        }
        seen.store(self.by_name, Relaxed);
        Ok(())
    }
}

pub(super) fn goes_up(path: &CStr) -> bool {
    path.to_bytes().split(|byte| *byte == b'/').any(|name| name == b"..")
}
