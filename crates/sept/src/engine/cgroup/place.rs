//! Where the command's own cgroup is made: which hierarchies there are, and below which directory.

use std::fs;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::dir::Parent;
use super::failed;
use crate::cgroup::{Cgroup, Controller};
use crate::error::{Advice, Error};
use crate::host::common::read_kernel;
use crate::layer::Layer;

/// Where cgroups are mounted: by the file system's type there is no doubt about which version is where.
const MOUNT: &str = "/sys/fs/cgroup";
const CGROUP_SUPER_MAGIC: u64 = 0x0027_e0eb;
const CGROUP2_SUPER_MAGIC: u64 = 0x6367_7270;

/// What is mounted, and where this process is in it.
pub(super) struct Hierarchies {
    /// `/proc/thread-self/cgroup`.
    own: String,
    /// Whether all is version 2.
    pure: bool,
}

fn magic(path: &Path) -> Option<u64> {
    rustix::fs::statfs(path).ok().map(|fs| fs.f_type as u64)
}

/// Moves a process to a cgroup, by its directory. Elsewhere a file of that name may be anything, or a link to it.
pub(crate) fn join(what: String, dir: &Path, pid: i32) -> Result<(), Error> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fix = "name a directory of one that is mounted: findmnt -t cgroup,cgroup2";
    let not_there = |errno: Errno| match errno {
        Errno::NOENT | Errno::NOTDIR => Advice::new("there is no such directory", fix),
        _ => Advice::default(),
    };
    let place = rustix::fs::open(dir, flags, Mode::empty())
        .map_err(|errno| Error::duty(what.clone(), errno, not_there(errno)))?;
    let kind = rustix::fs::fstatfs(&place).map_or(0, |fs| fs.f_type as u64);
    if ![CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC].contains(&kind) {
        let advice = Advice::new("that directory is of no cgroup file system", fix);
        return Err(Error::Duty { what, errno: None, advice, layer: None });
    }
    let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(&place, "cgroup.procs", flags, Mode::empty())
        .and_then(|procs| rustix::io::write(&procs, pid.to_string().as_bytes()))
        .map(drop)
        .map_err(|errno| Error::duty(what, errno, not_joined(errno)))
}

fn not_joined(errno: Errno) -> Advice {
    match errno {
        Errno::ACCESS | Errno::PERM => Advice::new(
            "this process may not move others there: it takes the right to write cgroup.procs of that cgroup, and with version 2 \
             of the one above both",
            "run as root, or name one that was delegated to this user",
        ),
        Errno::BUSY | Errno::OPNOTSUPP => Advice::new(
            "a cgroup of version 2 that passes controllers on, or is threaded, takes no process (cgroups(7))",
            "name one below it",
        ),
        _ => Advice::default(),
    }
}

impl Hierarchies {
    pub(super) fn read() -> Result<Self, Error> {
        let own = read_kernel("/proc/thread-self/cgroup")
            .map_err(|error| failed("read /proc/thread-self/cgroup".to_owned(), &error))?;
        let pure = magic(Path::new(MOUNT)) == Some(CGROUP2_SUPER_MAGIC);
        Ok(Self { own, pure })
    }

    /// The mount of version 2.
    pub(super) fn unified(&self) -> Option<PathBuf> {
        if self.pure {
            return Some(PathBuf::from(MOUNT));
        }
        let mount = Path::new(MOUNT).join("unified");
        (magic(&mount) == Some(CGROUP2_SUPER_MAGIC)).then_some(mount)
    }

    /// The mount of a controller of version 1, where it is one.
    pub(super) fn legacy(&self, controller: Controller) -> Option<PathBuf> {
        if self.pure {
            return None;
        }
        let mount = Path::new(MOUNT).join(controller.name());
        (magic(&mount) == Some(CGROUP_SUPER_MAGIC)).then_some(mount)
    }

    /// The directory below which ours is made, in the hierarchy mounted there. The path in `/proc/thread-self/cgroup` need not
    /// be below what is mounted: then it is the top of that.
    pub(super) fn parent(
        &self,
        cgroup: &Cgroup,
        mount: &Path,
        controller: Option<Controller>,
    ) -> Result<Parent, Error> {
        let below = |path: &Path| mount.join(path.strip_prefix("/").unwrap_or(path));
        let leads_out = |path: &Path| path.components().any(|part| part == Component::ParentDir);
        let Some(named) = &cgroup.parent else {
            let own = own(&self.own, controller).map(Path::new).filter(|path| !leads_out(path)).map(below);
            let opened = own.and_then(|own| Parent::open(own).ok());
            return opened.map_or_else(|| Parent::open(mount.to_path_buf()), Ok);
        };
        if leads_out(named) {
            return Err(Error::invalid(format!("the parent cgroup {} holds ..", named.display())));
        }
        let dir = below(named);
        if !dir.is_dir() {
            return Err(Error::invalid_with(
                format!("there is no cgroup {}", dir.display()),
                Advice { why: vec![], fix: vec![format!("mkdir {}", dir.display())] },
            ));
        }
        Parent::open(dir)
    }
}

/// The path for a controller in the text of such a file; of version 2 for none.
pub(crate) fn own(text: &str, controller: Option<Controller>) -> Option<&str> {
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

/// A controller that can't be had; in this directory of version 2, where there is one.
pub(super) fn missing(controller: &str, dir: Option<&Path>) -> Error {
    let what = if controller.is_empty() { "make a cgroup" } else { "limit by the cgroup controller" };
    let what = format!("{what} {controller}").trim_end().to_owned();
    let advice = match dir {
        Some(dir) if dir.join("cgroup.type").exists() => Advice::new(
            format!("the cgroup above {} does not pass that controller on to it", dir.display()),
            "for a user of systemd: sudo systemctl edit user@.service, and there [Service] Delegate=yes",
        )
        .or(format!("as root: echo +{controller} >{}/../cgroup.subtree_control", dir.display())),
        Some(_) if is_legacy(controller) => Advice::new(
            "that controller belongs to a hierarchy of version 1 on this host (/proc/cgroups)",
            "boot with cgroup_no_v1=all, or leave the limit out",
        ),
        Some(_) => Advice::new(
            "this kernel has no such controller for cgroups of version 2, or it was turned off at boot",
            format!("boot with cgroup_enable={controller}, or leave the limit out"),
        ),
        None => Advice::new(
            format!("no hierarchy of cgroups with that controller is mounted below {MOUNT}"),
            "limit each process: --rlimit",
        ),
    };
    let layer = match controller {
        "memory" => Layer::Memory,
        "cpu" => Layer::Cpus,
        "pids" => Layer::Pids,
        _ => Layer::Limits,
    };
    Error::Duty { what, errno: None, advice, layer: Some(layer) }
}

/// Whether a controller is bound to a hierarchy of version 1, mounted here or not.
fn is_legacy(controller: &str) -> bool {
    let text = fs::read_to_string("/proc/cgroups").unwrap_or_default();
    text.lines().any(|line| {
        let mut fields = line.split_ascii_whitespace();
        fields.next() == Some(controller) && fields.next().is_some_and(|hierarchy| hierarchy != "0")
    })
}

/// Has `dir` hand these controllers to its children; if it has processes itself, and nobody named it, the one above.
pub(super) fn pass_on(dir: Parent, controllers: &[&str], may_rise: bool) -> Result<Parent, Error> {
    let Some(first) = controllers.first() else { return Ok(dir) };
    let path = &dir.path;
    let has = |text: &str, controller: &&str| text.split_whitespace().any(|word| word == *controller);
    let passed = dir.read("cgroup.subtree_control");
    // The top has no type. One with processes that passes something on is a threaded domain.
    if controllers.iter().all(|controller| has(&passed, controller))
        && matches!(dir.read("cgroup.type").trim(), "" | "domain")
    {
        return Ok(dir);
    }
    let available = dir.read("cgroup.controllers");
    if let Some(lacking) = controllers.iter().find(|controller| !has(&available, controller)) {
        return Err(missing(lacking, Some(path)));
    }
    let rise = || match path.parent().filter(|above| above.join("cgroup.procs").exists()) {
        Some(above) => pass_on(Parent::open(above.to_path_buf())?, controllers, may_rise),
        None => Err(missing(first, Some(path))),
    };
    // The kernel lets one with processes pass pids and cpu on, but then it is threaded, and takes no new process below it.
    // The top has no type, and may have both.
    if !dir.read("cgroup.procs").trim().is_empty() && path.join("cgroup.type").exists() {
        let what = || format!("pass controllers on from {}", path.display());
        return if may_rise { rise() } else { Err(failed(what(), &Errno::BUSY.into())) };
    }
    for controller in controllers.iter().filter(|controller| !has(&passed, controller)) {
        let (file, word) = (path.join("cgroup.subtree_control"), format!("+{controller}"));
        match fs::write(&file, &word) {
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) && may_rise => return rise(),
            done => {
                done.map_err(|error| failed(format!("write {word} to {}", file.display()), &error))?;
            }
        }
    }
    Ok(dir)
}
