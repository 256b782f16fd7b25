//! A terminal of the command's own, and the relay between it and ours.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::Pid;
use rustix::pty::OpenptFlags;
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios};

use crate::disposition::{SIGINT, SIGQUIT, SIGTSTP};
use crate::failure::Failure;
use crate::job;

const NOW: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// What came of one turn of the relay.
pub enum Turn {
    Done,
    /// A character that the terminal inside turns into this signal.
    Typed(i32),
}

/// So much is read ahead of whom it is shown to.
const AHEAD: usize = 64 * 1024;

/// More than the kernel keeps of a terminal's output: what comes after that is from who goes on writing.
const REST: usize = 1 << 20;

/// What a pipe takes at once that can take anything.
const PIECE: usize = 4096;

/// Our side of a pty.
pub struct Relay {
    master: OwnedFd,
    /// The other side, so that it is never without one: who has closed it may open it again.
    _peer: OwnedFd,
    /// Our standard output, where it could make us wait: opened once more, so that it does not, for nobody else either way.
    sink: Option<OwnedFd>,
    /// Read from the terminal inside, not yet shown.
    shown_next: Vec<u8>,
    /// How much may be shown after the end, if that has come.
    rest: Option<usize>,
    /// How our terminal was, and is again at the end. `None` where standard input is none.
    saved: Option<Termios>,
    /// Whether the terminal inside has the modes of ours, as they are when this job has it.
    alike: bool,
    /// Typed, not yet taken by the terminal inside.
    pending: Vec<u8>,
    /// Whether what was typed last ended within a line.
    within: bool,
    /// Whether what is typed next is no more than itself.
    quoted: bool,
    input_open: bool,
    /// Whether our terminal is in raw mode. Otherwise it is another's, or not taken yet.
    raw: bool,
}

/// A new pty: the relay, and the command's end.
pub fn open() -> Result<(Relay, OwnedFd), Failure> {
    let failed = |errno: Errno| Failure::io("cannot make a terminal", &errno.into());
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = rustix::pty::openpt(flags).map_err(failed)?;
    rustix::pty::unlockpt(&master).map_err(failed)?;
    // By ioctl, not by name: /dev/pts may be another instance (CVE-2025-52565).
    let peer = rustix::pty::ioctl_tiocgptpeer(&master, flags).map_err(failed)?;
    rustix::fs::fcntl_setfl(&master, OFlags::NONBLOCK).map_err(failed)?;
    let saved = rustix::termios::tcgetattr(rustix::stdio::stdin()).ok();
    // Those of a job in the background are the ones of who has the terminal: a shell's, which edits a line.
    let alike = !job::is_background_job();
    if let (Some(saved), true) = (&saved, alike) {
        rustix::termios::tcsetattr(&peer, OptionalActions::Now, saved).map_err(failed)?;
    }
    let relay = Relay {
        master,
        // A copy: the command's own end is closed here when that has begun.
        _peer: rustix::io::fcntl_dupfd_cloexec(&peer, 3).map_err(failed)?,
        sink: crate::sink::unshared(rustix::stdio::stdout()),
        shown_next: Vec::new(),
        rest: None,
        saved,
        alike,
        pending: Vec::new(),
        within: false,
        quoted: false,
        input_open: true,
        raw: false,
    };
    relay.resize();
    Ok((relay, peer))
}

impl Relay {
    /// Takes our terminal into raw mode: from now on what is typed is the inner terminal's business.
    pub fn resume(&mut self) {
        if let Some(saved) = &mut self.saved {
            if let (false, Ok(now)) = (self.raw, rustix::termios::tcgetattr(rustix::stdio::stdin())) {
                *saved = now;
            }
            if !self.alike {
                let _ = rustix::termios::tcsetattr(&self.master, OptionalActions::Now, saved);
                self.alike = true;
            }
            let mut raw = saved.clone();
            raw.make_raw();
            let _ = rustix::termios::tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &raw);
        }
        self.raw = true;
        self.resize();
    }

    /// Puts our terminal back as it was.
    pub fn suspend(&mut self) {
        if let (Some(saved), true) = (&self.saved, std::mem::take(&mut self.raw)) {
            let _ = rustix::termios::tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, saved);
        }
    }

    /// The job in the foreground of the inner terminal.
    pub fn job(&self) -> Option<Pid> {
        rustix::termios::tcgetpgrp(&self.master).ok()
    }

    /// Gives the inner terminal the size of ours.
    pub fn resize(&self) {
        let size = rustix::termios::tcgetwinsize(rustix::stdio::stdin())
            .or_else(|_| rustix::termios::tcgetwinsize(rustix::stdio::stdout()));
        if let Ok(size) = size {
            let _ = rustix::termios::tcsetwinsize(&self.master, size);
        }
    }

    /// A terminal that another job has is not to be read from.
    fn may_read(&self) -> bool {
        self.input_open && (self.raw || self.saved.is_none())
    }

    fn out(&self) -> BorrowedFd<'_> {
        self.sink.as_ref().map_or(rustix::stdio::stdout(), AsFd::as_fd)
    }

    /// What to wait for.
    pub fn poll_fds(&self) -> impl Iterator<Item = PollFd<'_>> {
        let mut wanted = PollFlags::empty();
        if self.room() > 0 {
            wanted |= PollFlags::IN;
        }
        if !self.pending.is_empty() {
            wanted |= PollFlags::OUT;
        }
        let master = (!wanted.is_empty()).then(|| PollFd::new(&self.master, wanted));
        let input = self.may_read() && self.pending.is_empty();
        let input = input.then(|| PollFd::from_borrowed_fd(rustix::stdio::stdin(), PollFlags::IN));
        let out = (!self.shown_next.is_empty()).then(|| PollFd::from_borrowed_fd(self.out(), PollFlags::OUT));
        master.into_iter().chain(input).chain(out)
    }

    /// Moves a piece of what there is, without waiting.
    pub fn turn(&mut self) -> io::Result<Turn> {
        self.output();
        if !self.pending.is_empty() {
            self.flush();
            return Ok(Turn::Done);
        }
        let mut ready = [PollFd::from_borrowed_fd(rustix::stdio::stdin(), PollFlags::IN)];
        if !self.may_read() || poll(&mut ready, Some(&NOW)) != Ok(1) {
            return Ok(Turn::Done);
        }
        let mut buffer = [0; 4096];
        let count = rustix::io::read(rustix::stdio::stdin(), &mut buffer).unwrap_or(0);
        if count == 0 {
            self.input_open = false;
            // The end of a file is a character on a terminal. Within a line the first one only hands that over.
            let inner = rustix::termios::tcgetattr(&self.master);
            let end = inner.map_or(4, |inner| inner.special_codes[SpecialCodeIndex::VEOF]);
            self.pending.extend(std::iter::repeat_n(end, 1 + usize::from(self.within)));
        }
        if let Some(last) = buffer[..count].last() {
            self.within = !matches!(last, b'\n' | b'\r' | 4);
        }
        self.pending.extend_from_slice(&buffer[..count]);
        let typed = self.typed_signal(&buffer[..count]);
        self.flush();
        Ok(typed.map_or(Turn::Done, Turn::Typed))
    }

    /// The signal that the inner terminal makes of what was typed.
    fn typed_signal(&mut self, typed: &[u8]) -> Option<i32> {
        let inner = rustix::termios::tcgetattr(&self.master).ok()?;
        let makes_signals = inner.local_modes.contains(LocalModes::ISIG);
        let signals = [
            (SpecialCodeIndex::VINTR, SIGINT),
            (SpecialCodeIndex::VQUIT, SIGQUIT),
            (SpecialCodeIndex::VSUSP, SIGTSTP),
        ];
        let quotes = inner.local_modes.contains(LocalModes::ICANON | LocalModes::IEXTEN);
        for byte in typed {
            if std::mem::take(&mut self.quoted) {
                continue;
            }
            self.quoted = quotes && *byte == inner.special_codes[SpecialCodeIndex::VLNEXT];
            let made = signals.iter().find(|(index, _)| inner.special_codes[*index] == *byte);
            if let (true, false, Some((_, signal))) = (makes_signals, self.quoted, made) {
                return Some(*signal);
            }
        }
        None
    }

    /// Whether what is read is typed, into a terminal outside.
    pub fn is_typed(&self) -> bool {
        self.saved.is_some()
    }

    fn flush(&mut self) {
        match rustix::io::write(&self.master, &self.pending) {
            Ok(count) => drop(self.pending.drain(..count)),
            Err(Errno::AGAIN | Errno::INTR) => {}
            // Nobody inside reads any more.
            Err(_) => self.pending.clear(),
        }
    }

    /// So much may be read now.
    fn room(&self) -> usize {
        AHEAD.saturating_sub(self.shown_next.len()).min(self.rest.unwrap_or(AHEAD))
    }

    /// Whether anything was read.
    fn output(&mut self) -> bool {
        self.show();
        let mut buffer = [0; 16 * 1024];
        let room = self.room().min(buffer.len());
        let count = match room {
            0 => 0,
            room => rustix::io::read(&self.master, &mut buffer[..room]).unwrap_or(0),
        };
        self.rest = self.rest.map(|rest| rest - count);
        self.shown_next.extend_from_slice(&buffer[..count]);
        self.show();
        count > 0
    }

    /// As much as is taken at once.
    fn show(&mut self) {
        while !self.shown_next.is_empty() {
            let mut ready = [PollFd::from_borrowed_fd(self.out(), PollFlags::OUT)];
            if self.sink.is_none() && poll(&mut ready, Some(&NOW)) != Ok(1) {
                return;
            }
            let piece = self.shown_next.len().min(PIECE);
            match rustix::io::write(self.out(), &self.shown_next[..piece]) {
                Ok(count) => drop(self.shown_next.drain(..count)),
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR) => {}
                // Where our own output is closed there is nobody to show it to.
                Err(_) => self.shown_next.clear(),
            }
        }
    }

    /// After the end: shows a piece of what is left. False when that is all, be it that others go on writing.
    pub fn show_rest(&mut self) -> bool {
        self.rest.get_or_insert(REST);
        self.output() || self.has_more_to_show()
    }

    /// Whether something was read that nobody has taken yet.
    pub fn has_more_to_show(&self) -> bool {
        !self.shown_next.is_empty()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.suspend();
    }
}
