//! `sept tour`: the kinds of namespaces shown live, host side and inside side by side.
//!
//! Every fact is read from a process that is there; nothing is canned.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::Command as Tool;

use sept::{Child, Command, Mount, Namespace, Stdio};

use crate::failure::{Failure, printable};
use crate::report;

/// Shows these kinds. 125 if one of them could not be made.
pub fn run(kinds: &[Namespace], colour: bool) -> Result<u8, Failure> {
    let mut code = 0;
    for kind in kinds {
        let (command, what) = words(*kind);
        let (bold, dim, plain) = if colour { ("\x1b[1m", "\x1b[2m", "\x1b[0m") } else { ("", "", "") };
        report::print(&format!("{bold}{kind}{plain}: {what}\n{dim}{command}{plain}\n"))?;
        match side_by_side(*kind) {
            Ok(text) => report::print(&format!("{text}\n"))?,
            Err(failure) => {
                failure.print(crate::wants_json_errors());
                code = failure.code;
            }
        }
    }
    Ok(code)
}

/// The command line that does it, and what it isolates.
fn words(kind: Namespace) -> (&'static str, &'static str) {
    match kind {
        Namespace::User => ("sept run -U --map-user 1234 id", "user and group ids, and what root may do"),
        Namespace::Mount => {
            ("sept run -Um --tmpfs /tmp ls /tmp", "the file tree: what is mounted inside stays inside")
        }
        Namespace::Pid => {
            ("sept run -Ump ps -ef", "process ids: the command is process 1, and sees only its own")
        }
        Namespace::Uts => ("sept run -Uu --hostname inside hostname", "the host's name"),
        Namespace::Ipc => ("sept run -Ui ipcmk -Q", "System V IPC and message queues"),
        Namespace::Net => ("sept run -Un ip addr", "network devices, addresses and ports"),
        Namespace::Cgroup => ("sept run -UC cat /proc/self/cgroup", "which cgroup is seen as the root"),
        Namespace::Time => ("sept run -UT --boottime 8640000 uptime", "the monotonic and boot-time clocks"),
    }
}

fn side_by_side(kind: Namespace) -> Result<String, Failure> {
    let mut child = start(kind)?;
    let inside = facts_from(&mut child)?;
    let mut host = vec![("link".to_owned(), link("self", kind))];
    host.extend(facts(kind));
    let mut text = format!("  {:<20} {:<34} {}\n", "", "host", "inside");
    // The link is read from this side for both: the kernel's word on which namespace the other process is in.
    let inside_link = link(&child.id().to_string(), kind);
    let shown = std::iter::once(inside_link).chain(inside.into_iter().skip(1).map(|(_, value)| value));
    for ((name, outside), inside) in host.iter().zip(shown) {
        text.push_str(&format!("  {name:<20} {:<34} {}\n", short(outside), short(&inside)));
    }
    let ended = child.wait().map_err(|error| Failure::io("cannot wait for the other side", &error))?;
    if ended.success() { Ok(text) } else { Err(Failure::usage(format!("the other side ended with {ended}"))) }
}

fn short(text: &str) -> String {
    let text = printable(text);
    if text.chars().count() <= 33 { text } else { text.chars().take(32).chain(['…']).collect() }
}

/// This program again, in a new namespace: it tells its facts, and stays until its input ends.
fn start(kind: Namespace) -> Result<Child, Failure> {
    // By the link, not by its path: a tmpfs on /tmp may cover that.
    let mut command = Command::new("/proc/self/exe");
    command.args(["tour", "--inside", kind.name()]).stdin(Stdio::piped()).stdout(Stdio::piped());
    command.unshare([Namespace::User, kind]);
    match kind {
        Namespace::User => {
            let me = sept::Host::caller();
            command.map_uid(1234, me.uid, 1).map_gid(1234, me.gid, 1)
        }
        _ => command.map_root(),
    };
    match kind {
        Namespace::Mount => command.mount(Mount::tmpfs("/tmp")),
        Namespace::Pid => command.unshare([Namespace::Mount]).mount(Mount::proc("/proc")),
        Namespace::Uts => command.hostname("inside"),
        Namespace::Time => command.boottime_offset(8_640_000),
        _ => &mut command,
    };
    Ok(command.spawn()?)
}

fn facts_from(child: &mut Child) -> Result<Vec<(String, String)>, Failure> {
    let stdout = child.stdout.take().ok_or_else(|| Failure::usage("the other side has no output"))?;
    let mut facts = Vec::new();
    for line in BufReader::new(stdout).lines() {
        let line = line.map_err(|error| Failure::io("cannot read from the other side", &error))?;
        match line.split_once('\t') {
            Some((name, value)) => facts.push((name.to_owned(), value.to_owned())),
            None => break,
        }
    }
    Ok(facts)
}

/// The inside half: prints its facts and an empty line, and waits for the end of its input.
pub fn show(kind: Namespace) {
    if kind == Namespace::Ipc {
        // A queue of our own, to be seen on this side only. Without ipcmk there is none, and the count says so.
        let _ = Tool::new("ipcmk").arg("-Q").stdout(std::process::Stdio::null()).status();
    }
    let mut text = format!("link\t{}\n", link("self", kind));
    for (name, value) in facts(kind) {
        text.push_str(&format!("{name}\t{value}\n"));
    }
    text.push('\n');
    // The other half has gone if this fails; so do we.
    if std::io::stdout().write_all(text.as_bytes()).is_ok() {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
    }
}

fn link(process: &str, kind: Namespace) -> String {
    fs::read_link(format!("/proc/{process}/ns/{}", kind.link()))
        .map_or_else(|error| error.to_string(), |link| link.to_string_lossy().into_owned())
}

/// What differs between the sides, as this process sees it.
fn facts(kind: Namespace) -> Vec<(String, String)> {
    let fact = |name: &str, value: String| (name.to_owned(), value);
    match kind {
        Namespace::User => vec![
            fact("uid", rustix::process::getuid().as_raw().to_string()),
            fact("map (in, out, count)", words_of(&read("/proc/self/uid_map"))),
        ],
        Namespace::Mount => vec![
            fact("mounts", read("/proc/self/mountinfo").lines().count().to_string()),
            fact("files in /tmp", entries("/tmp").len().to_string()),
        ],
        Namespace::Pid => vec![
            fact("own process id", std::process::id().to_string()),
            fact(
                "processes seen",
                entries("/proc").iter().filter(|name| name.parse::<u32>().is_ok()).count().to_string(),
            ),
        ],
        Namespace::Uts => vec![fact("hostname", read("/proc/sys/kernel/hostname").trim().to_owned())],
        Namespace::Ipc => {
            vec![fact("message queues", read("/proc/sysvipc/msg").lines().skip(1).count().to_string())]
        }
        Namespace::Net => vec![fact("devices", devices(&read("/proc/self/net/dev")))],
        Namespace::Cgroup => {
            vec![fact("own cgroup", read("/proc/self/cgroup").lines().last().unwrap_or_default().to_owned())]
        }
        Namespace::Time => {
            let seconds = read("/proc/uptime").split('.').next().unwrap_or_default().to_owned();
            vec![fact("uptime in seconds", seconds)]
        }
    }
}

fn devices(table: &str) -> String {
    table
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, _)| name.trim())
        .collect::<Vec<_>>()
        .join(" ")
}

fn words_of(text: &str) -> String {
    text.lines().next().unwrap_or_default().split_ascii_whitespace().collect::<Vec<_>>().join(" ")
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| error.to_string())
}

fn entries(dir: &str) -> Vec<String> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}
