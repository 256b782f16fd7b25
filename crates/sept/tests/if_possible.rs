//! What is given up, and what is not: with steps that fail on purpose.

use sept::{Access, Command, Landlock, Layer, Mount, Namespace, PathAccess, Plan, PortAccess, Scope};

const EPERM: i32 = 1;
const ENOENT: i32 = 2;
const EMFILE: i32 = 24;

fn command() -> Command {
    let mut command = Command::new("true");
    command
        .unshare([Namespace::User, Namespace::Mount, Namespace::Pid, Namespace::Net])
        .map_root()
        .loopback();
    command.mount(Mount::proc("/proc")).mount(Mount::tmpfs("/mnt"));
    command
}

/// The number of the first step that is printed so, from 1.
fn step(plan: &Plan, text: &str) -> usize {
    plan.steps.iter().position(|step| step.to_string().starts_with(text)).expect("the step is there") + 1
}

fn layers(command: &Command) -> Vec<Layer> {
    command.missing().iter().map(|missing| missing.layer).collect()
}

#[test]
fn nothing_is_given_up_that_was_not_declared() {
    let mut command = command();
    let at = step(&command.plan().expect("a plan"), "mount proc");
    command.inject_fault(at, EPERM).if_possible([Layer::Sys, Layer::Landlock]);
    let error = command.status().expect_err("the step fails");
    assert_eq!((error.layer(), layers(&command)), (Some(Layer::Proc), vec![]));
}

#[test]
fn a_layer_that_fails_is_given_up_and_on_record() {
    for (text, layer) in [
        ("mount proc", Layer::Proc),
        ("map user ids", Layer::Kind(Namespace::User)),
        ("begin to make a net namespace", Layer::Kind(Namespace::Net)),
        ("move to the new net namespace", Layer::Kind(Namespace::Net)),
    ] {
        let mut command = command();
        let plan = command.plan().expect("a plan");
        command.inject_fault(step(&plan, text), EPERM).if_possible([layer]);
        // The next try may fail at the step that is now there.
        let ended = command.status();
        assert_eq!(layers(&command), [layer], "{text}: {ended:?}");
        let missing = &command.missing()[0];
        assert!(missing.why.contains("operation not permitted") && !missing.instead.is_empty(), "{missing}");
    }
}

#[test]
fn below_the_present_proc_there_is_no_pid_namespace() {
    let failing = || {
        let mut command = Command::new("true");
        let kinds = [Namespace::User, Namespace::Mount, Namespace::Pid];
        command.unshare(kinds).map_root().mount(Mount::proc("/mnt"));
        let at = step(&command.plan().expect("a plan"), "mount proc");
        command.inject_fault(at, EPERM);
        command
    };
    // Who owns the root may have seen to it: nobody said that process ids may be shared.
    let mut named = failing();
    named.if_possible([Layer::Proc]).status().expect_err("the bind that stands in fails, too");
    assert!(named.namespaces().contains(Namespace::Pid));
    let mut elsewhere = failing();
    elsewhere.if_possible([Layer::Proc, Layer::Kind(Namespace::Pid)]);
    // Then there is the exec.
    elsewhere.status().expect_err("exec fails on purpose");
    assert_eq!(layers(&elsewhere), [Layer::Proc]);
    assert!(elsewhere.missing()[0].instead.contains("no /proc"), "{}", elsewhere.missing()[0]);
    assert!(!elsewhere.namespaces().contains(Namespace::Pid));
}

#[test]
fn what_another_request_rests_on_stays() {
    let mut command = command();
    command.mount(Mount::tmpfs("/mnt")).if_possible([Layer::Namespaces]);
    let at = step(&command.plan().expect("a plan"), "make all mounts private");
    command.inject_fault(at, EPERM);
    let error = command.status().expect_err("the tmpfs needs the mount namespace");
    assert_eq!((error.layer(), layers(&command)), (Some(Layer::Kind(Namespace::Mount)), vec![]));
}

#[test]
fn what_is_not_there_and_what_is_used_up_is_no_missing_layer() {
    for errno in [ENOENT, EMFILE] {
        let mut command = command();
        let at = step(&command.plan().expect("a plan"), "mount proc");
        command.inject_fault(at, errno).if_possible(Layer::all());
        let error = command.status().expect_err("the step fails");
        assert_eq!((error.layer(), layers(&command)), (None, vec![]));
    }
}

#[test]
fn what_is_asked_for_instead_is_there_at_the_next_try() {
    let mut command = command();
    let at = step(&command.plan().expect("a plan"), "move to the new net namespace");
    command.inject_fault(at, EPERM).if_possible([Layer::Kind(Namespace::Net)]);
    command.instead(Layer::Kind(Namespace::Net), |command| {
        command.no_new_privs();
    });
    command.instead(Layer::Proc, |_| panic!("proc is not given up"));
    assert!(!command.plan().expect("a plan").to_string().contains("no new privileges"));
    let _ = command.status();
    assert!(command.plan().expect("a plan").to_string().contains("no new privileges"));
}

#[test]
fn landlock_goes_down_to_the_abi_that_is_there() {
    let mut command = Command::new("true");
    command.no_new_privs().landlock(Landlock {
        paths: vec![("/".into(), PathAccess::Execute)],
        ports: vec![(80, PortAccess::Connect)],
        no_ports: vec![],
        scopes: vec![Scope::Signals],
    });
    let plan = |command: &Command, abi: Option<u32>| {
        let host = sept::Host { landlock_abi: abi, ..sept::Host::caller() };
        command
            .plan_for(&host)
            .map(|plan| plan.steps.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
    };
    let error = plan(&command, Some(5)).expect_err("scopes take ABI 6");
    assert_eq!(error.layer(), Some(Layer::Landlock));
    command.if_possible([Layer::Landlock]);
    for (abi, expected) in [
        (Some(6), "(ABI 6): execute /, connect 80, no signals to others;"),
        (Some(5), "(ABI 5): execute /, connect 80;"),
        (Some(3), "(ABI 3): execute /;"),
    ] {
        let plan = plan(&command, abi).expect("a plan");
        assert!(plan.contains(expected), "{plan}");
    }
    assert!(!plan(&command, None).expect("a plan").contains("Landlock"));
}

/// A descriptor that was read has nothing left for a second try.
#[test]
fn a_start_that_has_read_a_descriptor_is_not_tried_again() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(writer);
    let fd = std::os::fd::AsRawFd::as_raw_fd(&reader);
    for mount in
        [Mount::file(fd, "/mnt/file", 0o600), Mount::bind_data(fd, "/etc/hosts", 0o600, Access::ReadOnly)]
    {
        let mut command = command();
        command.mount(Mount::tmpfs("/mnt")).mount(mount).new_session_keyring();
        let at = step(&command.plan().expect("a plan"), "begin a session keyring");
        command.inject_fault(at, EPERM).if_possible([Layer::Keyring]);
        command.status().expect_err("the step fails");
        assert_eq!(layers(&command), []);
    }
}
