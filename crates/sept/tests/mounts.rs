//! Mounts as only the library can ask for them.

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
    let flags = |access, words: &str| {
        let mut command = inside("grep", &["-F", " /mnt/b ", "/proc/self/mountinfo"]);
        command.mount(Mount::file_system("tmpfs", None, "/mnt").options(options("nodev,noatime")));
        command.mount(Mount::directory("/mnt/b", 0o755));
        let bind = Mount::bind("/mnt", "/mnt/b", access);
        command.mount(if words.is_empty() { bind } else { bind.options(options(words)) });
        printed(&mut command).split(' ').nth(5).expect("attributes").to_owned()
    };
    assert_eq!(flags(Access::Unchanged, ""), "rw,nodev,noatime");
    assert_eq!(flags(Access::Unchanged, "bind,ro,dev"), "ro,noatime");
    assert_eq!(flags(Access::Unchanged, "rbind,rro,relatime"), "ro,nodev,relatime");
    assert_eq!(flags(Access::ReadWrite, ""), "rw,nosuid,nodev,noatime");
    assert_eq!(flags(Access::ReadWrite, "suid"), "rw,nodev,noatime");
}
