//! System call policies: what they say (here), how they become a BPF program (`compile`), two that are ready (`builtin`),
//! groups of calls (`groups`), calls that have another name or are many in one (`twins`, `multiplex`), and who answers the calls
//! that a policy asks about (`listener`).

use std::borrow::Cow;

mod builtin;
mod compile;
mod flags;
mod groups;
mod listener;
mod multiplex;
mod ready;
mod table;
mod twins;

pub use crate::sys::Instruction;
pub use compile::{Filter, Verdict};
pub use flags::Flags;
pub use groups::{Group, group, groups};
pub use listener::{AddFd, Listener, Notification, Response};
pub use multiplex::with_multiplexed;
pub use table::{Abi, abis};
pub use twins::with_twins;

/// What the kernel does with a call; seccomp(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// It is made.
    Allow,
    /// It fails with this errno.
    Errno(u16),
    /// The process ends by SIGSYS. Since Linux 4.14.
    KillProcess,
    /// The thread ends.
    KillThread,
    /// The thread gets SIGSYS, with this number in it.
    Trap(u16),
    /// A tracer is asked, with this number.
    Trace(u16),
    /// It is made, and logged. Since Linux 4.14.
    Log,
    /// Whoever has the listener is asked. Since Linux 5.0.
    Notify,
}

impl Action {
    /// The kernel's SECCOMP_RET_*.
    pub const fn value(self) -> u32 {
        match self {
            Self::Allow => libc::SECCOMP_RET_ALLOW,
            Self::Errno(errno) => libc::SECCOMP_RET_ERRNO | errno as u32,
            Self::KillProcess => libc::SECCOMP_RET_KILL_PROCESS,
            Self::KillThread => libc::SECCOMP_RET_KILL_THREAD,
            Self::Trap(number) => libc::SECCOMP_RET_TRAP | number as u32,
            Self::Trace(number) => libc::SECCOMP_RET_TRACE | number as u32,
            Self::Log => libc::SECCOMP_RET_LOG,
            Self::Notify => 0x7fc0_0000,
        }
    }
}

/// How an argument is compared, as a number of 64 bits without sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Compare {
    /// Equal.
    Eq(u64),
    /// Not equal.
    Ne(u64),
    /// Less.
    Lt(u64),
    /// Less or equal.
    Le(u64),
    /// Greater.
    Gt(u64),
    /// Greater or equal.
    Ge(u64),
    /// Equal to the second number in the bits of the first.
    Masked(u64, u64),
}

impl Compare {
    /// Whether an argument fulfils it.
    pub const fn holds(self, argument: u64) -> bool {
        match self {
            Self::Eq(value) => argument == value,
            Self::Ne(value) => argument != value,
            Self::Lt(value) => argument < value,
            Self::Le(value) => argument <= value,
            Self::Gt(value) => argument > value,
            Self::Ge(value) => argument >= value,
            Self::Masked(mask, value) => argument & mask == value,
        }
    }
}

/// A condition on one argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Condition {
    /// Which argument, from 0 to 5.
    pub argument: u8,
    /// What must hold.
    pub compare: Compare,
}

/// What happens with some calls, where all conditions hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The calls by name, and groups, such as `@mount`: [`group`]. A name that an ABI does not have says nothing there.
    pub calls: Vec<Cow<'static, str>>,
    /// What must hold.
    pub conditions: Vec<Condition>,
    /// What happens then.
    pub action: Action,
}

impl Rule {
    /// What it refuses, by name, with the calls of its groups.
    fn refused(&self) -> Vec<Cow<'static, str>> {
        let expanded = |call: &Cow<'static, str>| match group(call) {
            Some(group) => group.calls().into_iter().map(Cow::Borrowed).collect(),
            None => vec![call.clone()],
        };
        match self.action {
            Action::Allow | Action::Log => Vec::new(),
            _ => self.calls.iter().flat_map(expanded).collect(),
        }
    }
}

/// What happens with every call. The first rule that fits decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// What it is called in plans and errors.
    pub name: String,
    /// What happens with a call that no rule fits.
    pub default: Action,
    /// What happens with a call that this version does not know: those newer than it.
    pub unknown: Action,
    /// What happens with a call of another ABI, x32 among them.
    pub other_abi: Action,
    /// Whether calls of this processor's 32-bit ABI go by the rules; else that is another ABI.
    pub compat_abi: bool,
    /// What else the kernel is asked for.
    pub flags: Flags,
    /// The rules, in order.
    pub rules: Vec<Rule>,
}

impl Policy {
    /// What container engines allow: all but what reaches the host's kernel, other processes or new namespaces.
    pub fn container() -> Self {
        builtin::container()
    }

    /// For code that nobody trusts: less than [`container`](Self::container).
    pub fn strict() -> Self {
        builtin::strict()
    }

    /// The program for this processor's ABIs.
    ///
    /// # Errors
    /// Where it is longer than the kernel takes, 4096 instructions, or names a group that there is not.
    pub fn compile(&self) -> Result<Filter, String> {
        compile::compile(self)
    }

    /// A name in its rules that is no group and that no ABI of this processor has.
    pub fn unknown_call(&self) -> Option<&str> {
        self.rules.iter().flat_map(|rule| &rule.calls).map(Cow::as_ref).find(|call| !is_known(call))
    }
}

/// Whether this is a group, or a call of an ABI of this processor or, being in a group, of another one.
pub fn is_known(name: &str) -> bool {
    if name.starts_with('@') {
        return group(name).is_some();
    }
    abis().iter().any(|abi| abi.number(name).is_some())
        || groups().iter().any(|group| group.calls().binary_search(&name).is_ok())
}
