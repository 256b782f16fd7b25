//! The keeper of a pin: a small process that holds namespaces open for who can't bind them, and the record that says which
//! process that is. Where records lie, and who may make one now, is for `pins` to say.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use lexopt::Parser;
use sept::{Command, Namespace, NamespaceFile, Stdio, Target};

use crate::failure::Failure;
use crate::words;

/// What the record of a keeper says.
struct Record {
    pid: u32,
    /// When the keeper started, in clock ticks since boot: another process with its number started at another time.
    started: i64,
    descriptors: Vec<(Namespace, u32)>,
}

fn read(place: &Path) -> Option<Record> {
    // A pipe in its place would be waited for.
    if !fs::symlink_metadata(place).ok()?.is_file() {
        return None;
    }
    let text = fs::read_to_string(place).ok()?;
    let mut words = text.split_ascii_whitespace();
    let (pid, started) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let entry = |word: &str| {
        let (kind, fd) = word.split_once('=')?;
        Some((kind.parse().ok()?, fd.parse().ok()?))
    };
    let descriptors = words.map(entry).collect::<Option<Vec<_>>>()?;
    (!descriptors.is_empty()).then_some(Record { pid, started, descriptors })
}

/// A keeper that was found, or has just been made.
struct Keeper {
    process: Target,
    /// In /proc, which may be that of an outer pid namespace.
    number: i32,
    started: i64,
}

/// When a process started, in clock ticks since boot, whoever asks: its time namespace shifts what it is shown.
fn started(number: i32) -> Option<i64> {
    let shown: i64 = sept::host::stat_field(number as u32, 22)?.parse().ok()?;
    Some(shown - boottime_offset().unwrap_or(0))
}

/// In clock ticks, of timens_offsets, time_namespaces(7).
fn boottime_offset() -> Option<i64> {
    let text = sept::host::read_text("/proc/self/timens_offsets").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("boottime"))?;
    let mut numbers = line.split_ascii_whitespace().map(str::parse);
    let (seconds, nanoseconds): (i64, i64) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    let ticks = rustix::param::clock_ticks_per_second() as i64;
    Some(seconds * ticks + nanoseconds * ticks / 1_000_000_000)
}

/// The process of this id, if it is there.
fn look(pid: u32) -> Result<Option<Keeper>, Failure> {
    let process = match Target::process(pid) {
        Err(sept::Error::Invalid { .. }) => return Ok(None),
        held => held?,
    };
    let failed = |error: io::Error| Failure::proc("cannot look for the keeper in /proc", &error);
    let pidfd = process.to_pidfd().map_err(failed)?;
    let number = sept::host::find_in_proc(pidfd.as_fd()).map_err(failed)?;
    let seen = number.and_then(|number| Some((number, started(number)?)));
    // Asked last: until it ends, the number is its own.
    let alive = seen.filter(|_| !process.has_ended());
    Ok(alive.map(|(number, started)| Keeper { process, number, started }))
}

/// The keeper, if it is still the same process. An offset that is no whole number of ticks leaves one of doubt.
fn find(record: &Record) -> Result<Option<Keeper>, Failure> {
    Ok(look(record.pid)?.filter(|keeper| keeper.started.abs_diff(record.started) <= 1))
}

/// The namespaces that a keeper holds, or why there are none.
pub fn open(name: &str, place: &Path) -> Result<Vec<Target>, String> {
    let record = read(place).ok_or("its file can't be read")?;
    let found = find(&record).map_err(|failure| failure.what().to_owned())?;
    let keeper = found.ok_or("its keeper has ended")?;
    let open = |(_, fd): &(Namespace, u32)| {
        let file = NamespaceFile::open(format!("/proc/{}/fd/{fd}", keeper.number));
        file.map(|file| Target::open(file, format!("pin {name}")))
            .map_err(|error| format!("what its keeper holds can't be opened ({})", error.summary()))
    };
    let targets = record.descriptors.iter().map(open).collect::<Result<Vec<_>, _>>()?;
    if keeper.process.has_ended() { Err("its keeper has ended".to_owned()) } else { Ok(targets) }
}

/// Makes the record, and the keeper that it tells of: both, or none.
pub fn pin(place: &Path, name: &str, files: &[NamespaceFile]) -> Result<(), Failure> {
    let path = place.join(name);
    let made = File::options().write(true).create_new(true).mode(0o600).open(&path);
    let record = made.map_err(|error| Failure::io(format!("cannot make {}", path.display()), &error))?;
    let kept = start(name, files, record);
    if kept.is_err() {
        let _ = fs::remove_file(&path);
    }
    kept
}

/// Starts the keeper once its record is written: until then it is parked, and ends with this process or an error.
fn start(name: &str, files: &[NamespaceFile], mut record: File) -> Result<(), Failure> {
    let descriptors: Vec<(Namespace, i32)> =
        files.iter().map(|file| (file.kind(), file.as_fd().as_raw_fd())).collect();
    let words: Vec<String> = descriptors.iter().map(|(kind, fd)| format!("{kind}={fd}")).collect();
    let mut command = Command::new("/proc/self/exe");
    command.arg0("sept").args(["keep", name]).args(&words).env_clear().current_dir("/").new_session();
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let keeper = command.keep_fds(descriptors.iter().map(|(_, fd)| *fd)).park()?;
    let Some(Keeper { started, .. }) = look(keeper.id())? else {
        return Err(Failure::usage("the keeper ended at once"));
    };
    let line = format!("{} {started} {}\n", keeper.id(), words.join(" "));
    record.write_all(line.as_bytes()).map_err(|error| Failure::io("cannot write the pin", &error))?;
    keeper.start()?;
    Ok(())
}

/// `sept keep NAME KIND=FD…`: what the keeper runs. Not for users.
pub fn keep(parser: &mut Parser) -> Result<u8, Failure> {
    if parser.raw_args().map_err(words::usage)?.next().is_none() {
        return Err(Failure::usage("sept keep is how sept pin holds namespaces").fix("sept pin TARGET NAME"));
    }
    let signals =
        sept::signal::Receiver::new().map_err(|error| Failure::io("cannot receive signals", &error))?;
    loop {
        let mut waited = [rustix::event::PollFd::new(&signals, rustix::event::PollFlags::IN)];
        // EINTR is no end.
        let _ = rustix::event::poll(&mut waited, None);
        while let Ok(Some(received)) = signals.next() {
            // A terminal's hang-up is not for it: it is to outlive the session's shell.
            if matches!(received.signal, libc::SIGTERM | libc::SIGINT) {
                return Ok(0);
            }
        }
    }
}

/// Ends the keeper of this record, if it is still there.
pub fn end(place: &Path) -> Result<(), Failure> {
    let Some(record) = read(place) else { return Ok(()) };
    let Some(Keeper { process, .. }) = find(&record)? else { return Ok(()) };
    let failed = |errno: rustix::io::Errno| Failure::io("cannot end the keeper", &errno.into());
    let pidfd: OwnedFd = process.to_pidfd().map_err(|error| Failure::io("cannot hold the keeper", &error))?;
    match rustix::process::pidfd_send_signal(&pidfd, rustix::process::Signal::KILL) {
        Err(rustix::io::Errno::SRCH) => return Ok(()),
        sent => sent.map_err(failed)?,
    }
    // Its descriptors are closed when it has ended.
    let ended = rustix::event::PollFd::new(&pidfd, rustix::event::PollFlags::IN);
    rustix::event::poll(&mut [ended], None).map(drop).map_err(failed)
}
