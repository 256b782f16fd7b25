//! The tests of the command line, in the guest.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::machine::Guest;
use super::{Release, quoted, ready, recipe};
use crate::test::{Test, Totals, executables, judge, note, step};
use crate::{Result, Scratch, has, output, sh, target};

/// The skips that the guest may have.
pub const SKIPS: &str = "xtask/expected-skips-vm.txt";

/// What runs there.
pub const TESTS: [&str; 9] =
    ["vm", "mission", "cli", "confine", "limits", "advice", "seccomp", "files", "hazards"];

/// What runs there in every run: what only such a host has, and the first things.
pub const PLAIN: [&str; 4] = ["vm", "mission", "confine", "limits"];

/// All of it takes minutes where it takes seconds outside.
const LIMIT: Duration = Duration::from_secs(1500);

/// `cargo xtask vm test`: these tests, or all.
pub fn alone(release: Release, names: &[&str]) -> Result {
    if let Some(unknown) = names.iter().find(|name| !TESTS.contains(name)) {
        return Err(format!("there is no test {unknown} for the guest; there are {}", TESTS.join(", ")));
    }
    let guest = ready(release)?;
    let mut totals = Totals::default();
    let names = if names.is_empty() { TESTS.as_slice() } else { names };
    let told = step(&format!("tests in {}", release.name()), || run(release, &guest, names, &mut totals));
    judge(&[(&totals, SKIPS)])?;
    told
}

/// Runs these tests, as both users, and counts.
pub fn run(release: Release, guest: &Guest, names: &[&str], totals: &mut Totals) -> Result {
    let job = Scratch::new()?;
    let (sept, tests) = built(release)?;
    stripped(&sept, &job.0.join("sept"))?;
    let mut script = "failed=0\n".to_owned();
    for name in names {
        let sources = ["", "/main"].map(|file| format!("/sept-cli/tests/{name}{file}.rs"));
        let test = tests.iter().find(|test| sources.iter().any(|source| test.source.ends_with(source)));
        let test = test.ok_or_else(|| format!("cargo built no test {name}"))?;
        stripped(&test.executable, &job.0.join(name))?;
    }
    for user in ["root", recipe::USER] {
        for name in names {
            script += &line(user, name);
        }
    }
    script += "exit $failed\n";
    fs::write(job.0.join("run"), script).map_err(|error| error.to_string())?;
    let status = guest.run(&job.0, LIMIT, |line| {
        let line = String::from_utf8_lossy(line);
        print!("{line}");
        note(line.trim_end(), totals);
    })?;
    // A test that crashed prints no result.
    if status != 0 && totals.failed == 0 {
        totals.failed = 1;
    }
    if totals.failed > 0 { Err(format!("{} tests failed", totals.failed)) } else { Ok(()) }
}

/// One test of one user in the script. An ordinary one has a session, as after a log-in.
fn line(user: &str, name: &str) -> String {
    let test = format!("cd /job && SEPT_VM=1 SEPT_BIN=/job/sept timeout 600 ./{name} --nocapture");
    format!("echo '-- {name} as {user}'\nsu -l {user} -c {} || failed=1\n", quoted(&test))
}

/// sept and the tests, so that they run with the guest's glibc: as they are if this host's is not later, else static.
fn built(release: Release) -> Result<(PathBuf, Vec<Test>)> {
    if glibc().is_some_and(|own| own <= release.glibc()) {
        return Ok((target().join("debug/sept"), executables(&[])?));
    }
    let musl = format!("{}-unknown-linux-musl", std::env::consts::ARCH);
    if !crate::dist::has_target(&musl) {
        return Err(format!(
            "this host's glibc is later than the guest's, and there is no target {musl} (rustup target add {musl})"
        ));
    }
    println!("building for {musl}, as this host's glibc is later than the guest's");
    Ok((target().join(&musl).join("debug/sept"), executables(&["--target", &musl])?))
}

fn glibc() -> Option<(u32, u32)> {
    let text = output(Command::new("getconf").arg("GNU_LIBC_VERSION"))?;
    let (major, minor) = text.strip_prefix("glibc ")?.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// A copy without what debuggers want: the guest reads it slowly.
fn stripped(from: &Path, to: &Path) -> Result {
    if has("strip") {
        return sh(Command::new("strip").arg("-o").arg(to).arg(from).stdout(Stdio::null()));
    }
    fs::copy(from, to).map(drop).map_err(|error| format!("{}: {error}", from.display()))
}
