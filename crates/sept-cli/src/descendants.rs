//! What COMMAND has started, where it has no pid namespace of its own that ends it all: whoever is orphaned there comes to this process,
//! which ends all of them after COMMAND. Other children of this process, and what those have started, are never touched.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions};
use sept::Child;

use crate::failure::Failure;
use crate::job::own_group;
use crate::report;
use crate::rest;
use crate::tree;

/// For so long they are killed again and again.
const PATIENCE: Duration = Duration::from_secs(10);

/// Who has been killed ends within that, mostly, and what it has started comes.
const DYING: Duration = Duration::from_secs(1);

/// Who is below this process and comes from COMMAND.
pub struct Descendants {
    /// Who was there before COMMAND began: children of the program that has become sept by exec, and the keeper of a pin.
    others: Vec<Known>,
}

impl Descendants {
    /// Has orphans come to this process from now on; to be called before COMMAND is there.
    pub fn adopt() -> Result<Self, Failure> {
        // What is set is that there is a number, whichever that is.
        rustix::process::set_child_subreaper(Some(Pid::INIT)).map_err(|errno| {
            Failure::io("cannot take in what COMMAND orphans, to end it with COMMAND", &errno.into())
        })?;
        let mut new = Self { others: Vec::new() };
        if has_children() {
            new.others = new.found();
        }
        Ok(new)
    }

    /// Leaves alone who is there, too, while COMMAND, which has this number, has not begun.
    pub fn spare_all_but(&mut self, command: u32) {
        let held = Pid::from_raw(command as i32)
            .and_then(|command| rustix::process::pidfd_open(command, PidfdFlags::empty()).ok());
        let command = held.and_then(|held| sept::host::pid_in_proc(held.as_fd()));
        let others = self.found().into_iter().filter(|one| i32::try_from(one.number).ok() != command);
        self.others.extend(others);
    }

    fn found(&self) -> Vec<Known> {
        let mut found = Vec::new();
        self.visit(|process| found.extend(process.known()));
        found
    }

    /// Kills the process group that COMMAND leads, where it does, in one piece: no look at one after another is fast enough for who
    /// forks all the time. COMMAND has not been collected: until then its number, which the group has, is its own.
    pub fn kill_group(command: &Child) {
        // It may have this process with it, for the sake of a terminal.
        let group = Pid::from_raw(command.id() as i32).filter(|group| own_group() != Some(*group));
        if let Some(group) = group {
            // Where it leads none there is none of that number.
            let _ = rustix::process::kill_process_group(group, Signal::KILL);
        }
    }

    /// Kills all that are found, wherever they stand: one who hangs in the kernel keeps what it has started.
    pub fn kill_all(&self) {
        self.visit(|process| {
            process.kill();
        });
    }

    /// Kills them until none is left: what the killed have started comes to this process each time. COMMAND itself has been
    /// collected, and nobody else is before the end: as long as that is so their numbers are their own, and where the number of
    /// processes is limited there is no room for more.
    pub fn end(&self) {
        if !has_children() {
            return;
        }
        let (begun, mut refusing) = (Instant::now(), 0);
        let mut came = begun;
        let (mut known, mut living) = (HashSet::new(), Vec::new());
        loop {
            // Who has ended has handed over its own by then: these are all.
            let all_ended = living.is_empty();
            let mut new = children();
            new.retain(|child| known.insert(*child) && !self.is_other(*child));
            if all_ended && new.is_empty() {
                break;
            }
            if !new.is_empty() {
                came = Instant::now();
            }
            for child in new {
                let refuses = Process::hold(child).is_some_and(|child| !child.kill());
                if refuses { refusing += 1 } else { living.push(child) }
            }
            while living.pop_if(|child| !lives(*child)).is_some() {}
            let is_late = begun.elapsed() >= PATIENCE;
            if is_late || came.elapsed() >= DYING {
                self.kill_all();
            }
            if is_late {
                report::note(&format!(
                    "what COMMAND has started was killed again and again for {} seconds, and is not gone",
                    PATIENCE.as_secs()
                ));
                break;
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        if refusing > 0 {
            report::note(
                "what COMMAND has started has become another user's: it can't be killed, and is left",
            );
        }
        rest::collect(None);
    }

    fn is_other(&self, number: u32) -> bool {
        self.others.iter().any(|other| other.number == number && other.is_there())
    }

    /// Looks at those that live, each after its parent.
    fn visit(&self, mut look: impl FnMut(Process)) {
        let mut below = by_parent();
        let own = own().and_then(Process::hold).and_then(|own| own.known());
        let mut line: VecDeque<Known> = own.into_iter().collect();
        while let Some(parent) = line.pop_front() {
            for number in below.remove(&parent.number).unwrap_or_default() {
                let Some(process) = Process::hold(number) else { continue };
                let known = process.known().filter(|known| known.parent == parent.number);
                let Some(known) = known else { continue };
                // Asked after that: if the parent is still the same its number was its own meanwhile.
                if parent.is_there() && !self.is_other(number) {
                    line.push_back(known);
                    look(process);
                }
            }
        }
    }
}

/// What is known of a process: its number, and when it began, are those of no other.
struct Known {
    number: u32,
    parent: u32,
    began: u64,
    /// Not where all of it has ended, and is only to be waited for: its first thread alone may have.
    lives: bool,
}

impl Known {
    fn is_there(&self) -> bool {
        let now = Process::hold(self.number).and_then(|process| process.known());
        now.is_some_and(|now| now.began == self.began)
    }
}

/// A process, held by its directory in /proc.
struct Process {
    number: u32,
    dir: File,
}

impl Process {
    fn hold(number: u32) -> Option<Self> {
        Some(Self { number, dir: rest::hold(Path::new(&format!("/proc/{number}")))? })
    }

    /// As proc_pid_stat(5) has it; nothing once it has been waited for.
    fn known(&self) -> Option<Known> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.dir, "stat", flags, Mode::empty()).ok()?;
        let mut text = String::new();
        File::from(file).read_to_string(&mut text).ok()?;
        // From the third field on.
        let fields: Vec<&str> = text.rsplit_once(") ")?.1.split(' ').collect();
        Some(Known {
            number: self.number,
            parent: fields.get(1)?.parse().ok()?,
            began: fields.get(19)?.parse().ok()?,
            lives: !matches!(fields.first(), Some(&("Z" | "X"))) || fields.get(17)?.parse::<u32>().ok()? > 1,
        })
    }

    /// False where that is refused.
    fn kill(&self) -> bool {
        rustix::process::pidfd_send_signal(&self.dir, Signal::KILL) != Err(Errno::PERM)
    }
}

/// The children of this process, also those that have ended, in the order in which they came; as its /proc has them.
fn children() -> Vec<u32> {
    match sept::host::read_text("/proc/thread-self/children") {
        Ok(text) => text.split_ascii_whitespace().filter_map(|number| number.parse().ok()).collect(),
        // This kernel has no such file.
        Err(_) => own().and_then(|own| by_parent().remove(&own)).unwrap_or_default(),
    }
}

fn lives(process: u32) -> bool {
    Process::hold(process).and_then(|process| process.known()).is_some_and(|known| known.lives)
}

/// The number of this process in /proc, which may be that of an outer pid namespace.
fn own() -> Option<u32> {
    number(&fs::read_link("/proc/self").ok()?)
}

/// All processes.
fn by_parent() -> HashMap<u32, Vec<u32>> {
    let mut below: HashMap<u32, Vec<u32>> = HashMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let known = number(Path::new(&entry.file_name()));
        if let Some((process, parent)) = known.and_then(|known| Some((known, tree::parent_of(known)?))) {
            below.entry(parent).or_default().push(process);
        }
    }
    below
}

fn number(path: &Path) -> Option<u32> {
    path.to_str()?.parse().ok()
}

/// Whether this process has any, also one that has ended.
fn has_children() -> bool {
    let any = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT | rest::ALL_KINDS;
    !matches!(rustix::process::waitid(WaitId::All, any), Err(Errno::CHILD))
}
