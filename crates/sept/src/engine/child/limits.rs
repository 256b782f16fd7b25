//! The child's own cgroup, and its limit of memory.

use std::sync::atomic::Ordering::Acquire;

use rustix::io::Errno;

use super::{Child, Result};

/// So much must be left of a limit of memory when it is set: exec needs some, up to 6 MiB of it for arguments and
/// environment, while the kernel would kill who shares this memory.
const LEFT: u64 = 8 << 20;

impl Child<'_> {
    /// 0 is whoever writes it.
    pub(super) fn enter_cgroup(&self) -> Result {
        let Some(cgroup) = &self.prepared.cgroup else { return Err(Errno::BADF) };
        let by_hand = self.prepared.control.by_hand.load(Acquire) != 0;
        let procs = cgroup.procs.as_ref().filter(|_| by_hand);
        cgroup.tasks.iter().chain(procs).try_for_each(|file| rustix::io::write(file, b"0").map(drop))
    }

    pub(super) fn limit_memory(&self, bytes: u64) -> Result {
        let limit = self.prepared.cgroup.as_ref().and_then(|cgroup| cgroup.limit.as_ref());
        let Some(limit) = limit else { return Err(Errno::BADF) };
        let mut digits = [0; 24];
        let length = rustix::io::read(&limit.usage, &mut digits)?;
        let text = std::str::from_utf8(&digits[..length]).map_err(|_| Errno::INVAL)?;
        let in_use: u64 = text.trim_end().parse().map_err(|_| Errno::INVAL)?;
        if in_use.saturating_add(LEFT) > bytes {
            return Err(Errno::NOMEM);
        }
        limit
            .files
            .iter()
            .try_for_each(|(file, content)| rustix::io::write(file, content.as_bytes()).map(drop))
    }
}
