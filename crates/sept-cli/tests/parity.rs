//! The same command line to unshare(1) and to `sept run` gives the same facts.

mod common;

use common::{host, is_root, need, run, stdout};

/// Ids, maps, capability sets and limits as the kernel tells them inside.
const FACTS: &str = "id -u; id -g; cat /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups; \
                     grep -E '^(Cap|Seccomp:)' /proc/self/status; echo $$ | grep -x 1; hostname; pwd; umask; \
                     tail -n +3 /proc/self/net/dev | cut -d: -f1";

/// Runs both and compares what they print.
fn same(unshare: &[&str], sept: &[&str]) {
    let theirs = host("unshare", &[unshare, &["sh", "-c", FACTS]].concat());
    let ours = stdout(&run(&[sept, &["--no-new-privs=no", "--", "sh", "-c", FACTS]].concat()));
    assert!(!theirs.is_empty(), "unshare {unshare:?} says nothing");
    assert_eq!(ours, theirs, "sept run {sept:?} against unshare {unshare:?}");
}

#[test]
fn maps_and_rights_are_those_of_unshare() {
    if !need("maps_and_rights_are_those_of_unshare", &["unshare"]) {
        return;
    }
    same(&["-Ur"], &["-Ur"]);
    same(&["-U", "--map-current-user"], &["-U", "-c"]);
    same(&["-U", "--map-user=1234", "--map-group=1235"], &["-U", "--map-user=1234", "--map-group=1235"]);
}

#[test]
fn every_namespace_shows_what_unshares_does() {
    if !need("every_namespace_shows_what_unshares_does", &["unshare"]) {
        return;
    }
    for option in ["-Urm", "-Uru", "-Uri", "-Urn", "-UrC"] {
        same(&[option], &[option]);
    }
    same(&["-Urpf"], &["-Urp"]);
    same(&["-Urmpuin", "-f", "--mount-proc"], &["-Urmpuin"]);
}

#[test]
fn root_without_a_user_namespace_is_the_same_root() {
    if !is_root() {
        eprintln!(
            "skipped: root_without_a_user_namespace_is_the_same_root: only root can make these namespaces"
        );
        return;
    }
    same(&["-m"], &["-m"]);
    same(&["-mpuinf", "--mount-proc"], &["-mpuin"]);
}

#[test]
fn exit_codes_are_those_of_unshare() {
    if !need("exit_codes_are_those_of_unshare", &["unshare"]) {
        return;
    }
    for script in ["exit 0", "exit 42", "exit 255"] {
        let theirs = std::process::Command::new("unshare").args(["-Urpf", "sh", "-c", script]).status();
        let ours = run(&["-Urp", "sh", "-c", script]).status;
        assert_eq!(ours.code(), theirs.expect("unshare starts").code(), "{script}");
    }
}
