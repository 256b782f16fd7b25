//! How a seccomp listener gets from the child to the parent, and who answers until exec.
//!
//! The child's part never allocates, locks, formats or panics, and makes two system calls under the filter: sendmsg, and close.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::Ordering::Acquire;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};

use super::prepare::duty;
use super::wire::{self, Control};
use crate::command::Command;
use crate::error::{Advice, Error};
use crate::seccomp::{Action, Filter, abis};
use crate::sys::{self, notify};

/// The ends of the socket by which the listener comes.
#[derive(Debug)]
pub(crate) struct Passage {
    ours: OwnedFd,
    /// Over 2: there the command's standard streams come.
    theirs: OwnedFd,
    /// Whether the filters leave alive who calls close(2).
    may_close: bool,
}

/// Whether close(2) is let through, fails, or is asked about.
fn survives_close(filter: &Filter) -> bool {
    const ACTION: u32 = 0xffff_0000;
    let verdict = filter.verdict(abis()[0].audit, libc::SYS_close as u32, [0; 6]);
    let fine = [Action::Allow, Action::Log, Action::Errno(0), Action::Notify].map(|action| action.value());
    verdict.is_ok_and(|verdict| fine.contains(&(verdict.value & ACTION)))
}

/// How long the parent waits for a call, before it looks whether the child has come further.
const SLICE: Timespec = Timespec { tv_sec: 0, tv_nsec: 1_000_000 };

impl Passage {
    /// Where the command wants a listener.
    pub(crate) fn prepare(command: &Command) -> Result<Option<Self>, Error> {
        if !command.seccomp_listener {
            return Ok(None);
        }
        let failed = |errno| duty("make a socket for the seccomp listener", errno);
        let pair = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None);
        let (ours, theirs) = pair.map_err(failed)?;
        let theirs = rustix::io::fcntl_dupfd_cloexec(theirs, 3).map_err(failed)?;
        let may_close = command.filters.iter().all(survives_close);
        let passage = Self { ours, theirs, may_close };
        command.filters.iter().try_for_each(|filter| passage.check(filter))?;
        Ok(Some(passage))
    }

    /// Whether the listener gets out under this filter.
    fn check(&self, filter: &Filter) -> Result<(), Error> {
        let arguments = [self.theirs.as_raw_fd() as u64, 0, 0, 0, 0, 0];
        let verdict = filter.verdict(abis()[0].audit, libc::SYS_sendmsg as u32, arguments);
        let allowed = [Action::Allow.value(), Action::Log.value()];
        match verdict {
            Ok(verdict) if allowed.contains(&verdict.value) => Ok(()),
            _ => Err(Error::invalid_with(
                format!("the filter {} does not simply allow sendmsg", filter.name),
                Advice::new(
                    "by that call the listener gets from the command to who answers",
                    "add a rule in front that allows sendmsg",
                ),
            )),
        }
    }

    /// The end by which the child sends.
    pub(super) fn theirs(&self) -> &OwnedFd {
        &self.theirs
    }

    /// The child's part.
    pub(super) fn install(&self, filter: &Filter) -> Result<(), Errno> {
        let listener = sys::seccomp_with_listener(&filter.program, filter.flags.bits())?;
        let fds = [listener.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&fds));
        let sent = sendmsg(&self.theirs, &[IoSlice::new(b"!")], &mut control, SendFlags::empty());
        // As long as this process has it, too, it would wait for an answer even when nobody is left to give one.
        if self.may_close {
            sys::close(listener)
        } else {
            std::mem::forget(listener)
        }
        sent.map(drop)
    }

    /// The listener, if it has come.
    pub(super) fn receive(&self) -> Result<Option<OwnedFd>, Errno> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut byte = [0_u8; 1];
        let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
        match recvmsg(&self.ours, &mut [IoSliceMut::new(&mut byte)], &mut control, flags) {
            Err(Errno::AGAIN | Errno::INTR) => return Ok(None),
            answer => answer?,
        };
        let fds = control.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
            _ => None,
        });
        fds.map(Some).ok_or(Errno::BADF)
    }

    /// Waits a moment for the child to come further. What it calls itself, before exec, is let through.
    ///
    /// A call that has come while the child has not executed the command is one of set-up, and it stays so: the child
    /// waits in it. So it is looked at first whether one is there, and then how far the child is.
    pub(super) fn serve(&self, listener: Option<&OwnedFd>, control: &Control) -> Result<(), Errno> {
        let mut waited = [PollFd::new(listener.unwrap_or(&self.ours), PollFlags::IN)];
        poll(&mut waited, Some(&SLICE))?;
        let Some(listener) = listener.filter(|_| waited[0].revents().contains(PollFlags::IN)) else {
            return Ok(());
        };
        if !wire::is_at_work(control.life.load(Acquire)) {
            return Ok(());
        }
        let answered = notify::receive(listener.as_fd()).and_then(|call| {
            let answer = notify::Answer { id: call.id, flags: notify::CONTINUE, ..notify::Answer::default() };
            notify::answer(listener.as_fd(), answer)
        });
        match answered {
            // It was broken off meanwhile; if it lives it makes the call again.
            Err(Errno::NOENT) => Ok(()),
            answered => answered,
        }
    }
}
