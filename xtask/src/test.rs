//! The whole suite: what it needs, the checks, the tests as two users, and what they left behind.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::leftovers::Snapshot;
use crate::{Result, Scratch, engines, has, is_root, output, root, sh, target, vm};

/// A program that tests need, its Debian package, and for what.
const NEEDED: [(&str, &str, &str); 10] = [
    ("strace", "strace", "calls that fail on purpose"),
    ("newuidmap", "uidmap", "maps of subordinate ids"),
    ("/usr/share/doc/python3-seccomp", "python3-seccomp", "another compiler for system call policies"),
    ("bwrap", "bubblewrap", "the peer of the benchmarks"),
    ("ip", "iproute2", "the step NET"),
    ("ps", "procps", "the step MOUNT"),
    ("ipcmk", "util-linux-extra", "the step IPC"),
    ("ipcs", "util-linux", "the step IPC"),
    ("hostname", "hostname", "the step UTS"),
    ("setpriv", "util-linux", "tests as an ordinary user"),
];

/// The ordinary user of the tests.
const USER: &str = "septtest";

/// The skips that a run of the whole suite may have.
const SKIPS: &str = "xtask/expected-skips.txt";

/// The counts of test runs.
#[derive(Default)]
pub struct Totals {
    pub passed: u64,
    pub failed: u64,
    pub skipped: Vec<String>,
}

/// How much of it is to be run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// What everybody runs: with one other kernel, where its guest is there or can be had in time.
    Plain,
    /// With every guest, however long it takes to build them.
    All,
}

pub fn run(extent: Extent) -> Result {
    if extent == Extent::All {
        engines::install()?;
    }
    let user = prepare()?;
    let before = Snapshot::take();
    let (mut totals, mut guests) = (Totals::default(), Totals::default());
    step("format", || cargo(&["fmt", "--all", "--check"]))?;
    step("lints", || cargo(&["clippy", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    step("build", || cargo(&["build", "--locked", "--workspace", "--all-targets"]))?;
    step("tests as this user", || {
        let mut tests = Command::new("cargo");
        tests.args(["test", "--locked", "--workspace", "--no-fail-fast", "--", "--nocapture"]);
        count(tests.current_dir(root()), &mut totals)
    })?;
    if let Some(user) = user {
        step("tests as an ordinary user", || as_user(&user, &mut totals))?;
    }
    step("fuzz targets", || fuzz(extent))?;
    if extent == Extent::All {
        step("container engines, with the static executable", engines::test)?;
    }
    match extent {
        Extent::Plain => step("tests with a second kernel", || vm::plain(&mut guests))?,
        Extent::All => step("tests with other kernels", || vm::every(&mut guests))?,
    }
    step("documentation", || {
        let mut doc = Command::new("cargo");
        sh(doc
            .args(["doc", "--locked", "--workspace", "--no-deps"])
            .env("RUSTDOCFLAGS", "-D warnings")
            .current_dir(root()))
    })?;
    step("nothing left behind", || before.compare())?;
    judge(&[(&totals, SKIPS), (&guests, vm::SKIPS)])
}

/// The closing lines of runs, each with the file of the skips that it may have; an unexpected one fails.
pub fn judge(runs: &[(&Totals, &str)]) -> Result {
    let mut unexpected = Vec::new();
    for (totals, file) in runs {
        // What may be skipped anywhere may be in a guest.
        let read = |file: &str| fs::read_to_string(root().join(file)).unwrap_or_default();
        let text = if *file == SKIPS { read(SKIPS) } else { read(SKIPS) + &read(file) };
        let expected: Vec<&str> =
            text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
        for skip in &totals.skipped {
            println!("skipped: {skip}");
            if !expected.iter().any(|line| skip.starts_with(line)) {
                unexpected.push(*file);
            }
        }
    }
    let sum = |count: fn(&Totals) -> u64| runs.iter().map(|(totals, _)| count(totals)).sum::<u64>();
    let (passed, failed) = (sum(|totals| totals.passed), sum(|totals| totals.failed));
    println!("{passed} passed, {failed} failed, {} skipped", sum(|totals| totals.skipped.len() as u64));
    if failed > 0 {
        return Err(format!("{failed} tests failed"));
    }
    match unexpected.first() {
        Some(file) if is_root() => {
            Err(format!("{} tests were skipped that {file} does not name", unexpected.len()))
        }
        _ => Ok(()),
    }
}

pub fn step(name: &str, mut work: impl FnMut() -> Result) -> Result {
    println!("== {name}");
    let begun = Instant::now();
    let done = work();
    println!(
        "== {name}: {} after {:.1} s",
        if done.is_ok() { "done" } else { "FAILED" },
        begun.elapsed().as_secs_f64()
    );
    done
}

/// Each target for a second, or a minute.
fn fuzz(extent: Extent) -> Result {
    let seconds = if extent == Extent::All { "60" } else { "1" };
    let mut targets = Command::new("cargo");
    targets.args(["run", "--quiet", "--locked", "--package", "sept-fuzz"]).env("SEPT_FUZZ_SECONDS", seconds);
    sh(targets.current_dir(root()))
}

fn cargo(args: &[&str]) -> Result {
    sh(Command::new("cargo").args(args).current_dir(root()))
}

/// Installs what is missing, and says so before it does. The ordinary user's name, as root.
fn prepare() -> Result<Option<String>> {
    let missing: Vec<_> =
        NEEDED.iter().filter(|(program, ..)| !has(program) && !Path::new(program).is_dir()).collect();
    for (program, package, what) in &missing {
        println!("missing: {program} (package {package}), for {what}");
    }
    if !is_root() {
        println!("not root: nothing is installed, and the tests run as this user only");
        return Ok(None);
    }
    if !missing.is_empty() && has("apt-get") {
        println!("installing these packages with apt-get");
        sh(Command::new("apt-get").args(["update", "-qq"]))?;
        let mut install = Command::new("apt-get");
        install
            .args(["install", "-y", "-qq", "--no-install-recommends"])
            .env("DEBIAN_FRONTEND", "noninteractive");
        sh(install.args(missing.iter().map(|(_, package, _)| package)))?;
    }
    let musl = format!("{}-unknown-linux-musl", std::env::consts::ARCH);
    if has("rustup") && !crate::dist::has_target(&musl) {
        println!("adding the target {musl}, for the static executable");
        if let Err(why) = sh(Command::new("rustup").args(["target", "add", &musl])) {
            println!("it can't be had ({why}); the executable will be static with glibc");
        }
    }
    if output(Command::new("id").args(["-u", USER])).is_none() {
        println!("adding the user {USER}, with subordinate ids, for the tests as an ordinary user");
        sh(Command::new("useradd").args(["--create-home", "--shell", "/bin/sh", USER]))?;
    }
    if !fs::read_to_string("/etc/subuid").unwrap_or_default().contains(&format!("{USER}:")) {
        let ranges = ["--add-subuids", "300000-365535", "--add-subgids", "300000-365535", USER];
        sh(Command::new("usermod").args(ranges))?;
    }
    Ok(Some(USER.to_owned()))
}

/// Runs tests, shows what they print, and counts. A failure is counted, and told at the end.
fn count(command: &mut Command, totals: &mut Totals) -> Result {
    // One pipe for both streams: a skip is told on standard error.
    let (reader, writer) = std::io::pipe().map_err(|error| error.to_string())?;
    let second = writer.try_clone().map_err(|error| error.to_string())?;
    let spawned = command.stdout(writer).stderr(second).spawn();
    let mut child = spawned.map_err(|error| format!("{command:?}: {error}"))?;
    // The command holds our ends of the pipe until it is told otherwise.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    for line in BufReader::new(reader).lines() {
        let line = line.map_err(|error| error.to_string())?;
        println!("{line}");
        note(&line, totals);
    }
    let status = child.wait().map_err(|error| error.to_string())?;
    // A test binary that crashed prints no result.
    if !status.success() && totals.failed == 0 {
        totals.failed += 1;
    }
    if totals.failed > 0 { Err(format!("{} tests failed", totals.failed)) } else { Ok(()) }
}

pub fn note(line: &str, totals: &mut Totals) {
    if let Some(skip) = line.split("skipped: ").nth(1) {
        totals.skipped.push(skip.to_owned());
    }
    if let Some(result) = line.split("test result: ").nth(1) {
        let number = |word: &str| {
            let before = result.split(word).next()?;
            before.split_ascii_whitespace().last()?.parse::<u64>().ok()
        };
        totals.passed += number(" passed").unwrap_or(0);
        totals.failed += number(" failed").unwrap_or(0);
    }
}

/// Copies a file into a directory, under its own name.
fn copy_into(dir: &Path, file: &Path) -> Result<PathBuf> {
    let to = dir.join(file.file_name().ok_or("a path without a name")?);
    fs::copy(file, &to).map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(to)
}

/// The compiled tests again, from where an ordinary user may reach them.
fn as_user(user: &str, totals: &mut Totals) -> Result {
    let dir = Scratch::new()?;
    fs::set_permissions(&dir.0, fs::Permissions::from_mode(0o755)).map_err(|error| error.to_string())?;
    let sept = copy_into(&dir.0, &target().join("debug/sept"))?;
    for test in executables(&[])? {
        let copy = copy_into(&dir.0, &test.executable)?;
        println!("-- {}", copy.file_name().unwrap_or_default().to_string_lossy());
        // env(1) after setpriv: --reset-env leaves nothing of ours.
        let mut run = Command::new("setpriv");
        run.args(["--reuid", user, "--regid", user, "--init-groups", "--reset-env", "env"]);
        run.arg(format!("SEPT_BIN={}", sept.display())).arg(copy).arg("--nocapture").current_dir(&dir.0);
        count(&mut run, totals)?;
    }
    Ok(())
}

/// A test: its source, and the executable of it.
pub struct Test {
    pub source: String,
    pub executable: PathBuf,
}

/// The integration tests, by cargo's own word, built with these options.
pub fn executables(options: &[&str]) -> Result<Vec<Test>> {
    let mut cargo = Command::new("cargo");
    cargo.args(["test", "--locked", "--workspace", "--tests", "--no-run", "--message-format=json"]);
    cargo.args(options);
    let text = output(cargo.current_dir(root()).stderr(Stdio::null())).ok_or("cargo test --no-run failed")?;
    let field = |line: &str, name: &str| {
        let rest = line.split(&format!("\"{name}\":\"")).nth(1)?;
        Some(rest.split('"').next()?.to_owned())
    };
    let test = |line: &str| {
        Some(Test { source: field(line, "src_path")?, executable: field(line, "executable")?.into() })
    };
    // floors reads the sources, which are where they are.
    let tests = text.lines().filter(|line| line.contains("\"kind\":[\"test\"]"));
    Ok(tests.filter_map(test).filter(|test| !test.source.ends_with("/floors.rs")).collect())
}
