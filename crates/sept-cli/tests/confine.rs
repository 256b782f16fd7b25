//! The options that take rights away, each as the kernel tells it inside.

mod common;

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};

use common::{Scratch, is_root, run, stderr, stdout};

/// A line of /proc/self/status inside, without its name.
fn status(args: &[&str], name: &str) -> String {
    let text = stdout(&run(&[args, &["cat", "/proc/self/status"]].concat()));
    let line = text.lines().find_map(|line| line.strip_prefix(name)).expect("the line is there");
    line.trim().to_owned()
}

fn sets(args: &[&str]) -> [u64; 5] {
    ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"]
        .map(|name| u64::from_str_radix(&status(args, name), 16).expect("a mask"))
}

const NET_ADMIN: u64 = 1 << 12;
const NET_RAW: u64 = 1 << 13;

#[test]
fn capabilities_are_taken_and_given_in_order() {
    assert_eq!(sets(&["--cap-drop", "all"]), [0; 5]);
    assert_eq!(
        sets(&["--cap-drop", "all", "--cap-add", "CAP_NET_ADMIN"]),
        [0, NET_ADMIN, NET_ADMIN, NET_ADMIN, 0]
    );
    assert_eq!(sets(&["--cap-add", "net_admin", "--cap-drop", "all"]), [0; 5]);
    // Another user than root has none but those that it is given.
    for (changes, own) in [(["--cap-add", "net_raw"], 1 << 13), (["--cap-drop", "net_raw"], 0)] {
        let [inheritable, permitted, effective, _, ambient] =
            sets(&[&["--map-user", "5"], &changes[..]].concat());
        assert_eq!([inheritable, permitted, effective, ambient], [own; 4], "{changes:?}");
    }
    let [inheritable, permitted, effective, bounding, ambient] = sets(&["--cap-drop", "net_raw"]);
    assert_eq!((inheritable, ambient, permitted & NET_RAW), (0, 0, 0));
    assert!(permitted == effective && effective == bounding && permitted & NET_ADMIN != 0);
}

#[test]
fn a_user_other_than_root_keeps_what_it_was_given_over_exec() {
    let given = ["--map-user", "5", "--cap-drop", "all", "--cap-add", "net_raw"];
    assert_eq!(sets(&given), [NET_RAW; 5]);
    if is_root() {
        let given = ["-S", "5", "--cap-drop", "all", "--cap-add", "net_raw"];
        assert_eq!((sets(&given), status(&given, "Uid:").starts_with("5\t")), ([NET_RAW; 5], true));
    }
}

#[test]
fn without_a_user_namespace_rights_can_only_go() {
    let dropped = ["--namespaces", "none", "--cap-drop", "all"];
    let [inheritable, permitted, effective, _, ambient] = sets(&dropped);
    assert_eq!([inheritable, permitted, effective, ambient], [0; 4]);
    if !is_root() {
        let output = run(&["--namespaces", "none", "--cap-add", "net_admin", "true"]);
        assert_eq!(output.status.code(), Some(125));
        assert!(stderr(&output).contains("capabilities can only be taken away"), "{}", stderr(&output));
    }
}

#[test]
fn securebits_are_set() {
    // By exec, which gives root nothing then.
    let added = ["-r", "--cap-drop", "all", "--cap-add", "net_raw", "--securebits", "noroot"];
    let [_, permitted, effective, ..] = sets(&added);
    assert_eq!((permitted, effective), (1 << 13, 1 << 13));
    let [_, permitted, effective, ..] = sets(&["--securebits", "noroot"]);
    assert_eq!((permitted, effective), (0, 0), "user 0 is nobody special");
}

#[test]
fn limits_are_set() {
    let text = stdout(&run(&["--rlimit", "nofile=64:65", "--rlimit", "core=0", "cat", "/proc/self/limits"]));
    let line = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).expect("a line");
        line.split_whitespace().take(2).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(
        (line("Max open files"), line("Max core file size")),
        (vec!["64".into(), "65".into()], vec!["0".into(); 2])
    );
    // The last of a kind, also above the first.
    let last = ["--rlimit", "nofile=60", "--rlimit", "nofile=70", "sh", "-c", "ulimit -n"];
    assert_eq!(stdout(&run(&last)), "70");
    let output = run(&["--rlimit", "memlock=unlimited", "true"]);
    // Without CAP_SYS_RESOURCE outside; where it is there, it works.
    assert!(output.status.success() || stderr(&output).contains("CAP_SYS_RESOURCE"), "{}", stderr(&output));
}

#[test]
fn a_session_keyring_is_begun() {
    let keys = stdout(&run(&["--new-keyring", "cat", "/proc/keys"]));
    assert!(keys.contains("_ses: empty"), "{keys}");
}

/// What a script says, and whether it could.
fn confined(args: &[&str], script: &str) -> (bool, String) {
    let output = run(&[args, &["sh", "-c", script]].concat());
    (output.status.success(), format!("{}{}", String::from_utf8_lossy(&output.stdout), stderr(&output)))
}

#[test]
fn landlock_confines_files() {
    let scratch = Scratch::new();
    let (open, closed) = (scratch.path("open"), scratch.path("closed"));
    for dir in [&open, &closed] {
        std::fs::create_dir(dir).expect("a directory can be made");
        std::fs::write(format!("{dir}/file"), "content").expect("a file can be made");
    }
    let places =
        ["/usr", "/lib", "/lib64", "/bin"].into_iter().filter(|dir| std::path::Path::new(dir).exists());
    let mut rules: Vec<&str> = places.flat_map(|dir| ["--landlock-exec", dir]).collect();
    rules.extend(["--landlock-rw", "/dev/null"]);
    // With no namespace at all, too: it is the layer that is left where those are blocked.
    for namespaces in [&[][..], &["--namespaces", "none"]] {
        let rules = [namespaces, rules.as_slice()].concat();
        let rw = [rules.as_slice(), &["--landlock-rw", &open]].concat();
        let ro = [rules.as_slice(), &["--landlock-ro", &open]].concat();
        assert!(
            confined(
                &rw,
                &format!("cat {open}/file && echo x >{open}/new && rm {open}/new && echo x >/dev/null")
            )
            .0
        );
        assert!(
            confined(&ro, &format!("cat {open}/file && ! echo x >{open}/new && ! echo x >{open}/file")).0
        );
        for rules in [&rw, &ro] {
            let (could, said) = confined(rules, &format!("cat {closed}/file"));
            assert!(!could && said.contains("ermission denied"), "{said}");
        }
        let file = format!("{closed}/file");
        let file = [rules.as_slice(), &["--landlock-ro", &file]].concat();
        assert!(confined(&file, &format!("cat {closed}/file && ! ls {closed}")).0);
    }
    let output = run(&["--landlock-ro", "/", "true"]);
    assert_eq!(output.status.code(), Some(126));
    assert!(stderr(&output).contains("--landlock-exec"), "{}", stderr(&output));
    let output = run(&["--landlock-ro", "/no/such/place", "true"]);
    assert_eq!(output.status.code(), Some(125));
    assert!(stderr(&output).contains("not there inside"), "{}", stderr(&output));
}

/// Another start of this test program, for one hidden test.
fn hidden(args: &[&str], test: &str) -> bool {
    let exe = std::env::current_exe().expect("a path");
    let exe = exe.to_str().expect("UTF-8");
    let line = [args, &[exe, "--exact", test, "--ignored", "--test-threads=1"]].concat();
    run(&line).status.success()
}

fn landlock_abi() -> u32 {
    sept::host::probe::landlock_abi().unwrap_or(0)
}

/// What the kernel's Landlock can't do is not left out when it is asked for.
fn refused_by_an_older_landlock(option: &[&str]) {
    let output = run(&[&["--share", "net"], option, &["true"]].concat());
    assert_eq!(output.status.code(), Some(125), "{}", stderr(&output));
    let said = stderr(&output);
    assert!(said.contains("Landlock") && said.contains(" fix: "), "{said}");
}

#[test]
fn landlock_confines_ports() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener");
    let port = listener.local_addr().expect("an address").port().to_string();
    let name = "SEPT_TEST_PORT";
    let connects = |rules: &[&str]| {
        let variable = format!("{name}={port}");
        hidden(&[&["--share", "net", "--env", &variable], rules].concat(), "hidden_connect")
    };
    assert!(connects(&[]));
    if landlock_abi() < 4 {
        return refused_by_an_older_landlock(&["--landlock-connect", &port]);
    }
    assert!(connects(&["--landlock-connect", &port]));
    assert!(!connects(&["--landlock-connect", "1"]) && !connects(&["--landlock-connect", "none"]));
    assert!(connects(&["--landlock-bind", "none"]), "binding is another matter");
}

#[test]
#[ignore = "runs inside"]
fn hidden_connect() {
    let port = std::env::var("SEPT_TEST_PORT").expect("a port");
    std::net::TcpStream::connect(format!("127.0.0.1:{port}")).expect("it connects");
}

/// On the host's network abstract sockets have no other guard.
#[test]
fn abstract_sockets_and_signals_stay_inside_where_the_network_is_shared() {
    let name = format!("sept-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).expect("an address");
    let _listener = UnixListener::bind_addr(&address).expect("a listener");
    let variable = format!("SEPT_TEST_SOCKET={name}");
    let connects =
        |args: &[&str]| hidden(&[&["--share", "net", "--env", &variable], args].concat(), "hidden_abstract");
    assert!(connects(&["--landlock-scope", "none"]), "it is there to be connected to");
    if landlock_abi() < 6 {
        let plan = stdout(&run(&["--share", "net", "--plan", "true"]));
        assert!(
            connects(&[]) && !plan.contains("Landlock"),
            "unasked it is left out, and the plan says so: {plan}"
        );
        return refused_by_an_older_landlock(&["--landlock-scope", "abstract-sockets"]);
    }
    assert!(!connects(&[]));
    assert!(
        connects(&["--landlock-scope", "signals"]) && !connects(&["--landlock-scope", "abstract-sockets"])
    );
    let kill = |args: &[&str]| confined(&[&["--namespaces", "none"], args].concat(), "kill -0 $PPID").0;
    assert!(kill(&["--landlock-scope", "none"]) && !kill(&[]));
    let plan = stdout(&run(&["--share", "net", "--plan", "true"]));
    assert!(plan.contains("confine by Landlock (ABI"), "{plan}");
    let plan = stdout(&run(&["--plan", "true"]));
    assert!(!plan.contains("abstract"), "a network of its own has its own: {plan}");
}

#[test]
#[ignore = "runs inside"]
fn hidden_abstract() {
    let name = std::env::var("SEPT_TEST_SOCKET").expect("a name");
    let address = SocketAddr::from_abstract_name(name).expect("an address");
    UnixStream::connect_addr(&address).expect("it connects");
}

#[test]
fn bad_words_are_refused() {
    for (args, reason) in [
        (["--cap-add", "sys_admim"], "perhaps sys_admin"),
        (["--cap-add", "x"], "capabilities(7) lists them"),
        (["--rlimit", "nofile"], "NAME=SOFT"),
        (["--rlimit", "nofile=2:1"], "above the hard one"),
        (["--rlimit", "files=2"], "no limit files"),
        (["--landlock-connect", "http"], "a port"),
        (["--landlock-scope", "all"], "abstract-sockets, signals or none"),
        (["--securebits", "root"], "noroot"),
    ] {
        let output = run(&[args.as_slice(), &["true"]].concat());
        assert!(
            output.status.code() == Some(125) && stderr(&output).contains(reason),
            "{args:?} {}",
            stderr(&output)
        );
    }
}

/// Where there is AppArmor or SELinux, tests of the second kernel see the label; where not, it is an error, not nothing.
#[test]
fn a_label_that_can_not_be_had_is_an_error() {
    for (option, module) in [("--apparmor-profile", "AppArmor"), ("--selinux-label", "SELinux")] {
        let output = run(&[option, "sept_no_such_profile", "true"]);
        assert_eq!(output.status.code(), Some(125), "{option}");
        assert!(stderr(&output).contains(module) && stderr(&output).contains("fix:"), "{}", stderr(&output));
        assert_eq!(run(&[option, "", "true"]).status.code(), Some(125), "{option}");
    }
}
