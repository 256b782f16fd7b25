//! What sept runs inside namespaces to look at them, or to try what can be done there. Not for users.

use lexopt::Parser;
use rustix::io::Errno;
use rustix::process::DumpableBehavior;
use rustix::thread::ThreadNameSpaceType;
use sept::Namespace;

use crate::failure::Failure;
use crate::report;
use crate::words;

/// `sept inside WHAT`.
pub fn main(parser: &mut Parser) -> Result<u8, Failure> {
    let word = parser.value().map_err(words::usage)?;
    match word.to_str() {
        Some("nothing") => Ok(0),
        Some("facts") => {
            let kind = parser.value().map_err(words::usage)?;
            report::print_bytes(facts_of(&kind.to_string_lossy()).as_bytes()).map(|()| 0)
        }
        Some("overlay") => overlay().map(|()| 0).map_err(|errno| Failure::io("overlay", &errno.into())),
        _ => Err(Failure::usage("sept inside is how sept looks into namespaces").fix("sept diff A B")),
    }
}

/// What is seen in this namespace of the process whose pidfd is standard input, or why nothing is.
///
/// Executed outside, with nothing of the caller's but that. Who has rights inside could trace it, and would have what it has of
/// outside: the files, the ids. So it hides before it goes there, and executes nothing more.
fn facts_of(kind: &str) -> String {
    let gone = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).and_then(|()| go(kind));
    match gone {
        Ok(()) => facts(kind),
        Err(errno) => format!("{WHY}\0{}\0", std::io::Error::from(errno)),
    }
}

/// The name of what is no fact.
pub const WHY: &str = "why";

/// Alone, where that will do: in the user namespace that owns it there are others.
fn go(kind: &str) -> Result<(), Errno> {
    let process = rustix::stdio::stdin();
    let to = |spaces| rustix::thread::move_into_thread_name_spaces(process, spaces);
    let user = ThreadNameSpaceType::USER;
    let space = match Namespace::ALL.into_iter().find(|known| known.name() == kind) {
        Some(Namespace::User) => return to(user),
        Some(Namespace::Uts) => ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME,
        Some(Namespace::Ipc) => ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION,
        _ => return Err(Errno::INVAL),
    };
    to(space).or_else(|_| to(space | user))
}

/// What this process sees: the name of each fact and its value, both with a NUL behind. That stands in no string of the kernel's; a
/// hostname may have ends of lines and tabs in it.
pub fn facts(kind: &str) -> String {
    let read = |path: &str| {
        let text = sept::host::read_text(path).unwrap_or_default();
        text.strip_suffix('\n').map_or_else(|| text.clone(), str::to_owned)
    };
    let mut facts = String::new();
    let mut say = |name: &str, value: String| facts.push_str(&format!("{name}\0{value}\0"));
    match kind {
        "uts" => {
            say("hostname", read("/proc/sys/kernel/hostname"));
            say("domain name", read("/proc/sys/kernel/domainname"));
        }
        "ipc" => {
            for (name, file) in
                [("shared memory segments", "shm"), ("message queues", "msg"), ("semaphore sets", "sem")]
            {
                let lines = read(&format!("/proc/sysvipc/{file}")).lines().count();
                say(name, lines.saturating_sub(1).to_string());
            }
            for limit in ["shmmax", "shmmni", "msgmax", "msgmni", "sem"] {
                say(&format!("limit {limit}"), read(&format!("/proc/sys/kernel/{limit}")).replace('\t', " "));
            }
        }
        _ => {
            for limit in Namespace::ALL.map(Namespace::limit) {
                say(&format!("limit {limit}"), read(&format!("/proc/sys/{}", limit.replace('.', "/"))));
            }
        }
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
