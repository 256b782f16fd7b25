//! Mounts as only the library can ask for them.

use std::collections::BTreeSet;

use sept::{Access, Command, Device, DeviceType, Error, Mount, MountOptions, Namespace};

fn inside(program: &str, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(args).unshare([Namespace::User, Namespace::Mount]).map_root();
    command
}

fn printed(command: &mut Command) -> String {
    let output = command.output().expect("the command starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn options(words: &str) -> MountOptions {
    MountOptions::parse(words).expect("options")
}

#[test]
fn a_device_that_is_another_one_is_not_bound() {
    let device = |kind, minor| Device { kind, major: 1, minor, mode: 0o666, uid: 0, gid: 0 };
    for (wrong, right) in [
        (device(DeviceType::Character, 5), false),
        (device(DeviceType::Block, 3), false),
        (device(DeviceType::Character, 3), true),
    ] {
        let mut command = inside("true", &[]);
        command.mount(Mount::device("/dev/null", "/etc/passwd", wrong));
        match command.status() {
            Ok(status) => assert!(right && status.success(), "{wrong}"),
            Err(Error::Step { errno, .. }) => assert!(!right && errno == libc::ENODEV, "{wrong}"),
            Err(other) => panic!("{wrong}: {other}"),
        }
    }
    // A link in the place of a device leads to something else, which is told.
    let mut command = inside("true", &[]);
    command.mount(Mount::device("/etc/passwd", "/etc/passwd", device(DeviceType::Character, 3)));
    assert!(command.status().is_err_and(|error| error.raw_os_error() == Some(libc::ENODEV)));
}

#[test]
fn a_named_pipe_is_made_for_everybody() {
    let pipe = Device { kind: DeviceType::Fifo, major: 0, minor: 0, mode: 0o640, uid: 0, gid: 0 };
    let mut command = inside("stat", &["-c", "%F %a", "/mnt/a/pipe"]);
    command.mount(Mount::tmpfs("/mnt")).mount(Mount::device("/dev/null", "/mnt/a/pipe", pipe));
    assert_eq!(printed(&mut command), "fifo 640");
}

#[test]
fn a_bind_that_changes_nothing_changes_nothing() {
    let words = |line: &str| {
        let field = line.split(' ').nth(5).expect("attributes").split(',').map(str::to_owned);
        field.collect::<BTreeSet<String>>()
    };
    let with = |access, asked: &str| {
        let mut command = inside("grep", &["-F", " /mnt ", "/proc/self/mountinfo"]);
        let bind = Mount::bind("/usr", "/mnt", access);
        command.mount(if asked.is_empty() { bind } else { bind.options(options(asked)) });
        words(&printed(&mut command))
    };
    let (unchanged, written) = (with(Access::Unchanged, ""), with(Access::ReadWrite, ""));
    let mountinfo = std::fs::read_to_string("/proc/self/mountinfo").expect("it can be read");
    // The mount that /usr is on, as the host has it: the last of the longest place.
    let place = |line: &&str| line.split(' ').nth(4).is_some_and(|place| matches!(place, "/" | "/usr"));
    let host = mountinfo.lines().filter(place).max_by_key(|line| line.split(' ').nth(4).map(str::len));
    assert_eq!(unchanged, words(host.expect("/usr is somewhere")));
    let set = |flags: &[&str]| flags.iter().map(|flag| (*flag).to_owned()).collect::<BTreeSet<String>>();
    assert_eq!(&written - &unchanged, &set(&["nosuid", "nodev"]) - &unchanged);
    assert_eq!(&with(Access::ReadWrite, "suid") - &unchanged, &set(&["nodev"]) - &unchanged);
    assert!(with(Access::Unchanged, "bind,ro,noexec").is_superset(&set(&["ro", "noexec"])));
    assert!(with(Access::Unchanged, "rbind,rro,rnoexec,nodev").is_superset(&set(&["ro", "noexec", "nodev"])));
}
