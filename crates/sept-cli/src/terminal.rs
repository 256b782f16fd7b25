//! A terminal of the command's own, and the relay between it and ours.

use std::io::{self, Write};
use std::os::fd::OwnedFd;

use rustix::event::{PollFd, PollFlags};
use rustix::fs::OFlags;
use rustix::process::Pid;
use rustix::pty::OpenptFlags;
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios};

use crate::disposition::{SIGINT, SIGQUIT, SIGTSTP};
use crate::failure::Failure;

/// What came of one turn of the relay.
pub enum Turn {
    Done,
    /// A character that the terminal inside turns into this signal.
    Typed(i32),
}

/// Our side of a pty.
pub struct Relay {
    master: OwnedFd,
    /// How our terminal was, and is again at the end. `None` where standard input is none.
    saved: Option<Termios>,
    /// Typed, not yet taken by the terminal inside.
    pending: Vec<u8>,
    input_open: bool,
    output_open: bool,
    /// Whether our terminal is in raw mode. Otherwise it is another's, or not taken yet.
    raw: bool,
}

/// A new pty: the relay, and the command's end.
pub fn open() -> Result<(Relay, OwnedFd), Failure> {
    let failed = |errno: rustix::io::Errno| Failure::io("cannot make a terminal", &errno.into());
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = rustix::pty::openpt(flags).map_err(failed)?;
    rustix::pty::unlockpt(&master).map_err(failed)?;
    // By ioctl, not by name: /dev/pts may be another instance (CVE-2025-52565).
    let peer = rustix::pty::ioctl_tiocgptpeer(&master, flags).map_err(failed)?;
    rustix::fs::fcntl_setfl(&master, OFlags::NONBLOCK).map_err(failed)?;
    let saved = rustix::termios::tcgetattr(rustix::stdio::stdin()).ok();
    if let Some(saved) = &saved {
        rustix::termios::tcsetattr(&peer, OptionalActions::Now, saved).map_err(failed)?;
    }
    let relay = Relay { master, saved, pending: Vec::new(), input_open: true, output_open: true, raw: false };
    relay.resize();
    Ok((relay, peer))
}

impl Relay {
    /// Takes our terminal into raw mode: from now on what is typed is the inner terminal's business.
    pub fn resume(&mut self) {
        if let Some(saved) = &self.saved {
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
            let _ = rustix::termios::tcsetattr(rustix::stdio::stdin(), OptionalActions::Drain, saved);
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

    /// What to wait for.
    pub fn poll_fds(&self) -> impl Iterator<Item = PollFd<'_>> {
        let mut wanted = PollFlags::empty();
        if self.output_open {
            wanted |= PollFlags::IN;
        }
        if !self.pending.is_empty() {
            wanted |= PollFlags::OUT;
        }
        let input = self.may_read() && self.pending.is_empty();
        let master = self.output_open.then(|| PollFd::new(&self.master, wanted));
        let input = input.then(|| PollFd::from_borrowed_fd(rustix::stdio::stdin(), PollFlags::IN));
        master.into_iter().chain(input)
    }

    /// Moves what there is, without waiting.
    pub fn turn(&mut self) -> io::Result<Turn> {
        self.output();
        if !self.pending.is_empty() {
            self.flush();
            return Ok(Turn::Done);
        }
        let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        let mut ready = [PollFd::from_borrowed_fd(rustix::stdio::stdin(), PollFlags::IN)];
        if !self.may_read() || rustix::event::poll(&mut ready, Some(&now)) != Ok(1) {
            return Ok(Turn::Done);
        }
        let mut buffer = [0; 4096];
        let count = rustix::io::read(rustix::stdio::stdin(), &mut buffer).unwrap_or(0);
        if count == 0 {
            self.input_open = false;
            // The end of a file is a character on a terminal.
            self.pending.push(4);
        }
        self.pending.extend_from_slice(&buffer[..count]);
        let typed = self.typed_signal(&buffer[..count]);
        self.flush();
        Ok(typed.map_or(Turn::Done, Turn::Typed))
    }

    /// The signal that the inner terminal makes of what was typed.
    fn typed_signal(&self, typed: &[u8]) -> Option<i32> {
        let inner = rustix::termios::tcgetattr(&self.master).ok()?;
        if !inner.local_modes.contains(LocalModes::ISIG) {
            return None;
        }
        let signals = [
            (SpecialCodeIndex::VINTR, SIGINT),
            (SpecialCodeIndex::VQUIT, SIGQUIT),
            (SpecialCodeIndex::VSUSP, SIGTSTP),
        ];
        let signal = |byte: &u8| signals.iter().find(|(index, _)| inner.special_codes[*index] == *byte);
        typed.iter().find_map(signal).map(|(_, signal)| *signal)
    }

    fn flush(&mut self) {
        match rustix::io::write(&self.master, &self.pending) {
            Ok(count) => drop(self.pending.drain(..count)),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
            // Nobody inside reads any more.
            Err(_) => self.pending.clear(),
        }
    }

    fn output(&mut self) {
        let mut buffer = [0; 16 * 1024];
        loop {
            match rustix::io::read(&self.master, &mut buffer) {
                Ok(0) => self.output_open = false,
                Ok(count) => {
                    // Where our own output is closed there is nobody to show it to.
                    let mut out = io::stdout().lock();
                    let _ = out.write_all(&buffer[..count]).and_then(|()| out.flush());
                    continue;
                }
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
                // EIO: nobody has the inner end open.
                Err(_) => self.output_open = false,
            }
            return;
        }
    }

    /// Shows what is left, and puts our terminal back.
    pub fn finish(&mut self) {
        self.output();
        self.suspend();
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.suspend();
    }
}
