//! What failed, on what, with which errno, why, and how to mend it.

use std::fmt;
use std::io;

use crate::layer::Layer;

/// Why something failed and what mends it, found by looking at the host after the failure.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Advice {
    /// The reason, or the likely ones, each beginning with "perhaps".
    pub why: Vec<String>,
    /// What to do: the first is the best known.
    pub fix: Vec<String>,
}

impl Advice {
    pub(crate) fn new(why: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { why: vec![why.into()], fix: vec![fix.into()] }
    }

    pub(crate) fn or(mut self, fix: impl Into<String>) -> Self {
        self.fix.push(fix.into());
        self
    }
}

/// Why a command could not be started.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Error {
    /// The request contradicts itself or this host; nothing was touched.
    Invalid {
        /// What is wrong with it.
        what: String,
        /// Why, and what to do.
        advice: Advice,
        /// The layer that can't be had, where it is one.
        layer: Option<Layer>,
    },
    /// A step of the child failed. Everything that was made is gone again.
    Step {
        /// The step in words, with its object.
        what: String,
        /// Its number in the plan, from 1.
        step: usize,
        /// How many steps the plan has.
        of: usize,
        /// The kernel's error number.
        errno: i32,
        /// Why, and what to do.
        advice: Advice,
        /// For the last step, whether the program was there at all.
        program: Option<Program>,
        /// The layer that can't be had, where it is one.
        layer: Option<Layer>,
    },
    /// A duty of the parent failed: writing id maps, running newuidmap.
    Duty {
        /// The duty in words, with its path.
        what: String,
        /// The kernel's error number, where there is one.
        errno: Option<i32>,
        /// Why, and what to do.
        advice: Advice,
        /// The layer that can't be had, where it is one.
        layer: Option<Layer>,
    },
    /// The process itself could not be made.
    Clone {
        /// What was asked for.
        what: String,
        /// The kernel's error number.
        errno: i32,
        /// Why, and what to do.
        advice: Advice,
        /// The layer that can't be had, where it is one.
        layer: Option<Layer>,
    },
    /// The child ended before it could become the command, without a word.
    Died {
        /// The step that it was at.
        what: String,
        /// Its number in the plan, from 1.
        step: usize,
        /// The signal that ended it, where there was one.
        signal: Option<i32>,
        /// Why, and what to do.
        advice: Advice,
    },
}

/// How a program could not be executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// There is none of that name: exit code 127.
    NotFound,
    /// It is there, and cannot be executed: exit code 126.
    NotExecutable,
}

impl Error {
    pub(crate) fn invalid(what: impl Into<String>) -> Self {
        Self::invalid_with(what, Advice::default())
    }

    pub(crate) fn invalid_with(what: impl Into<String>, advice: Advice) -> Self {
        Self::Invalid { what: what.into(), advice, layer: None }
    }

    pub(crate) fn duty(what: impl Into<String>, errno: rustix::io::Errno, advice: Advice) -> Self {
        let errno = errno.raw_os_error();
        Self::Duty { what: what.into(), errno: Some(errno), advice: advice.or_on(errno), layer: None }
    }

    /// The same, of a layer that can't be had.
    pub(crate) fn lacks(mut self, lacking: Layer) -> Self {
        match &mut self {
            Self::Invalid { layer, .. }
            | Self::Step { layer, .. }
            | Self::Duty { layer, .. }
            | Self::Clone { layer, .. } => *layer = Some(lacking),
            Self::Died { .. } => {}
        }
        self
    }

    /// The layer that can't be had, where it is one that [`Command::if_possible`](crate::Command::if_possible) may do without.
    pub fn layer(&self) -> Option<Layer> {
        match self {
            Self::Invalid { layer, .. }
            | Self::Step { layer, .. }
            | Self::Duty { layer, .. }
            | Self::Clone { layer, .. } => *layer,
            Self::Died { .. } => None,
        }
    }

    /// The kernel's error number, where the kernel gave one.
    pub fn raw_os_error(&self) -> Option<i32> {
        match self {
            Self::Step { errno, .. } | Self::Clone { errno, .. } => Some(*errno),
            Self::Duty { errno, .. } => *errno,
            Self::Invalid { .. } | Self::Died { .. } => None,
        }
    }

    /// What a command line exits with: 127 not found, 126 found but not executable, 125 for all else.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Step { program: Some(Program::NotFound), .. } => 127,
            Self::Step { program: Some(Program::NotExecutable), .. } => 126,
            _ => 125,
        }
    }

    /// Why, and what to do.
    pub fn advice(&self) -> Option<&Advice> {
        match self {
            Self::Invalid { advice, .. }
            | Self::Step { advice, .. }
            | Self::Duty { advice, .. }
            | Self::Clone { advice, .. }
            | Self::Died { advice, .. } => Some(advice),
        }
    }

    /// The variant as one lower-case word: `invalid`, `step`, `duty`, `clone`, `died`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Invalid { .. } => "invalid",
            Self::Step { .. } => "step",
            Self::Duty { .. } => "duty",
            Self::Clone { .. } => "clone",
            Self::Died { .. } => "died",
        }
    }

    /// The first line of the message: what failed, without advice.
    pub fn summary(&self) -> String {
        match self {
            Self::Invalid { what, .. } => what.clone(),
            Self::Step { what, step, of, errno, .. } => {
                format!("cannot {what} (step {step} of {of}): {}", describe(*errno))
            }
            Self::Duty { what, errno: Some(errno), .. } | Self::Clone { what, errno, .. } => {
                format!("cannot {what}: {}", describe(*errno))
            }
            Self::Duty { what, errno: None, .. } => format!("cannot {what}"),
            Self::Died { what, step, signal: Some(signal), .. } => {
                format!("the child was killed by signal {signal} before it could {what} (step {step})")
            }
            Self::Died { what, step, signal: None, .. } => {
                format!("the child ended before it could {what} (step {step})")
            }
        }
    }
}

/// The kernel's words for an errno, in lower case and without the number.
pub fn describe(errno: i32) -> String {
    let text = io::Error::from_raw_os_error(errno).to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut letters = text.chars();
    match letters.next() {
        Some(first) if !text.starts_with("RPC") => first.to_lowercase().chain(letters).collect(),
        _ => text.to_owned(),
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.summary())?;
        let Some(advice) = self.advice() else { return Ok(()) };
        for why in &advice.why {
            write!(f, "\n why: {why}")?;
        }
        for (n, fix) in advice.fix.iter().enumerate() {
            write!(f, "\n {}: {fix}", if n == 0 { "fix" } else { " or" })?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match error.raw_os_error() {
            Some(errno) => Self::from_raw_os_error(errno).kind(),
            None => io::ErrorKind::InvalidInput,
        };
        Self::new(kind, error)
    }
}
