//! The developer's commands: `cargo xtask test`, `dist`, `bench`.

mod bench;
mod binds;
mod dist;
mod engines;
mod leftovers;
mod limit;
mod spaced;
mod test;
mod vm;

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

const USAGE: &str = "\
cargo xtask test [--all]    format, lints, all tests as this user, (as root) as an ordinary one and with a second
                            kernel, docs; --all: with every guest and in container engines, a minute for each fuzz
                            target
cargo xtask dist            one static executable in target/dist/bin, manual pages and completions beside it
cargo xtask bench [--quick] compare starts with the installed peers, in one run; --binds, --spaced: only that part
";

/// A failure that was told already, or is told by this text.
pub type Result<T = ()> = std::result::Result<T, String>;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["test"] => test::run(test::Extent::Plain),
        ["test", "--all"] => test::run(test::Extent::All),
        ["dist"] => dist::run().map(drop),
        ["bench", ..] if cfg!(debug_assertions) => optimized(&words),
        ["bench"] => bench::run(200),
        ["bench", "--quick"] => bench::run(40),
        ["bench", "--spaced"] => bench::run_spaced(60),
        ["bench", "--binds"] => bench::only_binds(),
        ["vm", words @ ..] => vm::main(words),
        _ => Err(format!("usage:\n{USAGE}{}", vm::USAGE)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("xtask: {why}");
            ExitCode::FAILURE
        }
    }
}

/// The same command by an optimized build of this program: what it measures is in it.
fn optimized(words: &[&str]) -> Result {
    let mut cargo = Command::new("cargo");
    cargo.args(["run", "--quiet", "--locked", "--profile", "dist", "--package", "xtask", "--"]).args(words);
    sh(cargo.current_dir(root()))
}

/// The workspace's directory.
pub fn root() -> PathBuf {
    let own = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    own.parent().map_or_else(|| own.clone(), PathBuf::from)
}

/// The directory that cargo builds into.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Runs a command and fails with its name if it does.
pub fn sh(command: &mut Command) -> Result {
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{command:?}: {status}")),
        Err(error) => Err(format!("{command:?}: {error}")),
    }
}

/// A program as a user starts it: cargo has `LD_LIBRARY_PATH` set for this one, and by that each program with libraries looks for
/// them in vain first, which costs it a tenth of a start.
pub fn at_home(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env_remove("LD_LIBRARY_PATH");
    command
}

/// What a command prints, if it succeeds.
pub fn output(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Whether a program is in the PATH.
pub fn has(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

/// Whether root runs this.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A directory with an unpredictable name, gone at the end.
pub struct Scratch(pub PathBuf);

impl Scratch {
    /// Makes it.
    pub fn new() -> Result<Self> {
        let made = output(Command::new("mktemp").args(["-d", "-t", "sept-xtask-XXXXXXXXXX"]));
        Ok(Self(made.ok_or("mktemp failed")?.into()))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("{} could not be removed: {error}", self.0.display());
        }
    }
}
