//! Mounts as only the library can ask for them.

use std::os::fd::AsRawFd;
use std::process::ExitStatus;

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
    // The uppermost mount of a place, as mountinfo has it inside: what it allows.
    let flags = |place: &str, access, words: &str| {
        let mut command = inside("cat", &["/proc/self/mountinfo"]);
        let bind = Mount::bind("/proc", "/mnt", access);
        command.mount(if words.is_empty() { bind } else { bind.options(options(words)) });
        let text = printed(&mut command);
        let line = text.lines().rfind(|line| line.split(' ').nth(4) == Some(place));
        line.and_then(|line| line.split(' ').nth(5)).expect("it is mounted").to_owned()
    };
    let source = flags("/proc", Access::Unchanged, "");
    assert_eq!(flags("/mnt", Access::Unchanged, ""), source);
    let restricted = flags("/mnt", Access::Unchanged, "rbind,ro,nosymfollow");
    assert!(restricted.starts_with("ro,") && restricted.contains("nosymfollow"), "{restricted}");
    let own = flags("/mnt", Access::ReadWrite, "");
    assert!(own.contains("nosuid") && own.contains("nodev"), "{own}");
}

/// What only the child can tell is left to it: what it may enter, and what a mount brings, whatever the path.
#[test]
fn a_working_directory_that_is_there_inside_is_not_refused() {
    use std::os::unix::fs::PermissionsExt;
    let dir = std::env::temp_dir().join(format!("sept-directory-{}", std::process::id()));
    let (closed, link) = (dir.join("closed"), dir.join("link"));
    std::fs::create_dir_all(closed.join("inner")).expect("it can be made");
    std::os::unix::fs::symlink("/mnt", &link).expect("it can be made");
    let set = |mode| {
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(&closed, mode).expect("it can be set");
    };
    set(0);
    let start = |dir: &std::path::Path, tmpfs: Option<&str>| {
        let mut command = inside("true", &[]);
        if let Some(at) = tmpfs {
            command.mount(Mount::tmpfs(at)).mount(Mount::directory(format!("{at}/a"), 0o755));
        }
        command.current_dir(dir).status()
    };
    let entered = start(&closed.join("inner"), None);
    let led = [
        start("/usr/../mnt/a".as_ref(), Some("/mnt")),
        start("/mnt/a".as_ref(), Some("/usr/../mnt")),
        start("/mnt/a".as_ref(), link.to_str()),
        start(&link.join("a"), Some("/mnt")),
    ];
    let nowhere = [
        start("/mnt/b".as_ref(), Some("/mnt")),
        start("/not-there".as_ref(), Some("/mnt")),
        start("/not-there".as_ref(), None),
    ];
    set(0o755);
    std::fs::remove_dir_all(&dir).expect("it can be removed");
    assert!(entered.as_ref().is_ok_and(ExitStatus::success), "{entered:?}");
    assert!(led.iter().all(|done| done.as_ref().is_ok_and(ExitStatus::success)), "{led:?}");
    assert!(
        matches!(nowhere, [Err(Error::Step { .. }), Err(Error::Invalid { .. }), Err(Error::Invalid { .. })]),
        "{nowhere:?}"
    );
}

/// The kernel gives the lowest number that is free, and a caller may have moved one far above.
#[test]
fn a_descriptor_far_above_the_others_is_closed_before_the_program_is_looked_for() {
    let dir = std::fs::File::open("/usr").expect("it can be opened");
    let far = rustix::io::fcntl_dupfd_cloexec(&dir, 700).expect("a number far above");
    let link = format!("/proc/self/fd/{}/bin/true", far.as_raw_fd());
    let start = || {
        inside("/mnt/try", &[]).mount(Mount::tmpfs("/mnt")).mount(Mount::symlink(&link, "/mnt/try")).status()
    };
    assert!(start().is_err_and(|error| error.raw_os_error() == Some(libc::ENOENT)));
    rustix::io::fcntl_setfd(&far, rustix::io::FdFlags::empty()).expect("it is to be inherited");
    assert!(start().is_ok_and(|status| status.success()), "what is inherited leads there");
}
