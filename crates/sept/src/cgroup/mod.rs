//! Limits on a command and all its descendants together; cgroups(7).

use std::fmt;
use std::path::{Path, PathBuf};

/// A new cgroup for the command, with limits that hold for it and all its descendants together.
///
/// It is made below the caller's own cgroup, entered before anything else is done, and removed when the command has
/// been waited for; what still runs in it then is killed. Works with cgroups of version 2, version 1, and both at once.
///
/// ```no_run
/// use sept::{Cgroup, Command};
///
/// let limits = Cgroup::new().memory(256 << 20).pids(64).cpu(150_000, 100_000);
/// let mut child = Command::new("make").cgroup(limits).spawn()?;
/// child.wait()?;
/// println!("at most {:?} bytes", child.account().and_then(|account| account.peak_memory));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cgroup {
    pub(crate) parent: Option<PathBuf>,
    pub(crate) memory: Option<u64>,
    pub(crate) cpu: Option<(u64, u64)>,
    pub(crate) pids: Option<u64>,
}

impl Cgroup {
    /// Without a limit.
    pub fn new() -> Self {
        Self::default()
    }

    /// Below this cgroup instead of the caller's own: a path as in `/proc/PID/cgroup`. It must be there.
    #[must_use]
    pub fn parent(mut self, path: impl AsRef<Path>) -> Self {
        self.parent = Some(path.as_ref().to_path_buf());
        self
    }

    /// At most so many bytes of memory, page cache and tmpfs included. Nothing is swapped out, where the kernel
    /// accounts for swap. At the limit the kernel kills a process of the cgroup.
    #[must_use]
    pub fn memory(mut self, bytes: u64) -> Self {
        self.memory = Some(bytes);
        self
    }

    /// At most `quota` microseconds of processor time in each `period` of microseconds: twice the period is two processors.
    /// The kernel takes quotas from 1,000 and periods from 1,000 to 1,000,000.
    #[must_use]
    pub fn cpu(mut self, quota: u64, period: u64) -> Self {
        self.cpu = Some((quota, period));
        self
    }

    /// At most so many processes and threads; more answer EAGAIN.
    #[must_use]
    pub fn pids(mut self, most: u64) -> Self {
        self.pids = Some(most);
        self
    }

    /// What it takes.
    pub(crate) fn controllers(&self) -> impl Iterator<Item = Controller> {
        [
            self.memory.map(|_| Controller::Memory),
            self.cpu.map(|_| Controller::Cpu),
            self.pids.map(|_| Controller::Pids),
        ]
        .into_iter()
        .flatten()
    }

    /// The files to write for a controller, in order, and whether a kernel may lack them.
    pub(crate) fn settings(
        &self,
        controller: Controller,
        unified: bool,
    ) -> Vec<(&'static str, String, bool)> {
        let memory = self.memory.unwrap_or_default().to_string();
        let (quota, period) = self.cpu.unwrap_or_default();
        let pids = self.pids.unwrap_or_default().to_string();
        match (controller, unified) {
            (Controller::Memory, true) => {
                vec![("memory.max", memory, false), ("memory.swap.max", "0".to_owned(), true)]
            }
            (Controller::Memory, false) => vec![
                ("memory.limit_in_bytes", memory.clone(), false),
                ("memory.memsw.limit_in_bytes", memory, true),
            ],
            (Controller::Cpu, true) => vec![("cpu.max", format!("{quota} {period}"), false)],
            (Controller::Cpu, false) => vec![
                ("cpu.cfs_period_us", period.to_string(), false),
                ("cpu.cfs_quota_us", quota.to_string(), false),
            ],
            (Controller::Pids, _) => vec![("pids.max", pids, false)],
        }
    }
}

impl fmt::Display for Cgroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut comma = "";
        if let Some(bytes) = self.memory {
            write!(f, "memory {bytes}")?;
            comma = ", ";
        }
        if let Some((quota, period)) = self.cpu {
            write!(f, "{comma}cpu {quota} us in {period} us")?;
            comma = ", ";
        }
        if let Some(most) = self.pids {
            write!(f, "{comma}pids {most}")?;
        }
        Ok(())
    }
}

/// What the kernel limits by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Controller {
    Memory,
    Cpu,
    Pids,
}

impl Controller {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Cpu => "cpu",
            Self::Pids => "pids",
        }
    }
}

/// What a cgroup had counted at its end: [`Child::account`](crate::Child::account).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Account {
    /// The most memory that it held at once, in bytes. Version 2 tells it since Linux 5.19, and only with a memory limit.
    pub peak_memory: Option<u64>,
    /// How many of its processes the kernel killed for lack of memory. Only with a memory limit.
    pub oom_kills: Option<u64>,
}
