//! A second kernel: a guest with Debian's own, systemd, AppArmor and cgroups of version 2 alone, in software emulation.
//!
//! Nothing of it lies in the tree. What is cached is used only if it was finished, and belongs to the present recipe.

mod machine;
mod recipe;
mod suite;
mod tools;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::{FlockOperation, flock};

use crate::test::Totals;
use crate::{Result, Scratch, sh};
use machine::Guest;
pub use suite::SKIPS;

pub const USAGE: &str = "\
cargo xtask vm build [--release R]                build the guest with a second kernel, outside of the tree
cargo xtask vm run [OPTIONS] -- CMD [ARG]...      run a command in it, as root
    --release R                                   bookworm (Linux 6.1, the default), trixie (Linux 6.12), or
                                                  forky (not released; what Linux is newest there)
    --user                                        as its ordinary user, in a session
    --with FILE                                   copy this into the directory that the command starts in
    --timeout SECONDS                             give up after this time; 600 unless said
cargo xtask vm test [--release R] [NAME]...       the tests in it, as root and as its ordinary user
";

/// A distribution that the guest can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    Bookworm,
    Trixie,
    /// Not released yet: it changes, so no run of all tests rests on it.
    Forky,
}

impl Release {
    const ALL: [Self; 3] = [Self::Bookworm, Self::Trixie, Self::Forky];
    const RELEASED: [Self; 2] = [Self::Bookworm, Self::Trixie];

    pub fn name(self) -> &'static str {
        match self {
            Self::Bookworm => "bookworm",
            Self::Trixie => "trixie",
            Self::Forky => "forky",
        }
    }

    /// The version of its glibc: programs that were linked with a later one do not run there.
    fn glibc(self) -> (u32, u32) {
        match self {
            Self::Bookworm => (2, 36),
            Self::Trixie => (2, 41),
            Self::Forky => (2, 43),
        }
    }

    fn parse(word: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|release| release.name() == word)
            .ok_or_else(|| format!("there is no release {word}; take bookworm, trixie or forky"))
    }
}

/// What the options before `--` say.
struct Options<'a> {
    release: Release,
    user: bool,
    with: Vec<&'a Path>,
    timeout: Duration,
    rest: Vec<&'a str>,
}

impl<'a> Options<'a> {
    fn parse(words: &[&'a str]) -> Result<Self> {
        let mut options = Self {
            release: Release::Bookworm,
            user: false,
            with: Vec::new(),
            timeout: Duration::from_secs(600),
            rest: Vec::new(),
        };
        let mut words = words.iter().copied();
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
            match word {
                "--release" => options.release = Release::parse(value()?)?,
                "--user" => options.user = true,
                "--with" => options.with.push(Path::new(value()?)),
                "--timeout" => {
                    let seconds = value()?.parse().map_err(|_| "--timeout takes whole seconds")?;
                    options.timeout = Duration::from_secs(seconds);
                }
                "--" => {
                    options.rest.extend(words);
                    break;
                }
                word if word.starts_with('-') => return Err(format!("no option {word}; usage:\n{USAGE}")),
                word => options.rest.push(word),
            }
        }
        Ok(options)
    }
}

/// `cargo xtask vm WORDS`.
pub fn main(words: &[&str]) -> Result {
    let (first, rest) = words.split_first().ok_or_else(|| format!("usage:\n{USAGE}"))?;
    let options = Options::parse(rest)?;
    match *first {
        "build" if options.rest.is_empty() => ready(options.release).map(drop),
        "run" if !options.rest.is_empty() => command(&options),
        "test" => suite::alone(options.release, &options.rest),
        _ => Err(format!("usage:\n{USAGE}")),
    }
}

/// Runs one command in the guest, and ends with its status.
fn command(options: &Options) -> Result {
    let guest = ready(options.release)?;
    let job = Scratch::new()?;
    for file in &options.with {
        sh(Command::new("cp").arg("-a").arg("--").arg(file).arg(&job.0))?;
    }
    let line = options.rest.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ");
    let script = match options.user {
        true => format!("exec su -l {} -c {}", recipe::USER, quoted(&format!("cd /job && {line}"))),
        false => format!("exec {line}"),
    };
    fs::write(job.0.join("run"), script).map_err(|error| error.to_string())?;
    let print = |line: &[u8]| {
        let mut stdout = std::io::stdout().lock();
        let _ =
            std::io::Write::write_all(&mut stdout, line).and_then(|()| std::io::Write::flush(&mut stdout));
    };
    let status = guest.run(&job.0, options.timeout, print)?;
    drop(job);
    // What else would be dropped has been.
    std::process::exit(i32::from(status))
}

/// A word for the shell.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Where guests are kept.
fn cache() -> Result<PathBuf> {
    let named = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    named("SEPT_VM_CACHE")
        .or_else(|| Some(named("XDG_CACHE_HOME")?.join("sept-vm")))
        .or_else(|| Some(named("HOME")?.join(".cache/sept-vm")))
        .ok_or_else(|| "SEPT_VM_CACHE, XDG_CACHE_HOME and HOME are all unset".to_owned())
}

/// All tests in this guest.
pub fn test(release: Release, guest: &Guest, totals: &mut Totals) -> Result {
    suite::run(release, guest, &suite::TESTS, totals)
}

/// The tests of every run, in the first guest; where that can't be had in time, a skip with the reason.
pub fn plain(totals: &mut Totals) -> Result {
    match in_time(Release::Bookworm) {
        Ok(guest) => suite::run(Release::Bookworm, &guest, &suite::PLAIN, totals),
        Err(why) => {
            totals.skipped.push(format!("second_kernel: the guest can't be had: {why}"));
            Ok(())
        }
    }
}

/// Built by a program of its own, which can be given up.
fn in_time(release: Release) -> Result<Guest> {
    if !place(release).is_ok_and(|place| place.is_dir()) {
        // Not by its name: the suite has built this program anew since it began.
        let own = format!("/proc/{}/exe", std::process::id());
        let scratch = Scratch::new()?;
        let mut build = Command::new("timeout");
        build.args(["--kill-after=10", PATIENCE]).arg(own).args(["vm", "build", "--release", release.name()]);
        // What it leaves there when it is given up goes, too.
        sh(build.env("TMPDIR", &scratch.0)).map_err(|why| format!("not within {PATIENCE} s: {why}"))?;
    }
    ready(release)
}

/// How long everybody waits for a guest, in seconds: it takes two minutes, and the mirror may be far.
const PATIENCE: &str = "600";

/// All tests in every guest of a release.
pub fn every(totals: &mut Totals) -> Result {
    Release::RELEASED.into_iter().try_for_each(|release| test(release, &ready(release)?, totals))
}

/// Where the guest is kept.
fn place(release: Release) -> Result<PathBuf> {
    Ok(cache()?.join(recipe::key(release)?))
}

/// The guest, built where it is not there yet.
pub fn ready(release: Release) -> Result<Guest> {
    tools::install(&tools::QEMU)?;
    let place = place(release)?;
    if place.is_dir() {
        return Ok(Guest::at(place));
    }
    tools::install(&tools::BUILD)?;
    let cache = cache()?;
    fs::create_dir_all(&cache).map_err(|error| format!("{}: {error}", cache.display()))?;
    // One builds, and the others wait for what it makes.
    let lock = fs::File::create(cache.join("lock")).map_err(|error| error.to_string())?;
    flock(&lock, FlockOperation::LockExclusive).map_err(|error| error.to_string())?;
    if !place.is_dir() {
        build(release, &cache, &place)?;
    }
    Ok(Guest::at(place))
}

fn build(release: Release, cache: &Path, place: &Path) -> Result {
    println!("building the guest {} in {}", release.name(), place.display());
    let begun = Instant::now();
    let new = cache.join("new");
    // What is there was left by one that was killed: the lock is ours.
    if new.exists() {
        fs::remove_dir_all(&new).map_err(|error| format!("{}: {error}", new.display()))?;
    }
    fs::create_dir(&new).map_err(|error| format!("{}: {error}", new.display()))?;
    let made = recipe::make(release, &new).and_then(|()| {
        println!("the guest is made after {:.0} s; starting it once", begun.elapsed().as_secs_f64());
        Guest::at(new.clone()).store()
    });
    match made {
        Ok(()) => fs::rename(&new, place).map_err(|error| format!("{}: {error}", place.display()))?,
        Err(why) => {
            let _ = fs::remove_dir_all(&new);
            return Err(why);
        }
    }
    println!("the guest {} is ready after {:.0} s", release.name(), begun.elapsed().as_secs_f64());
    Ok(())
}

/// Seconds since 1970, for the guest's clock.
fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
