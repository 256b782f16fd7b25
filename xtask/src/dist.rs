//! One static executable, stripped.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Result, output, root, sh, target};

/// Builds `target/dist/bin/sept` and tells which libc it has.
pub fn run() -> Result<(PathBuf, &'static str)> {
    let arch = std::env::consts::ARCH;
    let musl = format!("{arch}-unknown-linux-musl");
    let (triple, libc, flags) = if has_target(&musl) {
        (musl, "musl", "")
    } else {
        println!("the target {musl} is not installed (rustup target add {musl}): using glibc, static");
        (format!("{arch}-unknown-linux-gnu"), "glibc (crt-static)", "-C target-feature=+crt-static")
    };
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--locked", "--profile", "dist", "--package", "sept-cli", "--target", &triple]);
    sh(cargo.current_dir(root()).env("RUSTFLAGS", flags))?;
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
    Ok((placed, libc))
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
