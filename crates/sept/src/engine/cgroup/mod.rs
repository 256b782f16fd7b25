//! The command's own cgroup: made before the clone, removed after the end.

mod dir;
mod end;
mod place;
mod values;

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use crate::cgroup::{Account, Cgroup, Controller, Setting};
use crate::error::{Advice, Error, describe};
use crate::host::common::{advice_on, read_kernel, systemd_has_cgroups};
use crate::layer::Layer;
use crate::plan::layers;
use crate::sys;
use dir::{Dir, Later, Parent};
use place::Hierarchies;
pub(super) use place::join;
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
    /// `cgroup.procs` of version 2, for where there is no clone3 with CLONE_INTO_CGROUP.
    pub procs: Option<OwnedFd>,
    /// The limit of memory, where the child sets it itself.
    pub limit: Option<LateLimit>,
    /// What is set while the child sets up.
    beside: Vec<Later>,
    /// Whether there is an account at the end.
    counted: bool,
    /// Whether what is left in it may be killed once nobody holds it.
    held: bool,
    /// Whether it is removed when this is dropped.
    pub armed: bool,
    /// Whose it is, by `sys::own_process`: a copy of this ends nothing.
    process: u32,
}

/// A limit of memory that is set when set-up is done.
#[derive(Debug)]
pub(crate) struct LateLimit {
    /// What is in use, to be read.
    pub usage: OwnedFd,
    /// What to write, and where.
    pub files: Vec<(OwnedFd, String)>,
}

fn failed(what: String, error: &io::Error) -> Error {
    let advice = match error.raw_os_error() {
        Some(libc::EROFS) if rustix::process::geteuid().is_root() => Advice::new(
            "the cgroups are read-only here, as inside of a sandbox with limits, or of a container",
            "set these limits outside, or have cgroups bound there that may be written: --bind /sys/fs/cgroup /sys/fs/cgroup",
        ),
        Some(libc::EACCES | libc::EPERM | libc::EROFS) => may_not_change(),
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
        errno => errno.map(advice_on).unwrap_or_default(),
    };
    let errno = error.raw_os_error();
    let layer = Some(Layer::Limits).filter(|_| !errno.is_some_and(layers::is_want));
    Error::Duty { what, errno, advice, layer }
}

fn may_not_change() -> Advice {
    let advice = Advice::new("this process may not change the cgroups here", "run as root");
    let delegated = "name one that was delegated to this user: --cgroup-parent PATH";
    if systemd_has_cgroups() {
        return advice.or("let systemd make one for this user: --cgroup-manager systemd").or(delegated);
    }
    advice.or(delegated).or("limit each process: --rlimit")
}

impl OwnCgroup {
    /// `late`: whether the child sets the limit of memory itself.
    pub(crate) fn make(cgroup: &Cgroup, late: bool) -> Result<Self, Error> {
        let hierarchies = Hierarchies::read()?;
        values::check(cgroup, || hierarchies.legacy(Controller::Io).is_some())?;
        let (counted, held) = (!cgroup.uncounted, cgroup.held);
        let (armed, process) = (true, sys::own_process());
        let (dirs, tasks, beside) = (Vec::new(), Vec::new(), Vec::new());
        let mut made = Self { dirs, tasks, procs: None, limit: None, beside, counted, held, armed, process };
        let mut of_two = Vec::new();
        for controller in cgroup.controllers() {
            match hierarchies.legacy(controller) {
                Some(mount) => {
                    let parent = hierarchies.parent(cgroup, &mount, Some(controller))?;
                    made.legacy(cgroup, controller, parent, late)?;
                }
                None => of_two.push(controller),
            }
        }
        let named: Vec<&str> = cgroup.named_controllers().collect();
        if !of_two.is_empty() || cgroup.named().next().is_some() || made.dirs.is_empty() {
            made.unified(cgroup, &hierarchies, (&of_two, &named), late)?;
        }
        if counted {
            made.count_time(cgroup, &hierarchies);
        }
        Ok(made)
    }

    /// Version 2 counts processor time in every cgroup, version 1 in a hierarchy of its own. Nobody is limited by that: who can't have it
    /// does without.
    fn count_time(&mut self, cgroup: &Cgroup, hierarchies: &Hierarchies) {
        let controller = Controller::Time;
        let Some(mount) = hierarchies.legacy(controller) else { return };
        if self.dirs.iter().any(|dir| dir.unified) {
            return;
        }
        let before = self.dirs.len();
        let parent = hierarchies.parent(cgroup, &mount, Some(controller));
        if parent.and_then(|parent| self.legacy(cgroup, controller, parent, false)).is_err() {
            // One that nobody enters would count nothing.
            for dir in self.dirs.drain(before..) {
                end::remove_empty(&dir.path);
            }
        }
    }

    fn legacy(
        &mut self,
        cgroup: &Cgroup,
        controller: Controller,
        parent: Parent,
        late: bool,
    ) -> Result<(), Error> {
        let (dir, is_new) = self.directory(&parent, false)?;
        if controller == Controller::Cpuset {
            inherit_cpuset(&parent, dir)?;
        }
        let (beside, settings): (Vec<_>, Vec<_>) =
            cgroup.settings(controller, false).into_iter().partition(|setting| setting.beside);
        let (kept, now) = split(settings, late);
        dir.set(now)?;
        let beside = dir.open_all(beside)?;
        let limit = dir.keep("memory.usage_in_bytes", kept)?;
        // Two controllers of one hierarchy have one directory, which is entered once.
        let tasks = is_new.then(|| dir.open("tasks")).transpose()?;
        self.tasks.extend(tasks);
        self.beside.extend(beside);
        self.limit = limit.or(self.limit.take());
        Ok(())
    }

    /// Not before the child is on its way, and before it is the command.
    pub(crate) fn set_beside(&self) -> Result<(), Error> {
        self.beside.iter().try_for_each(Later::write)
    }

    fn unified(
        &mut self,
        cgroup: &Cgroup,
        hierarchies: &Hierarchies,
        (controllers, named): (&[Controller], &[&str]),
        late: bool,
    ) -> Result<(), Error> {
        let lacking = controllers.iter().find(|controller| !controller.is_in_unified());
        let mount = match (hierarchies.unified(), lacking) {
            (Some(mount), None) => mount,
            _ => {
                return Err(place::missing(
                    lacking.or(controllers.first()).map_or("", |one| one.name()),
                    None,
                ));
            }
        };
        let parent = hierarchies.parent(cgroup, &mount, None)?;
        let mut words: Vec<&str> = controllers.iter().filter_map(|controller| controller.unified()).collect();
        words.extend(named);
        let passed = place::pass_on(parent, &words, cgroup.parent.is_none());
        // A file that was named is given up with all limits only.
        let parent = passed
            .map_err(|error| if controllers.is_empty() { error.lacks(Layer::Limits) } else { error })?;
        let (dir, _) = self.directory(&parent, true)?;
        let settings = controllers.iter().flat_map(|controller| cgroup.settings(*controller, true));
        let (kept, now) = split(settings, late);
        dir.set(now)?;
        let limit = dir.keep("memory.current", kept)?;
        dir.set(cgroup.named())?;
        let devices = controllers.contains(&Controller::Devices);
        if let Some(program) = cgroup.device_program().filter(|_| devices) {
            sys::load_device_program(&program)
                .and_then(|program| sys::attach_device_program(program.as_fd(), dir.entry().as_fd()))
                .map_err(|errno| failed("limit devices by an eBPF program".to_owned(), &errno.into()))?;
        }
        self.procs = Some(dir.open("cgroup.procs")?);
        self.limit = limit.or(self.limit.take());
        Ok(())
    }

    /// Our directory in this hierarchy, and whether it is new.
    fn directory(&mut self, parent: &Parent, unified: bool) -> Result<(&Dir, bool), Error> {
        let known = self.dirs.iter().position(|dir| dir.device == parent.device);
        let at = match known {
            Some(at) => at,
            None => {
                self.dirs.push(Dir::make(parent, unified, if self.held { end::HELD } else { "" })?);
                self.dirs.len() - 1
            }
        };
        Ok((&self.dirs[at], known.is_none()))
    }

    /// What has been counted so far.
    fn account(&self) -> Account {
        let mut account = Account::default();
        for dir in &self.dirs {
            let number = |file: &str| dir.read(file).ok()?.trim().parse().ok();
            let field = |file: &str, name: &str| number_of(&dir.read(file).ok()?, name);
            if dir.unified {
                let text = dir.read("cpu.stat").unwrap_or_default();
                let time = |name| number_of(&text, name).map(Duration::from_micros);
                account.peak_memory = account.peak_memory.or_else(|| number("memory.peak"));
                account.oom_kills = account.oom_kills.or_else(|| field("memory.events", "oom_kill"));
                (account.user, account.system) = (time("user_usec"), time("system_usec"));
            } else {
                account.peak_memory = account.peak_memory.or_else(|| number("memory.max_usage_in_bytes"));
                account.oom_kills = account.oom_kills.or_else(|| field("memory.oom_control", "oom_kill"));
                let time = time_of(|file| number(file));
                (account.user, account.system) =
                    (account.user.or(time.map(|time| time.0)), account.system.or(time.map(|time| time.1)));
            }
        }
        account
    }

    /// Why a child that was killed before exec may have been.
    pub(crate) fn explain_death(&self) -> Advice {
        match self.account().oom_kills {
            None | Some(0) => Advice::default(),
            Some(_) => Advice::new(
                "what set-up needs and writes counts as the command's memory, and the limit was reached",
                "allow more: --memory",
            ),
        }
    }

    /// The account, if one is wanted; then kills what is left, and removes it.
    pub(crate) fn end(&mut self) -> Option<Account> {
        self.armed = false;
        if self.process != sys::own_process() {
            return None;
        }
        let account = self.counted.then(|| self.account());
        let full: Vec<&Dir> = self.dirs.iter().filter(|dir| !end::remove_empty(&dir.path)).collect();
        full.iter().for_each(|dir| end::forbid_forks(&dir.path));
        if !full.is_empty() {
            self.let_die();
        }
        full.iter().for_each(|dir| end::remove(&dir.path, end::PATIENCE));
        account
    }

    /// What stands still by version 1 does not even die.
    pub(crate) fn let_die(&self) {
        for dir in self.dirs.iter().filter(|dir| !dir.unified) {
            let _ = dir.write("freezer.state", "THAWED");
        }
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

/// The settings that wait until set-up is done, and the others.
fn split(settings: impl IntoIterator<Item = Setting>, late: bool) -> (Vec<Setting>, Vec<Setting>) {
    settings.into_iter().partition(|setting| late && setting.kills)
}

/// The processor time that version 1 has counted, in user mode and in the kernel. Exact is the sum; whose it is, the kernel looks
/// at each tick only.
fn time_of(number: impl Fn(&str) -> Option<u64>) -> Option<(Duration, Duration)> {
    let sum = number("cpuacct.usage")?;
    let (user, system) = (number("cpuacct.usage_user")?, number("cpuacct.usage_sys")?);
    let seen = u128::from(user) + u128::from(system);
    let part = u128::from(sum) * u128::from(system) / seen.max(1);
    let system = u64::try_from(part).unwrap_or(sum);
    Some((Duration::from_nanos(sum - system), Duration::from_nanos(system)))
}

/// In a file of lines that are a name and a number.
fn number_of(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

/// A new cpuset of version 1 has no processor and no memory, and nobody can enter it.
fn inherit_cpuset(parent: &Parent, dir: &Dir) -> Result<(), Error> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let above = parent.path.join(file);
        let content =
            read_kernel(&above).map_err(|error| failed(format!("read {}", above.display()), &error))?;
        dir.write(file, content.trim())?;
    }
    Ok(())
}

/// A borrowed descriptor for the clone.
pub(crate) fn into(cgroup: Option<&OwnCgroup>) -> Option<BorrowedFd<'_>> {
    cgroup?.dirs.iter().find(|dir| dir.unified).map(|dir| dir.entry().as_fd())
}
