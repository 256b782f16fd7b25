//! What a step mounts, and what is set on it.

use std::ffi::{CStr, CString};
use std::fmt;

use crate::mount::{Access, Device};
use crate::plan::step::shown;
use crate::sys::Attributes;

/// What is set on a mount.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// For fsconfig(2), of a file system.
    pub data: Vec<(CString, Option<CString>)>,
    /// Of the mount and of all below it.
    pub all: Attributes,
    /// Of the mount alone, after that.
    pub top: Attributes,
    /// Whether a new tmpfs begins with a copy of what it covers. Then it is not read-only yet.
    pub copy_up: bool,
    /// The options that were asked for, in words.
    pub words: String,
}

impl Change {
    /// These attributes, of all mounts, and nothing else.
    pub(crate) const fn of(all: Attributes) -> Self {
        Self { data: Vec::new(), all, top: Attributes::NONE, copy_up: false, words: String::new() }
    }
}

/// Whether a source is named by a descriptor, or lies below one.
pub(crate) fn is_of_descriptor(path: &CStr) -> bool {
    [b"/proc/self/fd/".as_slice(), b"/proc/thread-self/fd/", b"/dev/fd/"]
        .iter()
        .any(|dir| path.to_bytes().starts_with(dir))
}

/// How a source is opened before anything is mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// As a tree of mounts that is attached nowhere, to be attached once.
    Tree,
    /// The same of one mount alone.
    One,
    /// As a place, from which later steps go on.
    Place,
}

/// How the owners of a bind's files are mapped: lines for `uid_map` and `gid_map` of the user namespace that is the map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdMapped {
    /// Those of users.
    pub uids: String,
    /// Those of groups.
    pub gids: String,
    /// Whether the mounts below are mapped, too.
    pub recursive: bool,
    /// Which of the trees it is that are opened before the clone.
    pub tree: usize,
}

/// What a [`Step::Mount`](crate::plan::step::Step::Mount) mounts.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// A file or a tree of mounts of the caller's.
    Bind {
        /// Its path outside.
        path: CString,
        /// What may be done with its files.
        access: Access,
        /// Whether it takes along what is mounted below.
        recursive: bool,
        /// How its owners are mapped. Such a tree is opened by the caller, before the clone.
        id_map: Option<IdMapped>,
        /// Which of the trees it is that were opened before anything was mounted.
        held: Option<usize>,
    },
    /// A file of its own with what a descriptor has.
    Data {
        /// The descriptor.
        fd: i32,
        /// Its mode.
        mode: u32,
        /// What may be done with it.
        access: Access,
    },
    /// One device file of the caller's, checked by its type and number; or a new one.
    Device {
        /// Its path outside.
        path: CString,
        /// What it must be.
        device: Device,
        /// Whether it is made where that can be, instead of bound.
        make: bool,
    },
    /// A new file system of this type.
    FileSystem {
        /// As in `/proc/filesystems`.
        kind: CString,
        /// What mount(8) has as the source.
        source: Option<CString>,
    },
    /// A new tmpfs.
    Tmpfs {
        /// In octal.
        mode: CString,
        /// In bytes, where it is limited.
        size: Option<CString>,
    },
    /// A new overlay.
    Overlay {
        /// The directories outside, the first on top.
        lower: Vec<CString>,
        /// Where what is written goes.
        upper: UpperDir,
        /// Whether a user namespace's overlay is asked for, whose own marks are attributes of users.
        user: bool,
    },
    /// A fresh procfs.
    Proc {
        /// Whether the caller's own root is as it was, and nothing comes below it: mount(2) finds the place as well.
        plain: bool,
    },
    /// A fresh read-only sysfs.
    Sysfs,
    /// An own instance of devpts.
    Devpts,
    /// The message queues of the ipc namespace.
    Mqueue,
    /// The binary formats of the user namespace.
    BinfmtMisc,
}

/// Where an overlay keeps what is written, as C strings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpperDir {
    /// Nowhere.
    None,
    /// In a tmpfs of its own.
    Tmpfs,
    /// In this directory; the second one is overlayfs's own.
    Directory(CString, CString),
}

fn access_in_words(access: Access) -> &'static str {
    match access {
        Access::ReadOnly => " read-only",
        Access::Devices => " with devices",
        Access::ReadWrite | Access::Unchanged => "",
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind { path, access, recursive, id_map, .. } => {
                write!(f, "bind {}{}", shown(path), access_in_words(*access))?;
                f.write_str(if *recursive { "" } else { " alone" })?;
                match id_map {
                    Some(map) => {
                        let one = |lines: &str| lines.trim_end().replace('\n', ", ");
                        write!(f, ", users mapped {}, groups {}", one(&map.uids), one(&map.gids))
                    }
                    None => Ok(()),
                }
            }
            Self::Data { fd, mode, access } => {
                let access = access_in_words(*access);
                write!(f, "bind a file ({mode:04o}) of what descriptor {fd} has{access}")
            }
            Self::Device { device, make: true, .. } => write!(f, "make {device}"),
            Self::Device { path, .. } => write!(f, "bind device {}", shown(path)),
            Self::FileSystem { kind, source: None } => write!(f, "mount {}", shown(kind)),
            Self::FileSystem { kind, source: Some(source) } => {
                write!(f, "mount {} {}", shown(kind), shown(source))
            }
            Self::Tmpfs { size: None, .. } => f.write_str("mount tmpfs"),
            Self::Tmpfs { size: Some(size), .. } => write!(f, "mount tmpfs of {} bytes", shown(size)),
            Self::Overlay { lower, upper, .. } => {
                f.write_str("overlay ")?;
                for (n, dir) in lower.iter().enumerate() {
                    write!(f, "{}{}", if n > 0 { ":" } else { "" }, shown(dir))?;
                }
                match upper {
                    UpperDir::None => f.write_str(" read-only"),
                    UpperDir::Tmpfs => f.write_str(" with a tmpfs"),
                    UpperDir::Directory(dir, _) => write!(f, " with {}", shown(dir)),
                }
            }
            Self::Proc { .. } => f.write_str("mount proc"),
            Self::Sysfs => f.write_str("mount sysfs"),
            Self::Devpts => f.write_str("mount devpts"),
            Self::Mqueue => f.write_str("mount mqueue"),
            Self::BinfmtMisc => f.write_str("mount binfmt_misc"),
        }
    }
}
