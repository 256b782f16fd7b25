//! The programs of the host that build and run a guest, and how they come to it.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::{Result, Scratch, has, is_root, sh};

/// A program, its Debian package, and for what.
type Tool = (&'static str, &'static str, &'static str);

pub const QEMU: [Tool; 1] = [("qemu-system-x86_64", "qemu-system-x86", "the machine of the second kernel")];

pub const BUILD: [Tool; 3] = [
    ("debootstrap", "debootstrap", "the file tree of the second kernel"),
    ("mkfs.ext4", "e2fsprogs", "its disk"),
    ("setpriv", "util-linux", "ending it with us"),
];

/// Installs what is missing, and says so before it does.
pub fn install(tools: &[Tool]) -> Result {
    if std::env::consts::ARCH != "x86_64" {
        return Err(format!("the second kernel is for x86_64, and this is {}", std::env::consts::ARCH));
    }
    let missing: Vec<&Tool> = tools.iter().filter(|(program, ..)| !there(program)).collect();
    for (program, package, what) in &missing {
        println!("missing: {program} (package {package}), for {what}");
    }
    let Some((program, ..)) = missing.first() else { return Ok(()) };
    if !is_root() {
        return Err(format!("{program} is not installed, and only root installs"));
    }
    if !has("apt-get") {
        return Err(format!("{program} is not installed, and there is no apt-get"));
    }
    for (_, package, _) in &missing {
        println!("installing {package} with apt-get, which is told to remove nothing");
        one(package)?;
    }
    let left = missing.iter().find(|(program, ..)| !there(program));
    left.map_or(Ok(()), |(program, ..)| Err(format!("{program} can't be found after all")))
}

fn there(program: &str) -> bool {
    has(program) || ["/usr/sbin", "/sbin"].iter().any(|dir| Path::new(dir).join(program).is_file())
}

const INSTALL: [&str; 6] =
    ["-o", "DPkg::Lock::Timeout=300", "install", "-y", "--no-remove", "--no-install-recommends"];

/// From the configured sources, else, if that would remove something, from the backports of this release: a newer
/// package of the same source can be installed already, and an older one does not go with it.
fn one(package: &str) -> Result {
    let mut update = apt(&[]);
    sh(update.args(["update", "-qq"]))?;
    if would(&mut apt(&[]), &[package]) {
        return sh(apt(&[]).args(INSTALL).args(["-qq", package]).stdout(Stdio::null()));
    }
    let codename = codename()?;
    let scratch = Scratch::new()?;
    let lists = Lists::new(&scratch.0, &codename)?;
    println!("the configured sources have none that can be added; trying {codename}-backports");
    sh(apt(&lists.options()).args(["update", "-qq"]))?;
    let target = format!("{codename}-backports");
    if !would(&mut apt(&lists.options()), &["-t", &target, package]) {
        return Err(format!("{package} can't be installed without removing others"));
    }
    let mut install = apt(&lists.options());
    sh(install.args(INSTALL).args(["-qq", "-t", &target, package]).stdout(Stdio::null()))
}

fn apt(options: &[String]) -> Command {
    let mut apt = Command::new("apt-get");
    apt.args(options).env("DEBIAN_FRONTEND", "noninteractive");
    apt
}

fn would(apt: &mut Command, words: &[&str]) -> bool {
    apt.args(INSTALL).arg("-s").args(words).stdout(Stdio::null()).stderr(Stdio::null());
    apt.status().is_ok_and(|status| status.success())
}

fn codename() -> Result<String> {
    let text = fs::read_to_string("/etc/os-release").map_err(|error| error.to_string())?;
    let field = |name: &str| {
        text.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim_matches('"'))
    };
    match (field("ID="), field("VERSION_CODENAME=")) {
        (Some("debian"), Some(codename)) => Ok(codename.to_owned()),
        _ => Err("this is no Debian, whose backports could be asked".to_owned()),
    }
}

/// Sources of our own, beside those of the host, which stay as they are.
struct Lists<'a>(&'a Path);

impl<'a> Lists<'a> {
    fn new(dir: &'a Path, codename: &str) -> Result<Self> {
        let text = format!(
            "Types: deb\nURIs: {}\nSuites: {codename} {codename}-updates {codename}-backports\nComponents: main\n\
             Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n",
            super::recipe::mirror()
        );
        let made = fs::create_dir_all(dir.join("sources"))
            .and_then(|()| fs::create_dir_all(dir.join("lists/partial")))
            .and_then(|()| fs::write(dir.join("sources/debian.sources"), text));
        made.map_err(|error| format!("{}: {error}", dir.display()))?;
        Ok(Self(dir))
    }

    fn options(&self) -> Vec<String> {
        let dir = self.0.display();
        [
            "Dir::Etc::sourcelist=/dev/null".to_owned(),
            format!("Dir::Etc::sourceparts={dir}/sources"),
            format!("Dir::State::lists={dir}/lists"),
            // Its own user downloads, and may not enter our directory.
            "APT::Sandbox::User=root".to_owned(),
        ]
        .into_iter()
        .flat_map(|option| ["-o".to_owned(), option])
        .collect()
    }
}
