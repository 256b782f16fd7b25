//! The command's own cgroup: made before the clone, removed after the end.

mod end;
mod place;
mod values;

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, Mode, OFlags, flock};

use crate::cgroup::{Account, Cgroup, Controller, Setting};
use crate::error::{Advice, Error, describe};
use crate::layer::Layer;
use crate::sys;
use place::Hierarchies;
#[cfg(feature = "fuzz")]
pub(crate) use place::own;

/// Ours begin with this. The rest is only there to be different.
const PREFIX: &str = "sept-";

/// One directory for each hierarchy that is needed.
#[derive(Debug)]
pub(crate) struct OwnCgroup {
    dirs: Vec<Dir>,
    /// `tasks` of version 1, by which a thread that writes 0 moves itself: cheaper than `cgroup.procs` by milliseconds.
    pub tasks: Vec<OwnedFd>,
    /// For CLONE_INTO_CGROUP, and `cgroup.procs` for where there is no clone3.
    pub into: Option<(OwnedFd, OwnedFd)>,
    /// Whether it is removed when this is dropped.
    pub armed: bool,
}

#[derive(Debug)]
struct Dir {
    path: PathBuf,
    /// Of the hierarchy: one process can be in one directory of each only.
    device: u64,
    unified: bool,
    /// Locked as long as it is in use: who sweeps takes away only what nobody holds.
    _lock: OwnedFd,
}

fn failed(what: String, error: &io::Error) -> Error {
    let advice = match error.raw_os_error() {
        Some(libc::EACCES | libc::EPERM | libc::EROFS) => {
            Advice::new("this process may not change the cgroups here", "run as root")
                .or("let systemd make one for this user: --cgroup-manager systemd")
                .or("name one that was delegated to this user: --cgroup-parent PATH")
        }
        Some(libc::EBUSY) => Advice::new(
            "a cgroup of version 2 that has processes of its own can't pass controllers on (cgroups(7), no internal processes)",
            "name a cgroup without processes: --cgroup-parent PATH",
        ),
        Some(libc::EINVAL | libc::ERANGE) => {
            Advice::new("the kernel does not take that value", "choose another limit")
        }
        Some(libc::ENODEV | libc::ENXIO) => {
            Advice::new("there is no such device, or it is no whole disk", "choose one that lsblk(8) lists")
        }
        _ => Advice::default(),
    };
    Error::Duty { what, errno: error.raw_os_error(), advice, layer: Some(Layer::Limits) }
}

fn write(dir: &Path, file: &str, content: &str) -> Result<(), Error> {
    let path = dir.join(file);
    fs::write(&path, content)
        .map_err(|error| failed(format!("write {content} to {}", path.display()), &error))
}

fn open(path: &Path, flags: OFlags) -> Result<OwnedFd, Error> {
    rustix::fs::open(path, flags | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| failed(format!("open {}", path.display()), &errno.into()))
}

fn set(dir: &Path, settings: impl IntoIterator<Item = Setting>) -> Result<(), Error> {
    for Setting { file, content, may_lack } in settings {
        let there = dir.join(&file).exists();
        if !there && may_lack {
            continue;
        }
        if !there {
            return Err(Error::Duty {
                what: format!("set {file} to {content}"),
                errno: None,
                advice: lacking(dir, &file),
                layer: Some(Layer::Limits),
            });
        }
        write(dir, &file, &content)?;
    }
    Ok(())
}

/// Why there is no such file. The cgroup itself is gone when this is read: the one above it is named.
fn lacking(dir: &Path, file: &str) -> Advice {
    let above = dir.parent().unwrap_or(dir).display();
    if matches!(file, "blkio.weight" | "io.weight") {
        return Advice::new(
            "this kernel has no such file for a cgroup: no scheduler of block devices here knows weights",
            format!(
                "echo bfq >/sys/block/DISK/queue/scheduler, or leave this out; ls {above} shows what can be set"
            ),
        );
    }
    Advice::new(
        "this kernel has no such file for a cgroup",
        format!("leave this out; ls {above} shows what can be set"),
    )
}

impl OwnCgroup {
    pub(crate) fn make(cgroup: &Cgroup) -> Result<Self, Error> {
        let hierarchies = Hierarchies::read()?;
        values::check(cgroup, hierarchies.legacy(Controller::Io).is_some())?;
        let mut made = Self { dirs: Vec::new(), tasks: Vec::new(), into: None, armed: true };
        let mut of_two = Vec::new();
        for controller in cgroup.controllers() {
            match hierarchies.legacy(controller) {
                Some(mount) => {
                    let parent = hierarchies.parent(cgroup, &mount, Some(controller))?;
                    made.legacy(cgroup, controller, &parent)?;
                }
                None => of_two.push(controller),
            }
        }
        let named: Vec<&str> = cgroup.named_controllers().collect();
        if !of_two.is_empty() || !named.is_empty() || made.dirs.is_empty() {
            made.unified(cgroup, &hierarchies, &of_two, &named)?;
        }
        Ok(made)
    }

    fn legacy(&mut self, cgroup: &Cgroup, controller: Controller, parent: &Path) -> Result<(), Error> {
        let dir = self.directory(parent, false)?;
        if controller == Controller::Cpuset {
            inherit_cpuset(parent, &dir)?;
        }
        set(&dir, cgroup.settings(controller, false))?;
        // Two controllers of one hierarchy have one directory, which is entered once.
        if self.dirs.len() > self.tasks.len() {
            self.tasks.push(open(&dir.join("tasks"), OFlags::WRONLY)?);
        }
        Ok(())
    }

    fn unified(
        &mut self,
        cgroup: &Cgroup,
        hierarchies: &Hierarchies,
        controllers: &[Controller],
        named: &[&str],
    ) -> Result<(), Error> {
        let lacking = controllers.iter().find(|controller| !controller.is_in_unified());
        let mount = match (&hierarchies.unified, lacking) {
            (Some(mount), None) => mount,
            _ => {
                return Err(place::missing(
                    lacking.or(controllers.first()).map_or("", |one| one.name()),
                    None,
                ));
            }
        };
        let parent = hierarchies.parent(cgroup, mount, None)?;
        let mut words: Vec<&str> = controllers.iter().filter_map(|controller| controller.unified()).collect();
        words.extend(named);
        let parent = place::pass_on(parent, &words, cgroup.parent.is_none())?;
        let dir = self.directory(&parent, true)?;
        for controller in controllers {
            set(&dir, cgroup.settings(*controller, true))?;
        }
        set(&dir, cgroup.named())?;
        let entry = open(&dir, OFlags::DIRECTORY)?;
        if let Some(program) = cgroup.device_program().filter(|_| controllers.contains(&Controller::Devices))
        {
            sys::load_device_program(&program)
                .and_then(|program| sys::attach_device_program(program.as_fd(), entry.as_fd()))
                .map_err(|errno| failed("limit devices by an eBPF program".to_owned(), &errno.into()))?;
        }
        self.into = Some((entry, open(&dir.join("cgroup.procs"), OFlags::WRONLY)?));
        Ok(())
    }

    /// A directory in this hierarchy, new and locked, or the one that is there already.
    fn directory(&mut self, parent: &Path, unified: bool) -> Result<PathBuf, Error> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let stat = rustix::fs::stat(parent)
            .map_err(|errno| failed(format!("look at {}", parent.display()), &errno.into()))?;
        if let Some(dir) = self.dirs.iter().find(|dir| dir.device == stat.st_dev) {
            return Ok(dir.path.clone());
        }
        end::sweep(parent);
        let pid = std::process::id();
        loop {
            let path = parent.join(format!("{PREFIX}{pid}-{}", NEXT.fetch_add(1, Relaxed)));
            match fs::create_dir(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                made => {
                    made.map_err(|error| failed(format!("make the cgroup {}", path.display()), &error))?
                }
            }
            // Somebody who sweeps may have been here in between: then the next.
            let Ok(lock) = open(&path, OFlags::DIRECTORY) else { continue };
            if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() && path.exists() {
                self.dirs.push(Dir { path: path.clone(), device: stat.st_dev, unified, _lock: lock });
                return Ok(path);
            }
        }
    }

    /// What has been counted so far.
    fn account(&self) -> Account {
        let mut account = Account::default();
        for dir in &self.dirs {
            let number = |file: &str| fs::read_to_string(dir.path.join(file)).ok()?.trim().parse().ok();
            let field = |file: &str, name: &str| -> Option<u64> {
                let text = fs::read_to_string(dir.path.join(file)).ok()?;
                text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
            };
            if dir.unified {
                let time = |name| field("cpu.stat", name).map(Duration::from_micros);
                account.peak_memory = account.peak_memory.or_else(|| number("memory.peak"));
                account.oom_kills = account.oom_kills.or_else(|| field("memory.events", "oom_kill"));
                (account.user, account.system) = (time("user_usec"), time("system_usec"));
            } else {
                account.peak_memory = account.peak_memory.or_else(|| number("memory.max_usage_in_bytes"));
                account.oom_kills = account.oom_kills.or_else(|| field("memory.oom_control", "oom_kill"));
            }
        }
        account
    }

    /// Why a child that was killed before exec may have been.
    pub(crate) fn explain_death(&self) -> Advice {
        match self.account().oom_kills {
            None | Some(0) => Advice::default(),
            Some(_) => Advice::new(
                "what set-up writes into its tmpfs counts as the command's memory, and the limit was reached",
                "allow more: --memory",
            ),
        }
    }

    /// The account; then kills what is left, and removes it.
    pub(crate) fn end(&mut self) -> Account {
        self.armed = false;
        let account = self.account();
        for dir in &self.dirs {
            end::remove(&dir.path);
        }
        account
    }

    /// Stops all processes in it, or lets them go on, and waits until that is so.
    pub(crate) fn freeze(&self, frozen: bool) -> io::Result<()> {
        let unsupported =
            || io::Error::new(io::ErrorKind::Unsupported, "its cgroup has no freezer: ask for one");
        let of_one = |dir: &&Dir| dir.path.join("freezer.state").exists();
        let (dir, file, word, state, done) = match self.dirs.iter().find(of_one) {
            Some(dir) if frozen => (dir, "freezer.state", "FROZEN", "freezer.state", "FROZEN"),
            Some(dir) => (dir, "freezer.state", "THAWED", "freezer.state", "THAWED"),
            None => {
                let dir = self.dirs.iter().find(|dir| dir.unified).ok_or_else(unsupported)?;
                let (word, done) = if frozen { ("1", "frozen 1") } else { ("0", "frozen 0") };
                (dir, "cgroup.freeze", word, "cgroup.events", done)
            }
        };
        fs::write(dir.path.join(file), word)?;
        let patience = Instant::now() + Duration::from_secs(10);
        while !fs::read_to_string(dir.path.join(state))?.lines().any(|line| line == done) {
            if Instant::now() > patience {
                return Err(io::Error::new(io::ErrorKind::TimedOut, describe(libc::ETIMEDOUT)));
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        Ok(())
    }
}

impl Drop for OwnCgroup {
    fn drop(&mut self) {
        if self.armed {
            self.end();
        }
    }
}

/// A new cpuset of version 1 has no processor and no memory, and nobody can enter it.
fn inherit_cpuset(parent: &Path, dir: &Path) -> Result<(), Error> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let above = parent.join(file);
        let content = fs::read_to_string(&above)
            .map_err(|error| failed(format!("read {}", above.display()), &error))?;
        write(dir, file, content.trim())?;
    }
    Ok(())
}

/// A borrowed descriptor for the clone.
pub(crate) fn into(cgroup: Option<&OwnCgroup>) -> Option<BorrowedFd<'_>> {
    cgroup.and_then(|cgroup| cgroup.into.as_ref()).map(|(dir, _)| dir.as_fd())
}
