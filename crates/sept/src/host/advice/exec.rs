//! Why a program could not be executed.

use std::ffi::{CStr, CString};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::error::{Advice, Program};
use crate::sys::{self, Head, Seen};

/// A file of the child's, as the child sees it: its root is somebody else's, and no link in it leads to files of this process.
fn look(pid: i32, path: &Path, head: Head) -> Result<Seen, Errno> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let (base, path, resolve) = match path.strip_prefix("/") {
        Ok(below) => ("root", below, ResolveFlags::IN_ROOT),
        Err(_) => ("cwd", path, ResolveFlags::BENEATH),
    };
    let base = rustix::fs::open(format!("/proc/{pid}/{base}"), flags, Mode::empty())?;
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let path = CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::INVAL)?;
    sys::look(base.as_fd(), &path, resolve | ResolveFlags::NO_MAGICLINKS, head)
}

/// exec failed. The child still waits: its files can be seen as it sees them.
pub(crate) fn exec(pid: i32, tried: Option<&CStr>, errno: i32) -> (Program, Advice) {
    let Some(tried) = tried else {
        let advice =
            Advice::new("it is in no directory of PATH, as seen inside", "name it by its path, or set PATH");
        return (Program::NotFound, advice);
    };
    let path = Path::new(std::ffi::OsStr::from_bytes(tried.to_bytes()));
    let head = if errno == libc::ENOENT { Head::Wanted } else { Head::Unwanted };
    let there = look(pid, path, head);
    match errno {
        libc::ENOENT | libc::ENOTDIR => match there {
            Err(Errno::NOENT | Errno::NOTDIR) => (
                Program::NotFound,
                Advice::new(format!("there is no {} inside", path.display()), "check the path and the root"),
            ),
            // Nobody could look, or not in time.
            Err(errno) => {
                let why =
                    if errno == Errno::TIMEDOUT { ": the file system did not answer in time" } else { "" };
                let what =
                    format!("perhaps there is no {} inside, or not what interprets it{why}", path.display());
                (Program::NotFound, Advice::new(what, "check the path and the root"))
            }
            Ok(found) if errno == libc::ENOENT => {
                (Program::NotExecutable, missing_interpreter(pid, path, &found))
            }
            Ok(_) => (Program::NotExecutable, Advice::default()),
        },
        // A directory of PATH that is closed to this user hides nothing that is there.
        libc::EACCES if there.as_ref().is_err_and(|errno| *errno == Errno::NOENT) => (
            Program::NotFound,
            Advice::new("it is in no directory of PATH that this user may search", "name it by its path"),
        ),
        libc::EACCES => (Program::NotExecutable, no_access(path, there.ok())),
        libc::ENOEXEC => (
            Program::NotExecutable,
            Advice::new(
                "it is neither an ELF file for this machine nor a script that begins with #!",
                "begin the script with #!/bin/sh, or run it by name: sh FILE",
            ),
        ),
        libc::E2BIG => (
            Program::NotExecutable,
            Advice::new("arguments and environment are too large", "pass less, or --clear-env"),
        ),
        _ => (Program::NotExecutable, Advice::default()),
    }
}

fn no_access(path: &Path, found: Option<Seen>) -> Advice {
    match found {
        Some(found) if FileType::from_raw_mode(found.mode).is_dir() => {
            Advice::new(format!("{} is a directory", path.display()), "name a program")
        }
        Some(found) if found.mode & 0o111 == 0 => Advice::new(
            format!("{} is not marked executable", path.display()),
            format!("chmod +x {}", path.display()),
        ),
        _ => Advice {
            why: vec![
                "perhaps a directory on the way, or the file, is closed to the user inside".to_owned(),
                "perhaps it lies on a file system mounted noexec".to_owned(),
            ],
            fix: vec!["look at it inside: ls -ld on each directory of its path".to_owned()],
        },
    }
}

/// The kernel says ENOENT of a program that is there when what shall interpret it is not.
fn missing_interpreter(pid: i32, path: &Path, found: &Seen) -> Advice {
    if let Some(line) = found.head.strip_prefix(b"#!") {
        let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let text = String::from_utf8_lossy(line);
        let interpreter = text.split_whitespace().next().unwrap_or_default();
        let returns = if line.ends_with(b"\r") { " (the line ends in a carriage return)" } else { "" };
        return Advice::new(
            format!("{} is there, but its #! interpreter {interpreter:?} is not{returns}", path.display()),
            "install the interpreter inside, or mend the first line",
        );
    }
    let is_missing = |interpreter: &str| {
        look(pid, Path::new(interpreter), Head::Unwanted)
            .is_err_and(|errno| !matches!(errno, Errno::AGAIN | Errno::TIMEDOUT))
    };
    match elf_interpreter(&found.head) {
        Some(interpreter) if is_missing(&interpreter) => Advice::new(
            format!("{} is there, but its ELF interpreter {interpreter} is not", path.display()),
            "bind the libraries into the root, or use a static program",
        ),
        _ => Advice::default(),
    }
}

/// PT_INTERP of a 64-bit or 32-bit little-endian ELF file; elf(5).
fn elf_interpreter(file: &[u8]) -> Option<String> {
    let number = |at: usize, size: usize| -> Option<usize> {
        let bytes = file.get(at..at + size)?;
        Some(bytes.iter().rev().fold(0, |sum, byte| sum << 8 | usize::from(*byte)))
    };
    if file.get(..4)? != b"\x7fELF" {
        return None;
    }
    let wide = *file.get(4)? == 2;
    let (table, size, count) = if wide {
        (number(32, 8)?, number(54, 2)?, number(56, 2)?)
    } else {
        (number(28, 4)?, number(42, 2)?, number(44, 2)?)
    };
    (0..count).find_map(|n| {
        let header = table.checked_add(n * size)?;
        let (offset, length) = if wide {
            (number(header + 8, 8)?, number(header + 32, 8)?)
        } else {
            (number(header + 4, 4)?, number(header + 16, 4)?)
        };
        let interp = number(header, 4)? == 3;
        let text = file.get(offset..offset.checked_add(length)?)?;
        interp.then(|| String::from_utf8_lossy(text).trim_end_matches('\0').to_owned())
    })
}
