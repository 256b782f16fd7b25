//! Two thousand binds of a directory: by `sept::Command`, and by nothing but the calls that it takes.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, Mode};
use rustix::mount::{MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags};
use rustix::thread::UnshareFlags;
use sept::{Access, Mount, Namespace};

use crate::{Result, limit};

const COUNT: usize = 2000;
const SOURCE: &str = "/usr";
/// Is covered by a tmpfs in each new mount namespace.
const BASE: &str = "/mnt";

/// How the bare loop mounts.
#[derive(Clone, Copy)]
enum Call {
    /// mount(2), MS_BIND.
    Mount,
    /// open_tree(2) and move_mount(2).
    Tree,
}

/// The comparison, by turns, so that whatever else the machine does meets all.
pub fn compare(program: &Path, rounds: usize) -> Result {
    if !rustix::process::geteuid().is_root() {
        println!("\n{COUNT} binds: only root can make the bare calls");
        return Ok(());
    }
    let targets: Vec<CString> = (0..COUNT).filter_map(|n| CString::new(format!("{BASE}/{n}")).ok()).collect();
    let mut ways: [(Vec<Duration>, Vec<Duration>); 4] = Default::default();
    for _ in 0..rounds {
        for (n, (took, used)) in ways.iter_mut().enumerate() {
            let (begun, before) = (Instant::now(), limit::cpu());
            match n {
                0 => bare(program, &targets, Call::Mount)?,
                1 => bare(program, &targets, Call::Tree)?,
                2 => by_command(program, Access::ReadWrite)?,
                _ => by_command(program, Access::Unchanged)?,
            }
            took.push(begun.elapsed());
            used.push(limit::cpu().saturating_sub(before));
        }
    }
    let median = |took: &mut Vec<Duration>| {
        took.sort_unstable();
        took.get(took.len() / 2).map_or(f64::NAN, |took| took.as_secs_f64() * 1e3)
    };
    let medians = ways.each_mut().map(|(took, used)| (median(took), median(used)));
    // The quicker of the two bare ways.
    let (limit, cpu) = (medians[0].0.min(medians[1].0), medians[0].1.min(medians[1].1));
    println!("\n{COUNT} binds of {SOURCE} on directories made in a tmpfs, start to end, median in ms");
    println!("{:<32} {:>8} {:>7} {:>8} {:>7}", "", "time", "ratio", "CPU", "ratio");
    let names =
        ["mkdir, mount", "mkdir, open_tree, move_mount", "Command, nosuid, nodev", "Command, nothing set"];
    for (name, (took, used)) in names.iter().zip(medians) {
        println!("{name:<32} {took:>8.1} {:>7.2} {used:>8.1} {:>7.2}", took / limit, used / cpu);
    }
    Ok(())
}

fn by_command(program: &Path, access: Access) -> Result {
    let mut command = sept::Command::new(program);
    command.unshare([Namespace::Mount]).mount(Mount::tmpfs(BASE));
    for n in 0..COUNT {
        command.mount(Mount::bind(SOURCE, format!("{BASE}/{n}"), access));
    }
    let status = command.status().map_err(|error| error.to_string())?;
    if status.success() { Ok(()) } else { Err(status.to_string()) }
}

fn bare(program: &Path, targets: &[CString], call: Call) -> Result {
    let targets = targets.to_vec();
    let mut command = Command::new(program);
    // SAFETY: between fork and exec there are bare system calls only, on memory that is there.
    unsafe { command.pre_exec(move || bind_all(&targets, call).map_err(io::Error::from)) };
    crate::sh(&mut command)
}

fn bind_all(targets: &[CString], call: Call) -> rustix::io::Result<()> {
    // SAFETY: the descriptors stay as they are.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) }?;
    rustix::mount::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    rustix::mount::mount("tmpfs", BASE, "tmpfs", MountFlags::empty(), None)?;
    for target in targets {
        rustix::fs::mkdirat(CWD, target.as_c_str(), Mode::from_raw_mode(0o755))?;
        match call {
            Call::Mount => rustix::mount::mount_bind_recursive(SOURCE, target.as_c_str())?,
            Call::Tree => {
                let flags = OpenTreeFlags::OPEN_TREE_CLONE
                    | OpenTreeFlags::OPEN_TREE_CLOEXEC
                    | OpenTreeFlags::AT_RECURSIVE;
                let tree = rustix::mount::open_tree(CWD, SOURCE, flags)?;
                let empty = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
                rustix::mount::move_mount(&tree, "", CWD, target.as_c_str(), empty)?;
            }
        }
    }
    Ok(())
}
