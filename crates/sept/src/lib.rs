//! Isolates processes with Linux namespaces, in the manner of [`std::process::Command`].
//!
//! ```no_run
//! use sept::{Command, Namespace};
//!
//! let status = Command::new("sh")
//!     .unshare([Namespace::User, Namespace::Uts, Namespace::Mount, Namespace::Pid])
//!     .map_uid(1234, 0, 1) // inside, outside, count
//!     .map_gid(1234, 0, 1)
//!     .hostname("inner")
//!     .status()?;
//! println!("ended: {status}");
//! # Ok::<(), sept::Error>(())
//! ```
//!
//! A [`Command`] says what is wanted. [`Command::plan`] lowers it to a [`Plan`], an ordered list of steps that can be
//! printed; [`Command::spawn`] performs it in one clone, from any thread of any program, at a cost that does not grow
//! with the caller's memory, unless the child needs a copy of that: a reaper, a limit of memory, another user. An [`Error`]
//! names the step that failed, why, and how to mend it.

mod capability;
mod cgroup;
mod command;
mod engine;
mod error;
pub mod executable;
mod fallback;
#[cfg(feature = "fuzz")]
#[doc(hidden)]
pub mod fuzz;
pub mod host;
mod id_map;
mod landlock;
mod layer;
mod mount;
mod namespace;
pub mod plan;
mod process;
mod rlimit;
pub mod seccomp;
pub mod signal;
mod stdio;
mod sys;
mod target;

pub use capability::{Capabilities, CapabilitySet};
pub use cgroup::{Account, Cgroup, CpuWeight, DeviceAccess, DeviceKind, DeviceRule, IoRate};
pub use command::Command;
pub use error::{Advice, Error, Program, describe};
pub use host::Host;
pub use id_map::{IdRange, Setgroups, SubIds, parse_id};
pub use landlock::{Landlock, PathAccess, PortAccess, Scope};
pub use layer::{Layer, Missing};
pub use mount::{Access, Create, Device, DeviceType, Mount, MountOptions, Propagation, Stay, Upper};
pub use namespace::{Namespace, Namespaces};
pub use plan::Plan;
pub use process::{Child, Parked, State, Usage};
pub use rlimit::{Resource, Rlimit};
pub use stdio::Stdio;
pub use target::{NamespaceFile, NamespaceId, Target};
