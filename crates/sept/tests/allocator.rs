//! The child never allocates: an allocator that aborts in it.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicI32, Ordering};

use sept::seccomp::{Action, Policy, Rule};
use sept::{Command, Mount, Namespace};

struct Guard;

static OWN: AtomicI32 = AtomicI32::new(0);

fn check() {
    let own = OWN.load(Ordering::Relaxed);
    // SAFETY: takes nothing and can't fail.
    if own != 0 && own != unsafe { libc::getpid() } {
        // SAFETY: ends the child with a status that no step has.
        unsafe { libc::_exit(77) };
    }
}

// SAFETY: all is passed on to the system's allocator.
unsafe impl GlobalAlloc for Guard {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        check();
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        check();
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Guard = Guard;

#[test]
fn the_child_never_allocates() {
    // SAFETY: takes nothing and can't fail.
    OWN.store(unsafe { libc::getpid() }, Ordering::Relaxed);
    let data = std::fs::File::open("/etc/passwd").expect("it can be read");
    let rich = || {
        let mut command = Command::new("true");
        command
            .unshare(Namespace::ALL)
            .map_root()
            .hostname("x")
            .loopback()
            .root("/")
            .read_only()
            .no_devices();
        command.mount(Mount::proc("/proc")).mount(Mount::dev("/dev")).mount(Mount::tmpfs("/tmp"));
        command.mount(Mount::bind("/etc/passwd", "/tmp/a/b", sept::Access::ReadOnly));
        let options = |words: &str| sept::MountOptions::parse(words).expect("options");
        command.mount(Mount::file_system("tmpfs", None, "/mnt").options(options("size=64k,sync,shared")));
        command.mount(Mount::bind("/etc", "/mnt/a", sept::Access::Unchanged).options(options("rro,private")));
        command.mount(Mount::remount("/mnt").options(options("noexec,size=128k")));
        let kind = sept::DeviceType::Character;
        let null = sept::Device { kind, major: 1, minor: 3, mode: 0o666, uid: 0, gid: 0 };
        command.mount(Mount::device("/dev/null", "/mnt/null", null));
        command.mount(Mount::bind_data(data.as_raw_fd(), "/mnt/data", 0o600, sept::Access::ReadOnly));
        command.no_new_privs().refuse_terminal_injection().refuse_cgroup_namespaces();
        command.keep_fds([]).current_dir_or_root("/nowhere");
        command
    };
    assert!(rich().status().expect("it runs").success());
    assert!(rich().init().status().expect("it runs with a reaper").success());
    let parked = rich().park().expect("it parks");
    assert!(parked.start().expect("it starts").wait().expect("it ends").success());
    // Other ids, for which only root needs no helper.
    if rustix::process::geteuid().is_root() {
        let mut other = Command::new("true");
        other.unshare(Namespace::ALL).map_uid(0, 100_000, 10).map_gid(0, 100_000, 10).uid(0).gid(0);
        other.read_only().no_devices().mount(Mount::dev("/dev")).mount(Mount::mask("/etc/passwd"));
        assert!(other.status().expect("it runs").success());
    }
    let rule = Rule { calls: vec!["execve".into()], conditions: vec![], action: Action::Notify };
    let asking = Policy { rules: vec![rule], ..Policy::container() }.compile().expect("it compiles");
    let mut asked = rich().seccomp(asking).seccomp_listener().spawn().expect("it starts with a listener");
    assert!(asked.wait().expect("it ends").success());
    let missing = Command::new("/no/such/program").unshare(Namespace::ALL).map_root().status();
    assert_eq!(missing.expect_err("there is none").exit_code(), 127);
    let refused = rich().mount(Mount::tmpfs("/no/such/place")).status();
    assert!(matches!(refused, Err(sept::Error::Step { .. })), "{refused:?}");
}
