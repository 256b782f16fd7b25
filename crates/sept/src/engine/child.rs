//! The child's side: performs the steps, in the caller's memory, until exec.
//!
//! Never allocates, locks, formats or panics: another thread of the caller may hold any lock, and
//! the memory is the caller's. `errno` is the caller's, too: rustix and `sys` leave it alone.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_void};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Release};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags,
    UnmountFlags,
};
use rustix::process::{DumpableBehavior, Signal, WaitOptions};
use rustix::thread::futex;
use rustix::thread::{Gid, Uid};

use crate::engine::prepare::Prepared;
use crate::engine::wire;
use crate::mount::{Access, Create, Propagation};
use crate::plan::step::{Source, Step};
use crate::sys::{self, CloneRequest, attr};

type Result<T = ()> = std::result::Result<T, Errno>;

/// The most tmpfs mounts in which mount points can be made; each is remembered by its device number.
const MOST_OWN: usize = 64;

struct Child<'a> {
    prepared: &'a Prepared,
    /// What paths inside are resolved under; opened when it is first needed.
    root: Option<OwnedFd>,
    /// The device numbers of tmpfs that this child mounted.
    own: [u64; MOST_OWN],
    own_count: usize,
    at_root: bool,
}

/// Clones the child. Boxed, so that it stays where it is; the caller keeps it until the child has left this memory:
/// it waits for that or for the gate, and ends a parked child before it frees.
#[expect(clippy::borrowed_box, reason = "the box is what keeps it in its place")]
pub(super) fn clone(prepared: &Box<Prepared>) -> Result<sys::Cloned> {
    let request = CloneRequest {
        namespaces: prepared.plan.clone_flags(),
        // A PID 1 that stays must not have the caller's memory: whoever is inside could reach for it.
        share_memory: prepared.second_stack.is_none(),
        life: &prepared.control.life,
        by_hand: &prepared.control.by_hand,
        stack: &prepared.stack,
    };
    let mask = sys::set_signal_mask(u64::MAX);
    let arg = std::ptr::from_ref::<Prepared>(prepared).cast_mut().cast();
    // SAFETY: signals are blocked, and `prepared` stays, as said above; `enter` keeps this file's first rule.
    let cloned = unsafe { sys::clone(&request, enter, arg) };
    sys::set_signal_mask(mask);
    cloned
}

/// Where the child begins.
extern "C" fn enter(arg: *mut c_void) -> i32 {
    // SAFETY: the parent passes a `Prepared` that it keeps until the child has left this memory.
    let prepared = unsafe { &*arg.cast::<Prepared>() };
    if prepared.control.by_hand.load(Acquire) != 0 {
        sys::clear_handlers();
    }
    Child { prepared, root: None, own: [0; MOST_OWN], own_count: 0, at_root: false }.perform(0)
}

/// Where the command begins that has a reaper: after the step that made it.
extern "C" fn enter_after_reap(arg: *mut c_void) -> i32 {
    // SAFETY: as in `enter`; the reaper's copy lives as long as the reaper.
    let prepared = unsafe { &*arg.cast::<Prepared>() };
    let next = prepared.plan.steps.iter().position(|step| *step == Step::Reap).map_or(0, |at| at + 1);
    let at_root = prepared.control.candidate.swap(0, AcqRel) == AT_ROOT;
    Child { prepared, root: None, own: [0; MOST_OWN], own_count: 0, at_root }.perform(next)
}

/// Passed from the reaper to the command through `candidate`, which is free until exec.
const AT_ROOT: u32 = u32::MAX;

impl Child<'_> {
    fn perform(&mut self, from: usize) -> ! {
        let control = &self.prepared.control;
        for (at, step) in self.prepared.plan.steps.iter().enumerate().skip(from) {
            control.step.store(at as u32, Release);
            let done = match self.prepared.fault {
                Some((fault, errno)) if fault == at + 1 => Err(Errno::from_raw_os_error(errno)),
                _ => self.step(step),
            };
            if let Err(errno) = done {
                self.fail(errno);
            }
        }
        self.fail(Errno::INVAL)
    }

    /// Tells the parent, and stays until it has looked at what is there; not for ever.
    fn fail(&self, errno: Errno) -> ! {
        let control = &self.prepared.control;
        control.errno.store(errno.raw_os_error(), Release);
        control.go.store(wire::WAIT, Release);
        tell(&control.life, wire::FAILED);
        let patience = Timespec { tv_sec: 5, tv_nsec: 0 };
        let _ = futex::wait(&control.go, futex::Flags::empty(), wire::WAIT, Some(&patience));
        sys::exit(125)
    }

    fn step(&mut self, step: &Step) -> Result {
        match step {
            Step::DieWithParent => self.die_with_parent(),
            Step::DenySetgroups => self.write_proc(c"self/setgroups", b"deny"),
            Step::MapUid(map) => self.write_proc(c"self/uid_map", map.as_bytes()),
            Step::MapGid(map) => self.write_proc(c"self/gid_map", map.as_bytes()),
            Step::UnshareTime => {
                // SAFETY: unsafe only for CLONE_FILES, which is not asked for.
                unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWTIME) }
            }
            Step::OffsetClocks(offsets) => self.write_proc(c"self/timens_offsets", offsets.as_bytes()),
            Step::AwaitMaps => self.await_parent(),
            Step::SetHostname(name) => rustix::system::sethostname(name.as_bytes()),
            Step::SetDomainname(name) => rustix::system::setdomainname(name.as_bytes()),
            Step::LoopbackUp => {
                use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
                let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
                sys::loopback_up(socket.as_fd())
            }
            Step::Propagate(propagation) => propagate(*propagation),
            Step::ReadOnlyAll => sys::mount_setattr(CWD, c"/", attr::RDONLY),
            Step::CloneRoot { dir, read_only } => self.clone_root(dir, *read_only),
            Step::Mount { source, target, create } => self.mount(source, target, *create),
            Step::Symlink { to, at } => {
                let (parent, name) = self.parent_of(at, Create::Own)?;
                rustix::fs::symlinkat(to.as_c_str(), parent, name)
            }
            Step::PivotRoot => self.pivot(),
            Step::ChangeDir { dir, or_root } => self.change_dir(dir, *or_root),
            Step::Redirect => self.redirect(),
            Step::NewSession => rustix::process::setsid().map(drop),
            Step::ControllingTerminal => rustix::process::ioctl_tiocsctty(rustix::stdio::stdin()),
            Step::Foreground => self.await_parent(),
            Step::SetGroups(groups) => set_groups(groups),
            Step::SetGid(id) => {
                let id = Gid::from_raw(*id);
                rustix::thread::set_thread_res_gid(id, id, id)
            }
            Step::SetUid(id) => {
                let id = Uid::from_raw(*id);
                rustix::thread::set_thread_res_uid(id, id, id)
            }
            Step::NoNewPrivs => rustix::thread::set_no_new_privs(true),
            Step::RefuseTerminalInjection => sys::seccomp(&TERMINAL_FILTER),
            Step::CloseOthers(keep) => close_others(keep),
            Step::Reap => self.reap(),
            Step::Park => self.park(),
            Step::Exec(_) => self.exec(),
        }
    }

    fn die_with_parent(&self) -> Result {
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        // It may have ended before the kernel was asked.
        if self.parent_is_gone() { Err(Errno::SRCH) } else { Ok(()) }
    }

    fn parent_is_gone(&self) -> bool {
        let Some(parent) = &self.prepared.parent else { return false };
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut [PollFd::new(parent, PollFlags::IN)], Some(&now)) == Ok(1)
    }

    fn write_proc(&self, file: &CStr, content: &[u8]) -> Result {
        let proc = self.prepared.proc.as_ref().ok_or(Errno::BADF)?;
        let file = rustix::fs::openat(proc, file, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
        // The kernel takes a map in one write or not at all.
        rustix::io::write(&file, content).map(drop)
    }

    fn await_parent(&self) -> Result {
        let go = &self.prepared.control.go;
        let slice = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
        loop {
            match go.load(Acquire) {
                wire::GO => return Ok(()),
                wire::GIVE_UP => sys::exit(125),
                _ if self.parent_is_gone() => sys::exit(125),
                _ => {
                    let _ = futex::wait(go, futex::Flags::empty(), wire::WAIT, Some(&slice));
                }
            }
        }
    }

    fn clone_root(&mut self, dir: &CStr, read_only: bool) -> Result {
        let tree = open_tree(dir)?;
        if read_only {
            sys::mount_setattr(tree.as_fd(), c"", attr::RDONLY)?;
        }
        // pivot_root wants a mount point: the clone is put over the directory that it is a clone of.
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let place = rustix::fs::open(dir, flags, Mode::empty())?;
        attach(tree.as_fd(), place.as_fd())?;
        self.root = Some(tree);
        Ok(())
    }

    fn root(&mut self) -> Result<BorrowedFd<'_>> {
        if self.root.is_none() {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            self.root = Some(rustix::fs::open(c"/", flags, Mode::empty())?);
        }
        self.root.as_ref().map(AsFd::as_fd).ok_or(Errno::BADF)
    }

    fn mount(&mut self, source: &Source, target: &CStr, create: Create) -> Result {
        let mount = match source {
            Source::Bind { path, access } => {
                let tree = open_tree(path)?;
                let attributes = match access {
                    Access::ReadWrite => attr::NOSUID | attr::NODEV,
                    Access::ReadOnly => attr::NOSUID | attr::NODEV | attr::RDONLY,
                    Access::Devices => attr::NOSUID,
                };
                sys::mount_setattr(tree.as_fd(), c"", attributes)?;
                tree
            }
            Source::Device { path, number } => open_device(path, *number)?,
            Source::Tmpfs(mode) => self.tmpfs(*mode)?,
            Source::Proc => new_fs(c"proc", &[], NOSUID | NODEV | NOEXEC)?,
            Source::Sysfs => {
                new_fs(c"sysfs", &[], NOSUID | NODEV | NOEXEC | MountAttrFlags::MOUNT_ATTR_RDONLY)?
            }
            Source::Devpts => {
                let options =
                    [(c"newinstance", None), (c"ptmxmode", Some(c"0666")), (c"mode", Some(c"0620"))];
                new_fs(c"devpts", &options, NOSUID | NOEXEC)?
            }
            Source::Mqueue => new_fs(c"mqueue", &[], NOSUID | NODEV | NOEXEC)?,
        };
        let target = match self.resolve(target) {
            Err(Errno::NOENT) => {
                let directory = FileType::from_raw_mode(rustix::fs::fstat(&mount)?.st_mode).is_dir();
                self.make_mount_point(target, create, directory)?;
                self.resolve(target)?
            }
            found => found?,
        };
        attach(mount.as_fd(), target.as_fd())
    }

    fn tmpfs(&mut self, mode: u32) -> Result<OwnedFd> {
        let mode = if mode == 0o1777 { c"1777" } else { c"0755" };
        let mount = new_fs(c"tmpfs", &[(c"mode", Some(mode))], NOSUID | NODEV)?;
        let device = rustix::fs::fstat(&mount)?.st_dev;
        *self.own.get_mut(self.own_count).ok_or(Errno::NOBUFS)? = device;
        self.own_count += 1;
        Ok(mount)
    }

    /// A path inside. Links can't lead out of the root; EAGAIN comes from renames meanwhile.
    fn resolve(&mut self, path: &CStr) -> Result<OwnedFd> {
        let root = self.root()?;
        for _ in 0..64 {
            let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
            match rustix::fs::openat2(root, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                answer => return answer,
            }
        }
        Err(Errno::AGAIN)
    }

    /// The directory of `path`, made if need be and allowed, and the last name.
    fn parent_of<'p>(&mut self, path: &'p CStr, create: Create) -> Result<(OwnedFd, &'p CStr)> {
        let bytes = path.to_bytes_with_nul();
        let slash = bytes.iter().rposition(|byte| *byte == b'/').ok_or(Errno::INVAL)?;
        let name = bytes
            .get(slash + 1..)
            .and_then(|name| CStr::from_bytes_with_nul(name).ok())
            .ok_or(Errno::INVAL)?;
        let mut buffer = [0_u8; 4096];
        let parent = prefix(&mut buffer, bytes, slash.max(1))?;
        let directory = match self.resolve(parent) {
            Err(Errno::NOENT) => {
                self.make_mount_point(parent, create, true)?;
                self.resolve(parent)?
            }
            found => found?,
        };
        self.may_make_in(&directory, create)?;
        Ok((directory, name))
    }

    /// Nothing is left behind on the host: only in a tmpfs of this child's own, unless it was asked for.
    fn may_make_in(&self, directory: &OwnedFd, create: Create) -> Result {
        let device = rustix::fs::fstat(directory)?.st_dev;
        let own = self.own.iter().take(self.own_count).any(|own| *own == device);
        if own || create == Create::Host { Ok(()) } else { Err(Errno::NOENT) }
    }

    /// Makes what is missing of `path`, one component after another.
    fn make_mount_point(&mut self, path: &CStr, create: Create, directory: bool) -> Result {
        let bytes = path.to_bytes_with_nul();
        let length = bytes.len() - 1;
        let mut buffer = [0_u8; 4096];
        let mut parent = self.resolve(c"/")?;
        let mut start = 0;
        while start < length {
            let end =
                bytes.iter().skip(start).position(|b| *b == b'/' || *b == 0).map_or(length, |at| start + at);
            if end > start {
                parent = match self.resolve(prefix(&mut buffer, bytes, end)?) {
                    Err(Errno::NOENT) => {
                        self.may_make_in(&parent, create)?;
                        let mut name = [0_u8; 256];
                        let component = bytes.get(start..end).ok_or(Errno::INVAL)?;
                        let name = prefix(&mut name, component, component.len())?;
                        make(&parent, name, directory || end < length)?;
                        self.resolve(prefix(&mut buffer, bytes, end)?)?
                    }
                    found => found?,
                };
            }
            start = end + 1;
        }
        Ok(())
    }

    fn pivot(&mut self) -> Result {
        rustix::process::fchdir(self.root()?)?;
        // Both on one another: the old root then lies over the new one, and is taken off.
        rustix::process::pivot_root(c".", c".")?;
        rustix::mount::unmount(c".", UnmountFlags::DETACH)?;
        self.root = None;
        rustix::process::chdir(c"/")
    }

    fn change_dir(&mut self, dir: &CStr, or_root: bool) -> Result {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let found = rustix::fs::openat2(CWD, dir, flags, Mode::empty(), ResolveFlags::NO_MAGICLINKS);
        let done = found.and_then(rustix::process::fchdir);
        match done {
            Err(_) if or_root => {
                self.at_root = true;
                rustix::process::chdir(c"/")
            }
            done => done,
        }
    }

    fn redirect(&self) -> Result {
        let [input, output, error] = &self.prepared.stdio;
        if let Some(fd) = input {
            rustix::stdio::dup2_stdin(fd)?;
        }
        if let Some(fd) = output {
            rustix::stdio::dup2_stdout(fd)?;
        }
        if let Some(fd) = error {
            rustix::stdio::dup2_stderr(fd)?;
        }
        Ok(())
    }

    /// Waits for the byte that lets it go. The end of the pipe, or of the parent, is the end of this child.
    fn park(&self) -> Result {
        let (reader, _) = self.prepared.gate.as_ref().ok_or(Errno::BADF)?;
        let parent = self.prepared.parent.as_ref().ok_or(Errno::BADF)?;
        tell(&self.prepared.control.life, wire::PARKED);
        loop {
            let mut waited = [PollFd::new(reader, PollFlags::IN), PollFd::new(parent, PollFlags::IN)];
            match poll(&mut waited, None) {
                Err(Errno::INTR) => continue,
                answer => answer?,
            };
            if waited[0].revents().contains(PollFlags::IN) {
                self.prepared.control.life.store(wire::RUNNING, Release);
                return Ok(());
            }
            sys::exit(125);
        }
    }

    /// Makes the command a child of this process, which from now on only passes signals on and collects the dead.
    fn reap(&mut self) -> Result {
        // Whoever is inside must not look into this copy of the caller's memory (ptrace, /proc/1/mem).
        rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
        let control = &self.prepared.control;
        if self.at_root {
            control.candidate.store(AT_ROOT, Release);
        }
        let request = CloneRequest {
            namespaces: 0,
            share_memory: true,
            life: &control.life,
            by_hand: &control.by_hand,
            stack: self.prepared.second_stack.as_ref().ok_or(Errno::NOMEM)?,
        };
        let arg = std::ptr::from_ref(self.prepared).cast_mut().cast();
        // SAFETY: signals are blocked since before the first clone; this process never frees what it has.
        let command = unsafe { sys::clone(&request, enter_after_reap, arg) }?;
        // The command uses descriptors of its own copy of the table. Nothing here may hold a pipe open.
        let pid = command.pid;
        std::mem::forget(command.pidfd);
        sys::close_range(0, u32::MAX, false)?;
        reaper(pid, &control.status)
    }

    fn exec(&self) -> Result {
        let prepared = self.prepared;
        let envp = match &prepared.envp_at_root {
            Some(envp) if self.at_root => envp,
            _ => &prepared.envp,
        };
        // A Rust program ignores SIGPIPE; its children shall not.
        sys::default_action(libc::SIGPIPE);
        sys::set_signal_mask(0);
        let mut answer = Errno::NOENT;
        for (n, program) in prepared.programs.iter().enumerate() {
            match sys::execve(program, &prepared.argv, envp) {
                Errno::NOENT | Errno::NOTDIR if prepared.programs.len() > 1 => {}
                errno => {
                    answer = errno;
                    prepared.control.candidate.store(n as u32 + 1, Release);
                    if errno != Errno::ACCESS {
                        break;
                    }
                }
            }
        }
        Err(answer)
    }
}

fn tell(word: &AtomicU32, value: u32) {
    word.store(value, Release);
    let _ = futex::wake(word, futex::Flags::empty(), 1);
}

fn propagate(propagation: Propagation) -> Result {
    let flags = match propagation {
        Propagation::Private => MountPropagationFlags::PRIVATE,
        Propagation::Slave => MountPropagationFlags::DOWNSTREAM,
        Propagation::Shared => MountPropagationFlags::SHARED,
        Propagation::Unchanged => return Ok(()),
    };
    rustix::mount::mount_change(c"/", flags | MountPropagationFlags::REC)
}

const NOSUID: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOSUID;
const NODEV: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NODEV;
const NOEXEC: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOEXEC;

/// A new file system, mounted nowhere yet.
fn new_fs(kind: &CStr, options: &[(&CStr, Option<&CStr>)], attributes: MountAttrFlags) -> Result<OwnedFd> {
    let fs = rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, value) in options {
        match value {
            Some(value) => rustix::mount::fsconfig_set_string(fs.as_fd(), *key, *value)?,
            None => rustix::mount::fsconfig_set_flag(fs.as_fd(), *key)?,
        }
    }
    rustix::mount::fsconfig_create(fs.as_fd())?;
    rustix::mount::fsmount(fs.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

/// A copy of the mounts at and below `path`; recursive, since a user namespace refuses to uncover what lies below.
fn open_tree(path: &CStr) -> Result<OwnedFd> {
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    rustix::mount::open_tree(CWD, path, flags)
}

/// A device file, if it is the right one: a link in its place would be something else (CVE-2025-31133).
fn open_device(path: &CStr, (major, minor): (u32, u32)) -> Result<OwnedFd> {
    let tree = open_tree(path)?;
    let stat = rustix::fs::fstat(&tree)?;
    let device = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice;
    if !device || stat.st_rdev != rustix::fs::makedev(major, minor) {
        return Err(Errno::NODEV);
    }
    sys::mount_setattr(tree.as_fd(), c"", attr::NOSUID | attr::NOEXEC)?;
    Ok(tree)
}

fn attach(mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(mount, c"", target, c"", flags)
}

/// The first `length` bytes of `bytes`, as a C string in `buffer`.
fn prefix<'b>(buffer: &'b mut [u8], bytes: &[u8], length: usize) -> Result<&'b CStr> {
    let source = bytes.get(..length).ok_or(Errno::INVAL)?;
    buffer.get_mut(..length).ok_or(Errno::NAMETOOLONG)?.copy_from_slice(source);
    *buffer.get_mut(length).ok_or(Errno::NAMETOOLONG)? = 0;
    buffer.get(..=length).and_then(|text| CStr::from_bytes_with_nul(text).ok()).ok_or(Errno::INVAL)
}

fn make(parent: &OwnedFd, name: &CStr, directory: bool) -> Result {
    if directory {
        return rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o755));
    }
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    rustix::fs::openat(parent, name, flags, Mode::from_raw_mode(0o644)).map(drop)
}

/// setgroups(2) takes an array of its own type; the plan refuses more than fit here.
fn set_groups(groups: &[u32]) -> Result {
    let mut array = [Gid::ROOT; crate::plan::MOST_GROUPS];
    let array = array.get_mut(..groups.len()).ok_or(Errno::INVAL)?;
    array.iter_mut().zip(groups).for_each(|(place, group)| *place = Gid::from_raw(*group));
    rustix::thread::set_thread_groups(array)
}

/// Marks the gaps between the kept ones, and takes the mark off the kept.
fn close_others(keep: &[i32]) -> Result {
    let mut first = 3;
    for fd in keep {
        let fd = *fd as u32;
        if fd > first {
            close_on_exec(first, fd - 1)?;
        }
        // SAFETY: an fcntl on a number: it is the caller's word that the descriptor is open, and EBADF otherwise.
        let kept = unsafe { BorrowedFd::borrow_raw(fd as i32) };
        rustix::io::fcntl_setfd(kept, rustix::io::FdFlags::empty())?;
        first = fd + 1;
    }
    close_on_exec(first, u32::MAX)
}

fn close_on_exec(first: u32, last: u32) -> Result {
    match sys::close_range(first, last, true) {
        // Before Linux 5.11: one by one, as far as the limit lets descriptors be.
        Err(Errno::NOSYS | Errno::INVAL) => {
            let limit =
                rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(65_536);
            for fd in first..=last.min(limit.min(1 << 20) as u32) {
                // SAFETY: as in `close_others`; a number that is not open is EBADF, which is fine here.
                let fd = unsafe { BorrowedFd::borrow_raw(fd as i32) };
                let _ = rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::CLOEXEC);
            }
            Ok(())
        }
        done => done,
    }
}

/// PID 1: passes on signals from outside, collects orphans, and ends with the command, whose status it tells.
fn reaper(command: i32, status: &AtomicU32) -> ! {
    loop {
        if let Ok(received) = sys::wait_signal(u64::MAX)
            && received.signal != libc::SIGCHLD
            && !received.by_kernel
        {
            sys::kill(command, received.signal);
        }
        while let Ok(Some((pid, ended))) = rustix::process::wait(WaitOptions::NOHANG) {
            if pid.as_raw_pid() == command {
                let raw = ended.as_raw() as u32;
                status.store(raw, Release);
                sys::exit(if raw & 0x7f == 0 { (raw >> 8 & 0xff) as i32 } else { 128 + (raw & 0x7f) as i32 });
            }
        }
    }
}

const fn op(code: u32, jt: u8, jf: u8, k: u32) -> libc::sock_filter {
    libc::sock_filter { code: code as u16, jt, jf, k }
}

const LOAD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
const EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
const RETURN: u32 = libc::BPF_RET | libc::BPF_K;
/// Where `struct seccomp_data` has the number, and the low half of the second argument (little-endian).
const NUMBER: u32 = 0;
const SECOND_ARGUMENT: u32 = 24;
const TIOCSTI: u32 = 0x5412;
const TIOCLINUX: u32 = 0x541c;

/// Refuses ioctl TIOCSTI and TIOCLINUX with EPERM, whatever the upper half of the request is. The number of ioctl in
/// every table that this processor has: a call of another name with one of these numbers and such an argument does
/// not exist in the others.
static TERMINAL_FILTER: [libc::sock_filter; 10] = [
    op(LOAD, 0, 0, NUMBER),
    op(EQUAL, 3, 0, libc::SYS_ioctl as u32),
    op(EQUAL, 2, 0, OTHER_IOCTL[0]),
    op(EQUAL, 1, 0, OTHER_IOCTL[1]),
    op(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
    op(LOAD, 0, 0, SECOND_ARGUMENT),
    op(EQUAL, 1, 0, TIOCSTI),
    op(EQUAL, 0, 1, TIOCLINUX),
    op(RETURN, 0, 0, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
    op(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
];

/// i386 and x32; 32-bit ARM.
const OTHER_IOCTL: [u32; 2] = if cfg!(target_arch = "x86_64") { [54, 0x4000_0202] } else { [54, 54] };
