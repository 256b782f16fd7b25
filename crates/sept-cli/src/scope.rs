//! A scope of systemd for this very process, delegated to it: there an ordinary user may make cgroups with limits.
//!
//! systemd is asked by its own client, busctl(1): see docs/decisions/0017-scopes.md.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::failure::Failure;

/// Moves this process to a scope of its own. The path of that, as in `/proc/PID/cgroup`, with nobody in it itself: a
/// cgroup that has processes can't pass controllers on.
pub fn enter() -> Result<PathBuf, Failure> {
    if !sept::host::systemd_has_cgroups() {
        return Err(failure("no systemd that keeps all cgroups in version 2 runs here")
            .fix("leave --cgroup-manager out, as root")
            .fix("name one that was delegated to this user instead: --cgroup-parent PATH"));
    }
    let pid = std::process::id();
    // Another process may have had this pid, and its scope may not be gone yet: with when this one began it comes but once.
    let ticks = sept::host::stat_field(pid, 22).unwrap_or_default();
    let name = format!("sept-{pid}-{ticks}.scope");
    let begun = Instant::now();
    ask(&name, pid)?;
    let scope = loop {
        let own = fs::read_to_string("/proc/self/cgroup")
            .map_err(|error| Failure::io("cannot read /proc/self/cgroup", &error))?;
        let path = own.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/");
        if path.ends_with(&name) {
            break PathBuf::from(path);
        }
        if begun.elapsed() > Duration::from_secs(10) {
            return Err(failure("systemd said yes, and did not move this process within 10 seconds")
                .fix(format!("systemctl status {name}")));
        }
        std::thread::sleep(Duration::from_millis(1));
    };
    stand_aside(&scope).map_err(|error| {
        Failure::io(format!("cannot use the scope {}", scope.display()), &error)
            .why("systemd has to delegate it to this user (systemd.resource-control(5), Delegate=)")
    })?;
    Ok(scope)
}

fn failure(why: &str) -> Failure {
    Failure::usage("cannot get a cgroup from systemd").why(why)
}

/// This process to a leaf.
fn stand_aside(scope: &Path) -> std::io::Result<()> {
    let dir = Path::new("/sys/fs/cgroup").join(scope.strip_prefix("/").unwrap_or(scope));
    let leaf = dir.join("supervisor");
    fs::create_dir(&leaf)?;
    fs::write(leaf.join("cgroup.procs"), "0")
}

/// Asks for the scope: of the user's own systemd, or of the system's.
fn ask(name: &str, pid: u32) -> Result<(), Failure> {
    let busctl = ["/usr/bin/busctl", "/bin/busctl", "/run/current-system/sw/bin/busctl"]
        .into_iter()
        .find(|path| Path::new(path).exists())
        .ok_or_else(|| failure("busctl(1), which comes with systemd, is not installed"))?;
    let mut client = Command::new(busctl);
    client.env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let uid = rustix::process::geteuid();
    if uid.is_root() {
        client.arg("--system");
    } else {
        let dir = std::env::var_os("XDG_RUNTIME_DIR")
            .map_or_else(|| PathBuf::from(format!("/run/user/{}", uid.as_raw())), PathBuf::from);
        if !dir.join("bus").exists() {
            return Err(failure(&format!("this user has no bus: there is no {}", dir.join("bus").display()))
                .fix("sudo loginctl enable-linger $USER, and the package dbus-user-session; or log in by systemd")
                .fix("run as root"));
        }
        client.env("XDG_RUNTIME_DIR", dir).arg("--user");
    }
    let pid = pid.to_string();
    client.args(["call", "org.freedesktop.systemd1", "/org/freedesktop/systemd1"]);
    client.args(["org.freedesktop.systemd1.Manager", "StartTransientUnit", "ssa(sv)a(sa(sv))"]);
    client.args([name, "fail", "4", "Description", "s", "sept", "PIDs", "au", "1", &pid]);
    client.args(["Delegate", "b", "true", "CollectMode", "s", "inactive-or-failed", "0"]);
    let output = client.output().map_err(|error| Failure::io(format!("cannot run {busctl}"), &error))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ");
    Err(failure(&format!("busctl says: {said}")).fix("--cgroup-manager fs, as root"))
}
