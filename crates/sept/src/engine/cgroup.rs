//! The command's own cgroup: made before the clone, removed after the end.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use rustix::io::Errno;
use rustix::process::{Pid, Signal};

use crate::cgroup::{Account, Cgroup, Controller};
use crate::error::{Advice, Error};

/// Where cgroups are mounted: by the file system's type there is no doubt about which version is where.
const MOUNT: &str = "/sys/fs/cgroup";
const CGROUP_SUPER_MAGIC: u64 = 0x0027_e0eb;
const CGROUP2_SUPER_MAGIC: u64 = 0x6367_7270;

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
    /// Locked as long as it is in use: who sweeps takes away only what nobody holds.
    _lock: OwnedFd,
}

fn failed(what: String, error: &io::Error) -> Error {
    let advice = match error.raw_os_error() {
        Some(libc::EACCES | libc::EPERM | libc::EROFS) => Advice::new(
            "this process may not change the cgroups here",
            "run as root, or name a cgroup that was delegated to this user: --cgroup-parent PATH",
        ),
        Some(libc::EBUSY) => Advice::new(
            "a cgroup of version 2 that has processes of its own can't pass controllers on (cgroups(7), no internal processes)",
            "name a cgroup without processes: --cgroup-parent PATH",
        ),
        Some(libc::EINVAL | libc::ERANGE) => {
            Advice::new("the kernel does not take that value", "choose another limit")
        }
        _ => Advice::default(),
    };
    Error::Duty { what, errno: error.raw_os_error(), advice }
}

fn write(dir: &Path, file: &str, content: &str) -> Result<(), Error> {
    let path = dir.join(file);
    fs::write(&path, content)
        .map_err(|error| failed(format!("write {content} to {}", path.display()), &error))
}

fn magic(path: &Path) -> Option<u64> {
    rustix::fs::statfs(path).ok().map(|fs| fs.f_type as u64)
}

/// The mount of version 2.
fn unified() -> Option<PathBuf> {
    [PathBuf::from(MOUNT), Path::new(MOUNT).join("unified")]
        .into_iter()
        .find(|path| magic(path) == Some(CGROUP2_SUPER_MAGIC))
}

/// The directory below which ours is made, in the hierarchy mounted there. The path in `/proc/self/cgroup` need not be
/// below what is mounted: then it is the top of that.
fn parent(cgroup: &Cgroup, mount: &Path, own: Option<&str>) -> Result<PathBuf, Error> {
    let below = |path: &Path| mount.join(path.strip_prefix("/").unwrap_or(path));
    let Some(named) = &cgroup.parent else {
        let own = below(Path::new(own.unwrap_or("/")));
        return Ok(if own.join("cgroup.procs").exists() { own } else { mount.to_path_buf() });
    };
    if named.components().any(|part| part == Component::ParentDir) {
        return Err(Error::invalid(format!("the parent cgroup {} holds ..", named.display())));
    }
    let dir = below(named);
    if !dir.join("cgroup.procs").exists() {
        return Err(Error::invalid_with(
            format!("there is no cgroup {}", dir.display()),
            Advice { why: vec![], fix: vec![format!("mkdir {}", dir.display())] },
        ));
    }
    Ok(dir)
}

/// The path for a controller in the text of `/proc/self/cgroup`; of version 2 for none.
fn own(text: &str, controller: Option<Controller>) -> Option<&str> {
    text.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (names, path) = (fields.next()?, fields.next()?);
        match controller {
            Some(controller) => names.split(',').any(|name| name == controller.name()),
            None => names.is_empty(),
        }
        .then_some(path)
    })
}

impl OwnCgroup {
    pub(crate) fn make(cgroup: &Cgroup) -> Result<Self, Error> {
        let text = fs::read_to_string("/proc/self/cgroup")
            .map_err(|error| failed("read /proc/self/cgroup".to_owned(), &error))?;
        let mut made = Self { dirs: Vec::new(), tasks: Vec::new(), into: None, armed: true };
        let mut of_two = Vec::new();
        for controller in cgroup.controllers() {
            let mount = Path::new(MOUNT).join(controller.name());
            if magic(&mount) == Some(CGROUP_SUPER_MAGIC) {
                let dir = parent(cgroup, &mount, own(&text, Some(controller)))?;
                let dir = made.directory(&dir)?;
                set(cgroup, &dir, controller, false)?;
                made.tasks.push(open(&dir.join("tasks"), OFlags::WRONLY)?);
            } else {
                of_two.push(controller);
            }
        }
        if of_two.is_empty() && !made.tasks.is_empty() {
            return Ok(made);
        }
        let mount = unified().ok_or_else(|| missing(of_two.first().copied()))?;
        let dir = parent(cgroup, &mount, own(&text, None))?;
        let dir = pass_on(dir, &of_two, cgroup.parent.is_none())?;
        let dir = made.directory(&dir)?;
        for controller in of_two {
            set(cgroup, &dir, controller, true)?;
        }
        made.into = Some((
            open(&dir, OFlags::PATH | OFlags::DIRECTORY)?,
            open(&dir.join("cgroup.procs"), OFlags::WRONLY)?,
        ));
        Ok(made)
    }

    /// A new directory, locked.
    fn directory(&mut self, parent: &Path) -> Result<PathBuf, Error> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        sweep(parent);
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
                self.dirs.push(Dir { path: path.clone(), _lock: lock });
                return Ok(path);
            }
        }
    }

    /// The account; then kills what is left, and removes it.
    pub(crate) fn end(&mut self) -> Account {
        self.armed = false;
        let mut account = Account::default();
        for dir in &self.dirs {
            let number = |file: &str| fs::read_to_string(dir.path.join(file)).ok()?.trim().parse().ok();
            let field = |file: &str| {
                let text = fs::read_to_string(dir.path.join(file)).ok()?;
                text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.parse().ok())
            };
            account.peak_memory = account
                .peak_memory
                .or_else(|| number("memory.peak"))
                .or_else(|| number("memory.max_usage_in_bytes"));
            account.oom_kills =
                account.oom_kills.or_else(|| field("memory.events")).or_else(|| field("memory.oom_control"));
        }
        for dir in &self.dirs {
            remove(&dir.path);
        }
        account
    }
}

impl Drop for OwnCgroup {
    fn drop(&mut self) {
        if self.armed {
            self.end();
        }
    }
}

fn open(path: &Path, flags: OFlags) -> Result<OwnedFd, Error> {
    rustix::fs::open(path, flags | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| failed(format!("open {}", path.display()), &errno.into()))
}

fn set(cgroup: &Cgroup, dir: &Path, controller: Controller, unified: bool) -> Result<(), Error> {
    for (file, content, may_lack) in cgroup.settings(controller, unified) {
        if !may_lack || dir.join(file).exists() {
            write(dir, file, &content)?;
        }
    }
    Ok(())
}

fn missing(controller: Option<Controller>) -> Error {
    let name = controller.map_or("cgroup", Controller::name);
    Error::Duty {
        what: format!("limit {name}"),
        errno: None,
        advice: Advice::new(
            format!("no hierarchy of cgroups with the controller {name} is mounted below {MOUNT}"),
            "mount -t cgroup2 none /sys/fs/cgroup, or limit each process: --rlimit",
        ),
    }
}

/// Has `dir` hand these controllers to its children; if it has processes itself, and nobody named it, its parent.
fn pass_on(dir: PathBuf, controllers: &[Controller], may_rise: bool) -> Result<PathBuf, Error> {
    let words = |file: &str| fs::read_to_string(dir.join(file)).unwrap_or_default();
    let (available, passed) = (words("cgroup.controllers"), words("cgroup.subtree_control"));
    let has =
        |text: &str, controller: &Controller| text.split_whitespace().any(|word| word == controller.name());
    if let Some(lacking) = controllers.iter().find(|controller| !has(&available, controller)) {
        return Err(missing(Some(*lacking)));
    }
    let rise = || match dir.parent().filter(|above| above.join("cgroup.procs").exists()) {
        Some(above) => pass_on(above.to_path_buf(), controllers, may_rise),
        None => Err(missing(controllers.first().copied())),
    };
    // The kernel lets one with processes pass pids and cpu on, but then it is threaded, and takes no new process below it.
    // The top has no type, and may have both.
    if dir.join("cgroup.type").exists() && !words("cgroup.procs").trim().is_empty() {
        let what = || format!("pass controllers on from {}", dir.display());
        return if may_rise { rise() } else { Err(failed(what(), &Errno::BUSY.into())) };
    }
    for controller in controllers.iter().filter(|controller| !has(&passed, controller)) {
        match write(&dir, "cgroup.subtree_control", &format!("+{}", controller.name())) {
            Err(Error::Duty { errno: Some(libc::EBUSY), .. }) if may_rise => return rise(),
            done => done?,
        }
    }
    Ok(dir)
}

/// Removes what killed runs have left: only what is empty can be removed, and only what nobody holds is tried.
fn sweep(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX)) {
        let Ok(dir) = File::open(entry.path()) else { continue };
        if flock(dir.as_fd(), FlockOperation::NonBlockingLockExclusive).is_ok() {
            let _ = fs::remove_dir(entry.path());
        }
    }
}

/// Kills all in it, and removes it with what the command made below.
fn remove(path: &Path) {
    let patience = Instant::now() + Duration::from_secs(5);
    while remove_tree(path) == Err(Errno::BUSY) && Instant::now() < patience {
        kill(path);
        std::thread::sleep(Duration::from_micros(200));
    }
}

fn remove_tree(path: &Path) -> Result<(), Errno> {
    let code = |error: io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
    match fs::remove_dir(path).map_err(code) {
        Err(Errno::BUSY | Errno::NOTEMPTY) => {}
        done => return done,
    }
    for entry in fs::read_dir(path).map_err(code)?.flatten().filter(|entry| entry.path().is_dir()) {
        remove_tree(&entry.path())?;
    }
    fs::remove_dir(path).map_err(code)
}

/// `cgroup.kill` of version 2 (Linux 5.14), else one after another, here and below.
fn kill(path: &Path) {
    if fs::write(path.join("cgroup.kill"), "1").is_ok() {
        return;
    }
    let text = fs::read_to_string(path.join("cgroup.procs")).unwrap_or_default();
    for pid in text.lines().filter_map(|line| Pid::from_raw(line.parse().ok()?)) {
        let _ = rustix::process::kill_process(pid, Signal::KILL);
    }
    for entry in fs::read_dir(path).into_iter().flatten().flatten().filter(|entry| entry.path().is_dir()) {
        kill(&entry.path());
    }
}

/// A borrowed descriptor for the clone.
pub(crate) fn into(cgroup: Option<&OwnCgroup>) -> Option<BorrowedFd<'_>> {
    cgroup.and_then(|cgroup| cgroup.into.as_ref()).map(|(dir, _)| dir.as_fd())
}
