//! What only version 1 has files for, and the OCI runtime specification can ask for: Documentation/admin-guide/cgroup-v1/.
//!
//! Of version 2 the same file is asked: it has none of that name, and the error says which. A value that version 2 has
//! anyway needs none.

use std::collections::BTreeMap;
use std::fmt;

use super::settings::{Controller, Setting, setting};
use super::{Cgroup, at_most};

const KERNEL: &str = "memory.kmem.limit_in_bytes";
pub(super) const TCP: &str = "memory.kmem.tcp.limit_in_bytes";
const SWAPPINESS: &str = "memory.swappiness";
const OOM: &str = "memory.oom_control";
const HIERARCHY: &str = "memory.use_hierarchy";
const REALTIME_PERIOD: &str = "cpu.rt_period_us";
const REALTIME_RUNTIME: &str = "cpu.rt_runtime_us";
const LEAF_WEIGHT: &str = "blkio.leaf_weight";
const DEVICE_LEAF_WEIGHT: &str = "blkio.leaf_weight_device";

/// In order, so that the period of realtime comes before the time in it, which may not exceed it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Legacy(BTreeMap<Key, Value>);

/// Of which controller, in which file, for which block device.
type Key = (Controller, &'static str, Option<(u32, u32)>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Value {
    content: String,
    /// Whether it is the same without the file.
    may_lack: bool,
}

/// Whether no cgroup of version 2 has this file.
pub(crate) fn is_of_version_1(file: &str) -> bool {
    [
        KERNEL,
        TCP,
        SWAPPINESS,
        OOM,
        HIERARCHY,
        REALTIME_PERIOD,
        REALTIME_RUNTIME,
        LEAF_WEIGHT,
        DEVICE_LEAF_WEIGHT,
    ]
    .contains(&file)
}

impl Legacy {
    pub(super) fn asks(&self, controller: Controller) -> bool {
        self.0.keys().any(|(of, ..)| *of == controller)
    }

    pub(super) fn sets(&self, file: &str) -> bool {
        self.0.keys().any(|(_, other, _)| *other == file)
    }

    pub(super) fn remove(&mut self, controller: Controller) {
        self.0.retain(|(of, ..), _| *of != controller);
    }

    pub(super) fn settings(&self, controller: Controller) -> impl Iterator<Item = Setting> {
        let of = self.0.iter().filter(move |((of, ..), _)| *of == controller);
        of.map(|((_, file, device), value)| {
            let content = match device {
                Some((major, minor)) => format!("{major}:{minor} {}", value.content),
                None => value.content.clone(),
            };
            Setting { may_lack: value.may_lack, ..setting(*file, content) }
        })
    }
}

impl fmt::Display for Legacy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let controllers = [Controller::Memory, Controller::Cpu, Controller::Io];
        let settings = controllers.into_iter().flat_map(|controller| self.settings(controller));
        let words: Vec<String> = settings.map(|one| format!("{} {}", one.file, one.content)).collect();
        f.write_str(&words.join(", "))
    }
}

impl Cgroup {
    fn legacy(mut self, controller: Controller, file: &'static str, content: impl ToString) -> Self {
        let value = Value { content: content.to_string(), may_lack: false };
        self.legacy.0.insert((controller, file, None), value);
        self
    }

    /// The same, where it is what there is without the file.
    fn default_of(mut self, controller: Controller, file: &'static str, content: impl ToString) -> Self {
        let value = Value { content: content.to_string(), may_lack: true };
        self.legacy.0.insert((controller, file, None), value);
        self
    }

    fn most_of(self, file: &'static str, bytes: u64) -> Self {
        let content = at_most(bytes, "-1");
        if bytes == Self::UNLIMITED {
            self.default_of(Controller::Memory, file, content)
        } else {
            self.legacy(Controller::Memory, file, content)
        }
    }

    /// At most so many bytes of memory in the kernel itself: `memory.kmem.limit_in_bytes`. Version 1 only, and from Linux 5.16 on
    /// without effect or refused: [`memory`](Self::memory) counts that, too.
    #[must_use]
    pub fn kernel_memory(self, bytes: u64) -> Self {
        self.most_of(KERNEL, bytes)
    }

    /// At most so many bytes in TCP's buffers: `memory.kmem.tcp.limit_in_bytes`. Version 1 only; version 2 counts them as
    /// [`memory`](Self::memory). Without it that limit is theirs, once more.
    #[must_use]
    pub fn tcp_memory(self, bytes: u64) -> Self {
        self.most_of(TCP, bytes)
    }

    /// How gladly the kernel swaps its memory out, from 0 to 100: `memory.swappiness`. Version 1 only.
    #[must_use]
    pub fn swappiness(self, swappiness: u64) -> Self {
        self.legacy(Controller::Memory, SWAPPINESS, swappiness)
    }

    /// At its limit of memory nobody is killed: `memory.oom_control`. Who wants more stands still until there is some, or until it
    /// is killed, in set-up, too: have [`spawn_unless`](crate::Command::spawn_unless) give that up. Version 1 only.
    #[must_use]
    pub fn no_oom_killer(self) -> Self {
        self.legacy(Controller::Memory, OOM, 1)
    }

    /// Cgroups below it share its limit of memory: `memory.use_hierarchy`. So it is always with version 2, and with version 1 from
    /// Linux 5.11 on.
    #[must_use]
    pub fn memory_hierarchy(self) -> Self {
        self.default_of(Controller::Memory, HIERARCHY, 1)
    }

    /// Each cgroup below it has a limit of memory of its own alone. Version 1 only, before Linux 5.11.
    #[must_use]
    pub fn no_memory_hierarchy(self) -> Self {
        self.legacy(Controller::Memory, HIERARCHY, 0)
    }

    /// So many microseconds of each [period](Self::realtime_period) for its realtime processes: `cpu.rt_runtime_us`, which is 0
    /// otherwise. Version 1 only, and a kernel with CONFIG_RT_GROUP_SCHED.
    #[must_use]
    pub fn realtime_runtime(self, microseconds: u64) -> Self {
        self.legacy(Controller::Cpu, REALTIME_RUNTIME, at_most(microseconds, "-1"))
    }

    /// The period for that, in microseconds: `cpu.rt_period_us`, which is 1,000,000 otherwise.
    #[must_use]
    pub fn realtime_period(self, microseconds: u64) -> Self {
        self.legacy(Controller::Cpu, REALTIME_PERIOD, microseconds)
    }

    /// The share of block devices of its own processes, against cgroups below it: `blkio.leaf_weight`, 10 to 1,000. Version 1
    /// only, before Linux 5.0.
    #[must_use]
    pub fn io_leaf_weight(self, weight: u16) -> Self {
        self.legacy(Controller::Io, LEAF_WEIGHT, weight)
    }

    /// The same of the block device of this major and minor number: `blkio.leaf_weight_device`.
    #[must_use]
    pub fn io_device_leaf_weight(mut self, device: (u32, u32), weight: u16) -> Self {
        let value = Value { content: weight.to_string(), may_lack: false };
        self.legacy.0.insert((Controller::Io, DEVICE_LEAF_WEIGHT, Some(device)), value);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(cgroup: &Cgroup, controller: Controller) -> Vec<(String, bool)> {
        let settings = cgroup.legacy.settings(controller);
        settings.map(|one| (format!("{} {}", one.file, one.content), one.may_lack)).collect()
    }

    #[test]
    fn only_what_is_so_anyway_may_lack_its_file() {
        let cgroup = Cgroup::new().kernel_memory(Cgroup::UNLIMITED).tcp_memory(5).memory_hierarchy();
        let [kernel, tcp, hierarchy] = [(KERNEL, "-1", true), (TCP, "5", false), (HIERARCHY, "1", true)]
            .map(|(file, value, may_lack)| (format!("{file} {value}"), may_lack));
        assert_eq!(lines(&cgroup, Controller::Memory), [kernel, tcp, hierarchy]);
        assert!(lines(&cgroup, Controller::Cpu).is_empty());
    }

    #[test]
    fn the_period_of_realtime_is_set_first() {
        let cgroup = Cgroup::new().realtime_runtime(1_000).realtime_period(10_000);
        let [period, runtime] =
            ["cpu.rt_period_us 10000", "cpu.rt_runtime_us 1000"].map(|line| (line.to_owned(), false));
        assert_eq!(lines(&cgroup, Controller::Cpu), [period, runtime]);
    }
}
