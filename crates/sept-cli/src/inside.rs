//! What sept runs inside namespaces to look at them, or to try what can be done there. Not for users.

use std::fs;

use lexopt::Parser;

use crate::failure::Failure;
use crate::report;
use crate::words;

/// `sept inside WHAT`.
pub fn main(parser: &mut Parser) -> Result<u8, Failure> {
    let word = parser.value().map_err(words::usage)?;
    match word.to_str() {
        Some("nothing") => Ok(0),
        Some("facts") => report::print(&facts()).map(|()| 0),
        Some("overlay") => overlay().map(|()| 0).map_err(|errno| Failure::io("overlay", &errno.into())),
        _ => Err(Failure::usage("sept inside is how sept looks into namespaces").fix("sept diff A B")),
    }
}

/// One fact a line: its kind of namespace, its name, its value.
fn facts() -> String {
    let read = |path: &str| fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default();
    let mut facts = String::new();
    let mut say =
        |kind: &str, name: &str, value: String| facts.push_str(&format!("{kind}\t{name}\t{value}\n"));
    say("uts", "hostname", read("/proc/sys/kernel/hostname"));
    say("uts", "domain name", read("/proc/sys/kernel/domainname"));
    for (name, file) in
        [("shared memory segments", "shm"), ("message queues", "msg"), ("semaphore sets", "sem")]
    {
        let lines = read(&format!("/proc/sysvipc/{file}")).lines().count();
        say("ipc", name, lines.saturating_sub(1).to_string());
    }
    for limit in ["shmmax", "shmmni", "msgmax", "msgmni", "sem"] {
        say("ipc", &format!("limit {limit}"), read(&format!("/proc/sys/kernel/{limit}")).replace('\t', " "));
    }
    for kind in sept::Namespace::ALL {
        let limit = kind.limit();
        say("user", &format!("limit {limit}"), read(&format!("/proc/sys/{}", limit.replace('.', "/"))));
    }
    facts
}

/// Mounts an overlay, on a tmpfs of this mount namespace's own.
fn overlay() -> rustix::io::Result<()> {
    use rustix::mount::{MountFlags, mount};
    let base = "/proc";
    mount("tmpfs", base, "tmpfs", MountFlags::empty(), None)?;
    for dir in ["lower", "upper", "work", "all"] {
        rustix::fs::mkdir(format!("{base}/{dir}"), rustix::fs::Mode::from_raw_mode(0o755))?;
    }
    let options =
        std::ffi::CString::new(format!("lowerdir={base}/lower,upperdir={base}/upper,workdir={base}/work"));
    let options = options.map_err(|_| rustix::io::Errno::INVAL)?;
    mount("overlay", format!("{base}/all"), "overlay", MountFlags::empty(), Some(options.as_c_str()))
}
