//! The options of the files group: what each adds to the request, in the order of the line.

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::Mode;
use sept::{Access, Device, DeviceType, Mount, MountOptions, Namespace, Upper};

use crate::confine;
use crate::failure::Failure;
use crate::options::Id;
use crate::request::{Request, descriptor};
use crate::words::Values;

/// One of them, with its values.
pub fn apply(id: Id, values: &mut Values<'_>, request: &mut Request) -> Result<(), Failure> {
    match id {
        Id::Bind | Id::RoBind | Id::DevBind | Id::BindTry | Id::RoBindTry | Id::DevBindTry => {
            let access = match id {
                Id::Bind | Id::BindTry => Access::ReadWrite,
                Id::RoBind | Id::RoBindTry => Access::ReadOnly,
                _ => Access::Devices,
            };
            let (source, target) = (values.os()?, values.os()?);
            let only_if_there = matches!(id, Id::BindTry | Id::RoBindTry | Id::DevBindTry);
            // A mount point that is none is a mistake also where nothing is mounted.
            if only_if_there && is_missing(Path::new(&source)) && Path::new(&target).is_absolute() {
                request.options = None;
                return Ok(());
            }
            request.put_on(&target);
            request.mount(Mount::bind(source, target, access));
        }
        Id::Tmpfs => {
            let mode = request.perms.take().unwrap_or(0o755);
            let size = request.size.take();
            let target = values.os()?;
            request.put_on(&target);
            request.mount(Mount::tmpfs_with(target, mode, size));
        }
        Id::OverlaySrc => request.overlay.push(values.os()?.into()),
        Id::Overlay | Id::TmpOverlay | Id::RoOverlay => {
            let upper = match id {
                Id::Overlay => Upper::Directory(values.os()?.into(), values.os()?.into()),
                Id::TmpOverlay => Upper::Tmpfs,
                _ => Upper::None,
            };
            // The last that was named lies on top.
            let lower: Vec<PathBuf> = std::mem::take(&mut request.overlay).into_iter().rev().collect();
            request.mount(Mount::overlay(lower, upper, values.os()?));
        }
        Id::BindData | Id::RoBindData => {
            let access = if id == Id::BindData { Access::ReadWrite } else { Access::ReadOnly };
            // As bwrap has it.
            let (fd, mode) = (content(values, request)?, request.perms.take().unwrap_or(0o600));
            request.mount(Mount::bind_data(fd, values.os()?, mode, access));
        }
        Id::Device => {
            let value = values.os()?;
            request.mount(device(&value).map_err(|why| values.wrong(&value, why))?);
        }
        Id::FileSystem => {
            let (kind, source) = (values.parsed(|text| Ok(text.to_owned()))?, values.os()?);
            let target = values.os()?;
            request.put_on(&target);
            request.mount(Mount::file_system(&kind, Some(&source), target));
        }
        Id::Remount => request.mount(Mount::remount(values.os()?)),
        Id::MountOptions => request.options = Some(values.parsed(MountOptions::parse)?),
        Id::Symlink => request.mounts.push(Mount::symlink(values.os()?, values.os()?)),
        Id::Dir => {
            let mode = request.perms.take().unwrap_or(0o755);
            request.mounts.push(Mount::directory(values.os()?, mode));
        }
        Id::File => {
            let (fd, mode) = (content(values, request)?, request.perms.take().unwrap_or_else(of_new_files));
            request.mounts.push(Mount::file(fd, values.os()?, mode));
        }
        Id::Perms => request.perms = Some(values.parsed(octal)?),
        Id::Size => {
            request.size = Some(values.parsed(size)?);
        }
        Id::Chmod => {
            let mode = values.parsed(octal)?;
            request.mounts.push(Mount::mode(values.os()?, mode));
        }
        Id::Mask => request.mounts.push(Mount::mask(values.os()?)),
        Id::MaskTry => request.mounts.push(Mount::mask_if_there(values.os()?)),
        Id::RemountRo => request.mounts.push(Mount::remount_read_only(values.os()?)),
        Id::Proc => {
            let target = values.os()?;
            request.put_on(&target);
            request.mount(Mount::proc(target));
        }
        Id::Dev => {
            let target = values.os()?;
            request.put_on(&target);
            request.mounts.push(Mount::dev(target));
        }
        Id::Mqueue => request.mount(Mount::mqueue(values.os()?)),
        // The parser passes no other.
        _ => {}
    }
    Ok(())
}

/// What can't be looked at is there, perhaps: whoever closes a directory must not have a bind left out.
fn is_missing(path: &Path) -> bool {
    let error = path.metadata().err();
    error.is_some_and(|error| matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory))
}

impl Request {
    /// Whether the command sees other files than the caller, or sees them in another way.
    pub fn arranges_files(&self) -> bool {
        self.root.is_some() || self.read_only || !self.mounts.is_empty()
    }

    /// The same, or sees those of a mount namespace that it joins.
    pub fn has_other_files(&self) -> bool {
        self.arranges_files() || self.join.iter().any(|(kind, _)| *kind == Namespace::Mount)
    }

    /// Where something is asked for in the place of what is there by default.
    fn put_on(&mut self, target: &OsStr) {
        self.own_proc |= target == "/proc";
        self.own_dev |= target == "/dev";
    }

    /// A mount, with the options that stood before it.
    fn mount(&mut self, mount: Mount) {
        self.mounts.push(match self.options.take() {
            Some(options) => mount.options(options),
            None => mount,
        });
    }
}

/// A descriptor that is read to its end.
fn content(values: &mut Values<'_>, request: &mut Request) -> Result<RawFd, Failure> {
    let fd = values.parsed(descriptor)?;
    if request.contents.contains(&fd) {
        let why = "is named twice, and after the first reading nothing is left in it";
        return Err(values.wrong(OsStr::new(&fd.to_string()), why));
    }
    request.contents.push(fd);
    Ok(fd)
}

/// The mode that a shell gives to a file which it makes.
fn of_new_files() -> u32 {
    let mask = rustix::process::umask(Mode::empty());
    rustix::process::umask(mask);
    0o666 & !mask.as_raw_mode()
}

/// Bytes. The kernel would take 0 as no limit at all.
fn size(text: &str) -> Result<u64, String> {
    match confine::bytes(text)? {
        0 => Err("is no limit; leave it out for the kernel's own, half of the memory".to_owned()),
        size => Ok(size),
    }
}

/// `PATH[:INSIDE]`: INSIDE is from the root on, so that a name may hold a colon.
fn device(text: &OsStr) -> Result<Mount, String> {
    let bytes = text.as_bytes();
    let (source, target) = match bytes.windows(2).position(|two| two == b":/") {
        Some(at) => (&bytes[..at], &bytes[at + 1..]),
        None => (bytes, bytes),
    };
    let path = |bytes| Path::new(OsStr::from_bytes(bytes));
    let (source, target) = (path(source), path(target));
    let found = std::fs::metadata(source)
        .map_err(|error| sept::describe(error.raw_os_error().unwrap_or(libc::EINVAL)))?;
    let kind = match found.file_type() {
        kind if kind.is_char_device() => DeviceType::Character,
        kind if kind.is_block_device() => DeviceType::Block,
        _ => return Err("is no device file".to_owned()),
    };
    let device = Device {
        kind,
        major: libc::major(found.rdev()),
        minor: libc::minor(found.rdev()),
        mode: found.mode() & 0o7777,
        uid: found.uid(),
        gid: found.gid(),
    };
    Ok(Mount::device(source, target, device))
}

/// A mode, as chmod(1) takes it in octal.
fn octal(text: &str) -> Result<u32, String> {
    let digits = !text.is_empty() && text.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| digits && *mode <= 0o7777);
    mode.ok_or_else(|| "a mode is an octal number up to 7777".to_owned())
}
