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

use crate::Result;

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
    let mut ways: [(&str, Vec<Duration>); 4] =
        [("mount", vec![]), ("open_tree", vec![]), ("Command", vec![]), ("unchanged", vec![])];
    for _ in 0..rounds {
        for (n, (_, took)) in ways.iter_mut().enumerate() {
            let begun = Instant::now();
            match n {
                0 => bare(program, &targets, Call::Mount)?,
                1 => bare(program, &targets, Call::Tree)?,
                2 => by_command(program, Access::ReadWrite)?,
                _ => by_command(program, Access::Unchanged)?,
            }
            took.push(begun.elapsed());
        }
    }
    let median = |took: &mut Vec<Duration>| {
        took.sort_unstable();
        took.get(took.len() / 2).map_or(f64::NAN, |took| took.as_secs_f64() * 1e3)
    };
    let [(_, mount), (_, tree), (_, command), (_, unchanged)] = &mut ways;
    let (mount, tree, command, unchanged) = (median(mount), median(tree), median(command), median(unchanged));
    let limit = mount.min(tree);
    println!("\n{COUNT} binds of {SOURCE} on directories made in a tmpfs, start to end, median in ms:");
    println!("mkdir and mount {mount:.1}; mkdir, open_tree and move_mount {tree:.1}");
    println!("Command {command:.1}, ratio {:.2} (nosuid, nodev)", command / limit);
    println!("Command {unchanged:.1}, ratio {:.2} (nothing set)", unchanged / limit);
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
