//! Container engines for the tests inside their containers: installed, and given a static executable.

use std::process::Command;

use crate::{Result, dist, has, is_root, root, sh, target};

/// A program and its Debian package.
const NEEDED: [(&str, &str); 6] = [
    ("podman", "podman"),
    ("crun", "crun"),
    ("dockerd", "docker.io"),
    ("busybox", "busybox-static"),
    ("ip", "iproute2"),
    ("newuidmap", "uidmap"),
];

/// Installs what is missing, and says so before it does.
pub fn install() -> Result {
    let missing: Vec<_> =
        NEEDED.iter().filter(|(program, _)| !has(program)).map(|(_, package)| *package).collect();
    if missing.is_empty() || !is_root() || !has("apt-get") {
        return Ok(());
    }
    println!(
        "installing container engines with apt-get (docker's package may start its daemon): {}",
        missing.join(" ")
    );
    sh(Command::new("apt-get").args(["update", "-qq"]))?;
    let mut install = Command::new("apt-get");
    install.args(["install", "-y", "-qq", "--no-remove", "--no-install-recommends"]);
    sh(install.args(missing).env("DEBIAN_FRONTEND", "noninteractive"))
}

/// The tests inside containers, with the executable as it is given to users.
pub fn test() -> Result {
    let musl = format!("{}-unknown-linux-musl", std::env::consts::ARCH);
    if !dist::has_target(&musl) {
        println!("the target {musl} is not installed: no static executable to be tried");
        return Ok(());
    }
    let mut build = Command::new("cargo");
    build.args(["build", "--locked", "--package", "sept-cli", "--target", &musl]);
    sh(build.current_dir(root()))?;
    let mut test = Command::new("cargo");
    test.args(["test", "--locked", "--package", "sept-cli", "--test", "engines", "--", "--nocapture"]);
    sh(test.env("SEPT_STATIC", target().join(musl).join("debug/sept")).current_dir(root()))
}
