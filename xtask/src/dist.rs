//! One static executable, stripped.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Result, output, root, sh, target};

/// Builds `target/dist/bin/sept`, with its manual pages and completions, and tells which libc it has.
pub fn run() -> Result<(PathBuf, &'static str)> {
    let arch = std::env::consts::ARCH;
    let musl = format!("{arch}-unknown-linux-musl");
    let (triple, libc, flags) = if has_target(&musl) {
        (musl, "musl", None)
    } else {
        println!("the target {musl} is not installed (rustup target add {musl}): using glibc, static");
        (
            format!("{arch}-unknown-linux-gnu"),
            "glibc (crt-static)",
            Some("-Ctarget-feature=+crt-static".to_owned()),
        )
    };
    let flags: Vec<_> = flags.into_iter().chain(linker()).collect();
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--locked", "--profile", "dist", "--package", "sept-cli", "--target", &triple]);
    sh(cargo.current_dir(root()).env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}")))?;
    let built = target().join(&triple).join("dist/sept");
    let bin = target().join("dist/bin");
    fs::create_dir_all(&bin).map_err(|error| format!("{}: {error}", bin.display()))?;
    let placed = bin.join("sept");
    fs::copy(&built, &placed).map_err(|error| format!("{}: {error}", built.display()))?;
    let file = fs::read(&placed).map_err(|error| format!("{}: {error}", placed.display()))?;
    if has_interpreter(&file) {
        return Err(format!("{} is not static: it has an ELF interpreter", placed.display()));
    }
    println!("{}: {} KiB, static, {libc}", placed.display(), file.len() / 1024);
    pages(&placed)?;
    Ok((placed, libc))
}

/// The flags for the toolchain's own lld, where it has one: what it lays out takes a start five page faults, some 10 µs, less
/// than GNU ld's.
fn linker() -> Vec<String> {
    let dir = output(Command::new("rustc").args(["--print", "target-libdir"]))
        .map(|lib| Path::new(lib.trim()).with_file_name("bin").join("gcc-ld"))
        .filter(|dir| dir.join("ld.lld").is_file());
    let flags =
        |dir: PathBuf| vec![format!("-Clink-arg=-B{}", dir.display()), "-Clink-arg=-fuse-ld=lld".to_owned()];
    dir.map(flags).unwrap_or_default()
}

const COMMANDS: [&str; 12] = [
    "run",
    "unshare",
    "enter",
    "pin",
    "unpin",
    "ls",
    "diff",
    "doctor",
    "seccomp",
    "tour",
    "completions",
    "man",
];

/// The manual pages and completions, printed by the executable itself.
fn pages(sept: &Path) -> Result {
    let write = |dir: &str, name: &str, words: &[&str]| -> Result {
        let dir = target().join("dist").join(dir);
        fs::create_dir_all(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
        let printed = Command::new(sept).args(words).output().map_err(|error| error.to_string())?;
        if !printed.status.success() {
            return Err(format!("{words:?}: {}", String::from_utf8_lossy(&printed.stderr)));
        }
        let path = dir.join(name);
        fs::write(&path, printed.stdout).map_err(|error| format!("{}: {error}", path.display()))
    };
    write("man", "sept.1", &["man"])?;
    for command in COMMANDS {
        write("man", &format!("sept-{command}.1"), &["man", command])?;
    }
    for (shell, name) in
        [("bash", "sept.bash"), ("zsh", "_sept"), ("fish", "sept.fish"), ("elvish", "sept.elv")]
    {
        write("completions", name, &["completions", shell])?;
    }
    println!("{} manual pages, completions of 4 shells", COMMANDS.len() + 1);
    Ok(())
}

/// Whether this toolchain can build for the target.
pub fn has_target(triple: &str) -> bool {
    output(Command::new("rustc").args(["--print", "sysroot"]))
        .is_some_and(|sysroot| Path::new(&sysroot).join("lib/rustlib").join(triple).join("lib").is_dir())
}

/// Whether a 64-bit ELF file has a PT_INTERP header.
fn has_interpreter(file: &[u8]) -> bool {
    let number = |at: usize, size: usize| {
        let bytes = file.get(at..at + size).unwrap_or_default();
        bytes.iter().rev().fold(0_usize, |sum, byte| sum << 8 | usize::from(*byte))
    };
    let (table, size, count) = (number(32, 8), number(54, 2), number(56, 2));
    (0..count).any(|n| number(table + n * size, 4) == 3)
}
