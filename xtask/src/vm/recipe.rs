//! What the guest is made of, and how.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use super::{Release, machine};
use crate::{Result, is_root, output, sh};

/// The ordinary user of the guest.
pub const USER: &str = "septtest";

/// What is installed beside the smallest system: what makes sessions and delegates cgroups, and what the tests run.
const PACKAGES: &str = "systemd-sysv,dbus,dbus-user-session,libpam-systemd,apparmor,uidmap,util-linux-extra,strace,\
iproute2,procps,kmod,busybox-static,hostname,libcap2-bin";

const INIT: &str = include_str!("guest/init");
const SETUP: &str = include_str!("guest/setup");
const JOB: &str = include_str!("guest/vm-job");
const SERVICE: &str = include_str!("guest/vm-job.service");

/// Where Debian's packages come from.
pub fn mirror() -> String {
    std::env::var("SEPT_VM_MIRROR").unwrap_or_else(|_| "http://deb.debian.org/debian".to_owned())
}

/// The name of a guest in the cache. Another recipe, or another machine to start it on, has another name.
pub fn key(release: Release) -> Result<String> {
    let qemu = output(Command::new(machine::QEMU).arg("--version")).ok_or("qemu does not run")?;
    let machine = machine::MACHINE.join(" ");
    let parts = [PACKAGES, INIT, SETUP, JOB, SERVICE, &machine, machine::CMDLINE, &qemu];
    // FNV-1a: the same with every Rust.
    let hash = parts
        .iter()
        .flat_map(|part| part.bytes().chain([0]))
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    Ok(format!("{}-{hash:016x}", release.name()))
}

/// Makes `vmlinuz`, `initrd` and `disk` in the directory.
pub fn make(release: Release, place: &Path) -> Result {
    if !is_root() {
        return Err("only root can build the guest: its files have owners".to_owned());
    }
    let root = place.join("root");
    debootstrap(release, place, &root)?;
    for (name, text) in [("setup", SETUP), ("init", INIT), ("vm-job", JOB), ("vm-job.service", SERVICE)] {
        fs::write(root.join(name), text).map_err(|error| format!("{name}: {error}"))?;
    }
    // Names are looked up as the host does, while it is being made.
    let _ = fs::copy("/etc/resolv.conf", root.join("etc/resolv.conf"));
    quietly(apart().args(["chroot"]).arg(&root).args(["sh", "/setup"]), &place.join("setup.log"))?;
    fs::remove_file(root.join("setup")).map_err(|error| error.to_string())?;
    for file in ["vmlinuz", "initrd"] {
        let from = root.join("boot").join(file);
        fs::rename(&from, place.join(file)).map_err(|error| format!("{}: {error}", from.display()))?;
    }
    let disk = place.join("disk");
    let mut mkfs = Command::new("mkfs.ext4");
    mkfs.args(["-q", "-d"]).arg(&root).arg(&disk).arg("2G").env("PATH", path());
    sh(&mut mkfs)?;
    fs::remove_dir_all(&root).map_err(|error| format!("{}: {error}", root.display()))
}

fn debootstrap(release: Release, place: &Path, root: &Path) -> Result {
    let mut make = apart();
    make.args(["debootstrap", "--variant=minbase"]).arg(format!("--include={PACKAGES}"));
    // As every release does, also one that this debootstrap has not heard of.
    make.arg(release.name()).arg(root).arg(mirror()).arg("/usr/share/debootstrap/scripts/sid");
    quietly(&mut make, &place.join("debootstrap.log"))
}

/// sbin, too, where root's tools are.
fn path() -> String {
    format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", std::env::var("PATH").unwrap_or_default())
}

/// With a mount and a pid namespace of its own, so that nothing stays mounted or running; and it ends with us.
fn apart() -> Command {
    let mut apart = Command::new("setpriv");
    apart.args([
        "--pdeathsig",
        "KILL",
        "unshare",
        "--mount",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
        "--",
    ]);
    apart.env("PATH", path()).env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null());
    apart
}

/// What it says is shown only if it fails.
fn quietly(command: &mut Command, log: &Path) -> Result {
    let file = fs::File::create(log).map_err(|error| format!("{}: {error}", log.display()))?;
    let second = file.try_clone().map_err(|error| error.to_string())?;
    let status = command.stdout(file).stderr(second).status();
    let status = status.map_err(|error| format!("{command:?}: {error}"))?;
    if status.success() {
        return Ok(());
    }
    let text = fs::read_to_string(log).unwrap_or_default();
    let tail: Vec<&str> = text.lines().rev().take(20).collect();
    eprintln!("{}", tail.into_iter().rev().collect::<Vec<_>>().join("\n"));
    Err(format!("{command:?}: {status}"))
}
