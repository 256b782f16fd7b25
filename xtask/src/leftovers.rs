//! What a test run must not leave behind.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::Result;

/// Mounts, processes, cgroups and files, as one set of lines.
pub struct Snapshot(BTreeSet<String>);

impl Snapshot {
    /// What is there now.
    pub fn take() -> Self {
        let mut lines = BTreeSet::new();
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        lines.extend(mounts.lines().map(|line| format!("mount {line}")));
        for dir in ["/tmp", "/run"] {
            let names = entries(dir).into_iter().filter(|name| name.starts_with("sept"));
            lines.extend(names.map(|name| format!("file {dir}/{name}")));
        }
        for controller in entries("/sys/fs/cgroup") {
            let names = entries(&format!("/sys/fs/cgroup/{controller}"));
            lines.extend(
                names
                    .into_iter()
                    .filter(|name| name.contains("sept"))
                    .map(|name| format!("cgroup {controller}/{name}")),
            );
        }
        for pid in entries("/proc").into_iter().filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
        {
            let exe = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
            if exe.file_name().is_some_and(|name| name == "sept" || name == "sept (deleted)") {
                lines.insert(format!("process {pid} {}", exe.display()));
            }
        }
        Self(lines)
    }

    /// Fails with what has come since.
    pub fn compare(&self) -> Result {
        let now = Self::take();
        let new: Vec<&str> = now.0.difference(&self.0).map(String::as_str).collect();
        if new.is_empty() { Ok(()) } else { Err(format!("the tests left behind:\n  {}", new.join("\n  "))) }
    }
}

fn entries(dir: &str) -> Vec<String> {
    let Ok(entries) = fs::read_dir(Path::new(dir)) else { return Vec::new() };
    entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}
