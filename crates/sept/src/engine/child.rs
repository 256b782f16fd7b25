//! The child's side: performs the steps, in the caller's memory, until exec.
//!
//! Never allocates, locks, formats or panics: another thread of the caller may hold any lock, and
//! the memory is the caller's. `errno` is the caller's, too: rustix and `sys` leave it alone.
#![allow(unsafe_code)]

mod anchored;
mod copy;
mod files;
mod filters;
mod keep;
mod limits;
mod mounts;
mod older;
mod place;
mod rights;
mod wait;

use std::convert::Infallible;
use std::ffi::{CStr, CString, c_void};
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Release};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, WaitOptions};
use rustix::thread::futex;
use rustix::thread::{Gid, Uid};

use crate::engine::anchors::Anchor;
use crate::engine::cgroup;
use crate::engine::listener::Passage;
use crate::engine::net::{self, NetMaker};
use crate::engine::prepare::Prepared;
use crate::engine::wire;
use crate::namespace::{Namespace, Namespaces};
use crate::plan::Way;
use crate::plan::step::{Held, Source, Step};
use crate::sys::{self, CloneRequest};

type Result<T = ()> = std::result::Result<T, Errno>;

/// The most tmpfs mounts in which mount points can be made; each is remembered by its device number.
const MOST_OWN: usize = 64;

struct Child<'a> {
    prepared: &'a Prepared,
    maker: Maker<'a>,
    /// What paths inside are resolved under; opened when it is first needed.
    root: Option<OwnedFd>,
    /// The directory of the last mount point.
    near: Option<place::Near>,
    /// How many mounts were placed where they may cover an earlier one.
    by_name: u32,
    /// Whether what was looked up last below an earlier mount led through a link or a `..`.
    strayed: bool,
    fixes: keep::Fixes,
    /// The device numbers of tmpfs that this child mounted.
    own: [u64; MOST_OWN],
    own_count: usize,
    at_root: bool,
    /// By which the kernel tells of exec, where this is a copy of the caller's memory.
    robust: sys::Robust,
}

/// Clones the child. Boxed, so that it stays where it is; the caller keeps it until the child has left this memory:
/// it waits for that or for the gate, and ends a parked child before it frees.
#[expect(clippy::borrowed_box, reason = "the box is what keeps it in its place")]
pub(super) fn clone(prepared: &Box<Prepared>) -> Result<sys::Cloned> {
    let staged = prepared.plan.is_staged();
    let request = CloneRequest {
        namespaces: if staged { 0 } else { prepared.plan.clone_flags() },
        // A PID 1 that stays, a process that joins others, or one that others could reach into by the child, must not have the
        // caller's memory; nor one that may be killed for what it takes of it.
        share_memory: prepared.shares_memory(),
        life: &prepared.control.life,
        by_hand: &prepared.control.by_hand,
        stack: &prepared.stack,
        sibling: None,
        wait: false,
        exit_signal: libc::SIGCHLD,
        cgroup: cgroup::into(prepared.cgroup.as_ref()),
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
    Child::new(prepared).perform(0)
}

/// Performs the steps in the calling process. Comes back with the index of the step that failed.
pub(super) fn in_place(prepared: &Prepared) -> (usize, Errno) {
    // What it has open may be closed already, by its number.
    let mut child = ManuallyDrop::new(Child::new(prepared));
    match child.attempt(0) {
        Ok(never) => match never {},
        Err(failed) => failed,
    }
}

/// What a helper does.
type Work = fn(&Prepared);

struct Helper<'a> {
    prepared: &'a Prepared,
    work: Work,
    mask: sys::SignalSet,
}

/// Starts a copy of this process, which must have one thread only, that does `work` and ends, without a signal.
pub(super) fn clone_helper(prepared: &Prepared, work: Work) -> Result<i32> {
    let mask = sys::set_signal_mask(u64::MAX);
    let helper = Helper { prepared, work, mask };
    let request = CloneRequest {
        namespaces: 0,
        share_memory: false,
        life: &prepared.control.life,
        by_hand: &prepared.control.by_hand,
        stack: &prepared.stack,
        sibling: None,
        wait: false,
        exit_signal: 0,
        cgroup: None,
    };
    let arg = std::ptr::from_ref(&helper).cast_mut().cast();
    // SAFETY: signals are blocked; the copy has its own `helper`, and, being one of a single thread, no lock is held in it.
    let cloned = unsafe { sys::clone(&request, enter_helper, arg) };
    sys::set_signal_mask(mask);
    cloned.map(|cloned| cloned.pid)
}

extern "C" fn enter_helper(arg: *mut c_void) -> i32 {
    // SAFETY: as said in `clone_helper`: it is this copy's own.
    let helper = unsafe { &*arg.cast::<Helper<'_>>() };
    sys::set_signal_mask(helper.mask);
    (helper.work)(helper.prepared);
    sys::exit(0)
}

/// Where the command begins that a first child has made in the namespaces that it joined.
extern "C" fn enter_after_fork(arg: *mut c_void) -> i32 {
    // SAFETY: as in `enter`; the first child stays until this one has left its memory.
    let prepared = unsafe { &*arg.cast::<Prepared>() };
    tell(&prepared.control.stage, wire::SECOND);
    let next = prepared.plan.steps.iter().position(|step| matches!(step, Step::Fork(_)));
    Child::new(prepared).perform(next.map_or(0, |at| at + 1))
}

/// Where the command begins that has a reaper: after the step that made it.
extern "C" fn enter_after_reap(arg: *mut c_void) -> i32 {
    // SAFETY: as in `enter`; the reaper's copy lives as long as the reaper.
    let prepared = unsafe { &*arg.cast::<Prepared>() };
    let next = prepared.plan.steps.iter().position(|step| *step == Step::Reap).map_or(0, |at| at + 1);
    let at_root = prepared.control.candidate.swap(0, AcqRel) == AT_ROOT;
    Child { at_root, ..Child::new(prepared) }.perform(next)
}

/// Where the thread begins that makes the net namespace.
extern "C" fn enter_net(arg: *mut c_void) -> i32 {
    // SAFETY: as in `begin_net`.
    let net = unsafe { &*arg.cast::<NetMaker>() };
    net.work();
    sys::exit_thread()
}

/// Passed from the reaper to the command through `candidate`, which is free until exec.
const AT_ROOT: u32 = u32::MAX;

impl<'a> Child<'a> {
    fn new(prepared: &'a Prepared) -> Self {
        let maker = Maker::caller(prepared);
        Self {
            prepared,
            maker,
            root: None,
            near: None,
            by_name: 0,
            strayed: false,
            fixes: keep::Fixes::default(),
            own: [0; MOST_OWN],
            own_count: 0,
            at_root: false,
            robust: sys::Robust::default(),
        }
    }
}

/// Who makes files in what this child mounts.
#[derive(Clone, Copy)]
struct Maker<'a> {
    /// Ids inside; none where the caller's own have a number there.
    user: Option<u32>,
    group: Option<u32>,
    prepared: &'a Prepared,
}

impl<'a> Maker<'a> {
    /// The caller's own ids.
    fn caller(prepared: &'a Prepared) -> Self {
        Self { user: None, group: None, prepared }
    }

    /// Makes something, and is who it was afterwards: only that can look at the caller's files.
    fn make<T>(self, make: impl FnOnce() -> Result<T>) -> Result<T> {
        if self.user.is_none() && self.group.is_none() {
            return make();
        }
        sys::set_file_ids(self.user, self.group)?;
        hide()?;
        let made = make();
        sys::reset_file_ids()?;
        hide()?;
        // The kernel has forgotten the signal.
        let signal = self.prepared.plan.steps.iter().find_map(|step| match step {
            Step::DieWithParent(signal) => Some(*signal),
            _ => None,
        });
        signal.map_or(Ok(()), |signal| die_with_parent(self.prepared, signal))?;
        made
    }
}

fn die_with_parent(prepared: &Prepared, signal: i32) -> Result {
    sys::parent_death_signal(signal)?;
    // It may have ended before the kernel was asked.
    if parent_is_gone(prepared) { Err(Errno::SRCH) } else { Ok(()) }
}

/// After a change of ids it is so already, unless `fs.suid_dumpable` says otherwise.
fn hide() -> Result {
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
}

fn parent_is_gone(prepared: &Prepared) -> bool {
    let Some(parent) = &prepared.parent else { return false };
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut [PollFd::new(parent, PollFlags::IN)], Some(&now)) == Ok(1)
}

impl<'a> Child<'a> {
    fn perform(&mut self, from: usize) -> ! {
        match self.attempt(from) {
            Ok(never) => match never {},
            Err((_, errno)) => self.fail(errno),
        }
    }

    /// Performs the steps from one on. Only a failure comes back: the last step is exec.
    fn attempt(&mut self, from: usize) -> std::result::Result<Infallible, (usize, Errno)> {
        let prepared = self.prepared;
        let steps = &prepared.plan.steps;
        for (at, step) in steps.iter().enumerate().skip(from) {
            self.prepared.control.step.store(at as u32, Release);
            let done = match self.prepared.fault {
                Some((fault, errno)) if fault == at + 1 => Err(Errno::from_raw_os_error(errno)),
                _ => self.step(step),
            };
            done.map_err(|errno| (at, errno))?;
        }
        Err((steps.len(), Errno::INVAL))
    }

    /// Tells the parent, and stays until it has looked at what is there; not for ever.
    fn fail(&self, errno: Errno) -> ! {
        let control = &self.prepared.control;
        control.errno.store(errno.raw_os_error(), Release);
        tell(&control.life, wire::FAILED);
        if control.stage.compare_exchange(wire::FIRST, wire::STUCK, AcqRel, Acquire).is_ok() {
            let _ = futex::wake(&control.stage, futex::Flags::empty(), 1);
        }
        // The parent ends it. Not by a word, of which there was one on the way perhaps.
        while let Some(parent) = &self.prepared.parent {
            match poll(&mut [PollFd::new(parent, PollFlags::IN)], None) {
                Ok(1) => sys::exit(125),
                Ok(_) | Err(Errno::INTR) => {}
                // A limit or a filter of the command's.
                Err(_) => break,
            }
        }
        let _ = rustix::thread::nanosleep(&Timespec { tv_sec: 5, tv_nsec: 0 });
        sys::exit(125)
    }

    fn step(&mut self, step: &Step) -> Result {
        match step {
            Step::DieWithParent(signal) => die_with_parent(self.prepared, *signal),
            Step::Hide => hide(),
            Step::Join { kinds, from, .. } => self.join(*kinds, *from),
            Step::Fork(_) => self.fork(),
            Step::Unshare(kinds) => sys::unshare(kinds.flags()),
            // SAFETY: this value is the frame's that performs all steps, and the word is mapped as long as this memory.
            Step::TellExec => unsafe { self.robust.watch(&self.prepared.control.life) },
            Step::LimitMemory(bytes) => self.limit_memory(*bytes),
            Step::DenySetgroups => self.write_proc(c"self/setgroups", b"deny"),
            Step::MapUid(map) => self.write_proc(c"self/uid_map", map.as_bytes()),
            Step::MapGid(map) => self.write_proc(c"self/gid_map", map.as_bytes()),
            Step::UnshareTime => {
                // SAFETY: unsafe only for CLONE_FILES, which is not asked for.
                unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWTIME) }
            }
            Step::OffsetClocks(offsets) => self.write_proc(c"self/timens_offsets", offsets.as_bytes()),
            Step::JoinTime => self.join_time(),
            Step::MakeFilesAs { user, group } => {
                (self.maker.user, self.maker.group) = (*user, *group);
                Ok(())
            }
            Step::AwaitMaps | Step::AwaitParent => self.await_parent(),
            Step::SetHostname(name) => rustix::system::sethostname(name.as_bytes()),
            Step::SetDomainname(name) => rustix::system::setdomainname(name.as_bytes()),
            Step::BeginNet => self.begin_net(),
            Step::JoinNet => self.prepared.net.as_ref().ok_or(Errno::BADF)?.join(),
            Step::LoopbackUp => net::set_lo_up(),
            Step::Propagate(propagation) => files::propagate(*propagation),
            Step::Hold(sources) => self.hold(sources),
            Step::RestrictAll(restriction) => self.restrict_all(*restriction),
            Step::CloneRoot { dir, restriction } => self.clone_root(dir, *restriction),
            Step::Mount { source, change, target, create } => {
                let from = match source {
                    // SAFETY: as in the step below.
                    Source::Data { fd, .. } => Some(unsafe { BorrowedFd::borrow_raw(*fd) }),
                    _ => None,
                };
                self.mount((source, from), change, target, *create)
            }
            Step::Remount { at, change } => self.remount(at, change),
            Step::MakeDir { at, mode, create } => self.make_dir(at, *mode, *create),
            Step::WriteFile { fd, at, mode, create } => {
                // SAFETY: only read from: it is the caller's word that the descriptor is open, and EBADF otherwise.
                let from = unsafe { BorrowedFd::borrow_raw(*fd) };
                self.write_file(from, at, *mode, *create)
            }
            Step::ChangeMode { at, mode, create } => self.change_mode(at, *mode, *create),
            Step::Mask { at, if_there } => self.mask(at, *if_there),
            Step::ReadOnly(at) => self.read_only(at),
            Step::Keep { at, stay, renames } => self.keep_in_place(at, *stay, *renames),
            Step::RemountReadOnly(at) => self.remount_read_only(at),
            Step::Symlink { to, at, create } => {
                let (parent, name, maker) = self.parent_of(at, *create)?;
                maker.make(|| rustix::fs::symlinkat(to.as_c_str(), parent, name))
            }
            Step::LoadInterpreter { file, line } => self.load_interpreter(file, line),
            Step::PivotRoot => self.pivot(),
            Step::Chroot(dir) => self.chroot(dir),
            Step::ChrootTo(_) => self.chroot_to(self.prepared.chroot.as_ref().map(AsFd::as_fd)),
            Step::ChangeDirTo(_) => {
                rustix::process::fchdir(self.prepared.opened_dir.as_ref().ok_or(Errno::BADF)?)
            }
            Step::ChangeDir { dir, or_root } => self.change_dir(dir, *or_root),
            Step::Redirect => self.redirect(),
            Step::NewSession => rustix::process::setsid().map(drop),
            Step::ControllingTerminal => rustix::process::ioctl_tiocsctty(rustix::stdio::stdin()),
            Step::Foreground => self.await_parent(),
            Step::LeadJob => lead_job(),
            Step::SetGroups(groups) => rights::set_groups(groups),
            Step::DropGroupsIfAllowed => match rights::set_groups(&[]) {
                Err(Errno::PERM) => Ok(()),
                done => done,
            },
            Step::SetGid(id) => {
                let (id, before) = (Gid::from_raw(*id), rustix::process::getgid());
                rustix::thread::set_thread_res_gid(id, id, id)?;
                if id == before { Ok(()) } else { hide() }
            }
            Step::SetUid(id) => {
                let (id, before) = (Uid::from_raw(*id), rustix::process::getuid());
                rustix::thread::set_thread_res_uid(id, id, id)?;
                if id == before { Ok(()) } else { hide() }
            }
            Step::EnterCgroup(_) => self.enter_cgroup(),
            Step::UnshareCgroup => sys::unshare(Namespace::Cgroup.flag()),
            Step::SetRlimit(limit) => rights::limit(limit),
            Step::NewKeyring => sys::new_session_keyring(),
            Step::SelinuxLabel(label) => self.write_proc(c"thread-self/attr/exec", label.as_bytes()),
            Step::ApparmorProfile(word) => {
                self.write_proc(c"thread-self/attr/apparmor/exec", word.as_bytes())
            }
            Step::CoreScheduling => rights::core_scheduling(),
            Step::LimitBounding(keep) => rights::limit_bounding(*keep),
            Step::Securebits(bits) => {
                sys::prctl(libc::PR_SET_SECUREBITS, [*bits as usize, 0, 0, 0]).map(drop)
            }
            Step::KeepOverIds => sys::prctl(libc::PR_SET_KEEPCAPS, [1, 0, 0, 0]).map(drop),
            Step::SetCapabilities(sets) => rights::set_capabilities(sets),
            Step::Seccomp(filter) => sys::seccomp(&filter.program, filter.flags.bits()),
            Step::SeccompListener(filter) => {
                self.prepared.listener.as_ref().ok_or(Errno::BADF)?.install(filter)
            }
            Step::Landlock(rules) => self.landlock(rules),
            Step::KeepCapabilities => rights::keep_capabilities(),
            Step::NoNewPrivs => rustix::thread::set_no_new_privs(true),
            Step::Refuse(guard) => self.refuse(*guard),
            Step::CloseOthers(keep) => sys::close_but(keep, &self.spared()),
            Step::CloseMarked => {
                let count =
                    self.prepared.proc.as_ref().map_or(0, |proc| sys::count_descriptors(proc.as_fd()));
                sys::close_marked(&self.spared(), count)
            }
            Step::Reap => self.reap(),
            Step::Park => self.park(),
            Step::Exec(_) => self.exec(),
        }
    }

    /// A tree that is held; once.
    fn held(&self, n: usize) -> Result<OwnedFd> {
        let fd = self.prepared.held.get(n).map_or(-libc::EBADF, |held| held.swap(-libc::EBADF, AcqRel));
        if fd < 0 {
            return Err(Errno::from_raw_os_error(-fd));
        }
        // SAFETY: `hold` gave up this descriptor of this process; the swap hands it out once.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    }

    /// The same, to be looked at.
    fn seen_held(&self, n: usize) -> Option<BorrowedFd<'_>> {
        let fd = self.prepared.held.get(n)?.load(Acquire);
        // SAFETY: `hold` opened it, and only the step that wants it takes it.
        (fd >= 0).then(|| unsafe { BorrowedFd::borrow_raw(fd) })
    }

    /// A place that is held, if this one is.
    fn place(&self, path: &CStr) -> Option<Result<BorrowedFd<'_>>> {
        let held = self.prepared.plan.steps.iter().find_map(|step| match step {
            Step::Hold(sources) => Some(sources),
            _ => None,
        });
        let is_it = |(source, kind): &(CString, Held)| *kind == Held::Place && source.as_c_str() == path;
        let fd = self.prepared.held.get(held?.iter().position(is_it)?)?.load(Acquire);
        if fd < 0 {
            return Some(Err(Errno::from_raw_os_error(-fd)));
        }
        // SAFETY: `hold` opened it, and nothing closes a place but exec.
        Some(Ok(unsafe { BorrowedFd::borrow_raw(fd) }))
    }

    /// What an earlier step has mounted, and what of a path is below it.
    fn anchored<'p>(&self, anchor: Anchor, path: &'p CStr) -> Option<(BorrowedFd<'_>, &'p CStr)> {
        let (mount, rest) = self.prepared.anchors.below(anchor, path)?;
        let fd = mount.load(Acquire);
        // SAFETY: `keep` gave it up, and nothing closes it but exec.
        (fd >= 0).then(|| (unsafe { BorrowedFd::borrow_raw(fd) }, rest))
    }

    fn write_proc(&self, file: &CStr, content: &[u8]) -> Result {
        let proc = self.prepared.proc.as_ref().ok_or(Errno::BADF)?;
        let file = rustix::fs::openat(proc, file, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
        // The kernel takes a map in one write or not at all.
        rustix::io::write(&file, content).map(drop)
    }

    fn join_time(&self) -> Result {
        let proc = self.prepared.proc.as_ref().ok_or(Errno::BADF)?;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let namespace = rustix::fs::openat(proc, c"thread-self/ns/time_for_children", flags, Mode::empty())?;
        sys::setns(namespace.as_fd(), Namespace::Time.flag())
    }

    /// One after another, by what was looked at when the plan was made: by its pidfd a process would give what it has by now.
    fn join(&self, kinds: Namespaces, from: usize) -> Result {
        // The user namespace is the first in the order of kinds.
        let joins = self.prepared.joins.iter();
        for join in joins.filter(|join| join.fact.from == from && kinds.contains(join.fact.kind)) {
            sys::setns(join.file.as_fd(), join.fact.kind.flag())?;
            // What it had can be joined all the same; but nobody wants to be alone there.
            if join.target.has_ended() {
                return Err(Errno::SRCH);
            }
        }
        Ok(())
    }

    /// Makes the command, a child of this process's own parent, and ends. In memory that both share this process stays
    /// until the command has left it; the kernel then tells the parent of exec.
    fn fork(&self) -> Result {
        let prepared = self.prepared;
        let control = &prepared.control;
        let reaped = prepared.plan.steps.contains(&Step::Reap);
        let request = CloneRequest {
            namespaces: prepared.plan.clone_flags(),
            share_memory: !reaped,
            life: &control.life,
            by_hand: &control.by_hand,
            stack: prepared.second_stack.as_ref().ok_or(Errno::NOMEM)?,
            sibling: Some(&control.command),
            wait: !reaped,
            exit_signal: 0,
            cgroup: None,
        };
        let arg = std::ptr::from_ref(prepared).cast_mut().cast();
        // SAFETY: signals are blocked since before the first clone; this process waits, or the command has a copy.
        unsafe { sys::clone(&request, enter_after_fork, arg) }?;
        sys::exit(0)
    }

    fn begin_net(&self) -> Result {
        let net = self.prepared.net.as_ref().ok_or(Errno::BADF)?;
        let arg = std::ptr::from_ref(net).cast_mut().cast();
        // Without room for a thread, or without that number, it is made by who joins it.
        // SAFETY: signals are blocked; `net` stays until this process has left this memory, all its threads with it.
        let _ = unsafe { sys::clone_thread(&net.stack, net.number(), &net.thread, enter_net, arg) };
        Ok(())
    }

    fn await_parent(&self) -> Result {
        let go = &self.prepared.control.go;
        if self.prepared.plan.way == Way::InPlace {
            // There the parent is a helper, which begins when this process has moved.
            tell(&self.prepared.control.stage, wire::SECOND);
        }
        let slice = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
        loop {
            match go.load(Acquire) {
                wire::GO => {
                    // A helper has ended, or is about to: the command shall not find a child that it does not know.
                    if self.prepared.plan.way == Way::InPlace {
                        sys::collect(self.prepared.control.command.swap(0, AcqRel) as i32);
                    }
                    return Ok(());
                }
                wire::GIVE_UP if self.prepared.plan.way == Way::InPlace => return Err(Errno::CANCELED),
                wire::GIVE_UP => sys::exit(125),
                _ if parent_is_gone(self.prepared) => sys::exit(125),
                _ => {
                    let _ = futex::wait(go, futex::Flags::empty(), wire::WAIT, Some(&slice));
                }
            }
        }
    }

    /// What later steps need; no path leads through any of them.
    fn spared(&self) -> [RawFd; 3] {
        let prepared = self.prepared;
        let number = |fd: Option<&OwnedFd>| fd.map_or(-1, AsRawFd::as_raw_fd);
        let gate = prepared.gate.as_ref().map(|(reader, _)| reader);
        let listener = prepared.listener.as_ref().map(Passage::theirs);
        [number(gate), number(prepared.parent.as_ref()), number(listener)]
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
        // Where the caller ignores it, nobody would tell of the command's end.
        sys::default_action(libc::SIGCHLD);
        let control = &self.prepared.control;
        if self.at_root {
            control.candidate.store(AT_ROOT, Release);
        }
        let request = CloneRequest {
            namespaces: 0,
            share_memory: true,
            life: &control.life,
            by_hand: &control.by_hand,
            // Of the two stacks, the one that this copy does not run on.
            stack: match &self.prepared.second_stack {
                Some(_) if self.prepared.plan.is_staged() => &self.prepared.stack,
                stack => stack.as_ref().ok_or(Errno::NOMEM)?,
            },
            sibling: None,
            wait: false,
            exit_signal: libc::SIGCHLD,
            cgroup: None,
        };
        let arg = std::ptr::from_ref(self.prepared).cast_mut().cast();
        // SAFETY: signals are blocked since before the first clone; this process never frees what it has.
        let command = unsafe { sys::clone(&request, enter_after_reap, arg) }?;
        // The command uses descriptors of its own copy of the table. Nothing here may hold a pipe open.
        let pid = command.pid;
        std::mem::forget(command.pidfd);
        // The command is under way: no failure is told any more.
        let _ = sys::close_all(0);
        reaper(pid, control)
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
        if self.robust.is_watched() {
            let own = rustix::thread::gettid().as_raw_pid() as u32;
            prepared.control.life.store(wire::AT_EXEC | own, Release);
        }
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

/// All signals are blocked, SIGTTOU too.
fn lead_job() -> Result {
    rustix::process::setpgid(None, None)?;
    rustix::termios::tcsetpgrp(rustix::stdio::stdin(), rustix::process::getpid())
}

fn tell(word: &AtomicU32, value: u32) {
    word.store(value, Release);
    let _ = futex::wake(word, futex::Flags::empty(), 1);
}

/// PID 1: passes on signals from outside, collects orphans, and ends with the command, whose status it tells.
fn reaper(command: i32, control: &wire::Control) -> ! {
    let changes = WaitOptions::NOHANG | WaitOptions::UNTRACED | WaitOptions::CONTINUED;
    loop {
        if let Ok(received) = sys::wait_signal(u64::MAX)
            && received.signal != libc::SIGCHLD
            && !received.by_kernel
        {
            sys::kill(command, received.signal);
        }
        while let Ok(Some((pid, change))) = rustix::process::wait(changes) {
            if pid.as_raw_pid() != command {
                continue;
            }
            if change.stopped() || change.continued() {
                control.stopped.store(change.stopping_signal().unwrap_or(0) as u32, Release);
            } else {
                let raw = change.as_raw() as u32;
                control.status.store(raw, Release);
                sys::exit(if raw & 0x7f == 0 { (raw >> 8 & 0xff) as i32 } else { 128 + (raw & 0x7f) as i32 });
            }
        }
    }
}
