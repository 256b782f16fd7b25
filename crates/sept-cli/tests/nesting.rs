//! sept inside sept, a chroot, bubblewrap, and the confinement of container engines; and what is given up there.

mod common;

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Output;

use common::{Scratch, has_scopes, is_root, need, path, run, sept, skip, stderr, stdout};

/// A small file tree of mount points, and the executable outside of it.
struct Lab {
    tools: Scratch,
    tree: Scratch,
}

impl Lab {
    fn new() -> Self {
        let lab = Self { tools: Scratch::new(), tree: Scratch::new() };
        common::copy_executable(&path(), &lab.tools.path("sept"));
        for dir in
            ["usr", "tmp", "proc", "sys", "dev", "opt", "mnt", "mnt/usr", "mnt/opt", "mnt/proc", "mnt/dev"]
        {
            std::fs::create_dir(lab.tree.path(dir)).expect("a directory can be made");
        }
        for link in ["bin", "sbin", "lib", "lib64"] {
            symlink(format!("usr/{link}"), lab.tree.path(link)).expect("a link can be made");
            symlink(format!("usr/{link}"), lab.tree.path(&format!("mnt/{link}")))
                .expect("a link can be made");
        }
        lab
    }

    /// The line of a run with that tree as its root: `/opt/sept` is the executable.
    fn line(&self, more: &[&str]) -> Vec<String> {
        let (tree, tools) = (self.tree.0.to_str(), self.tools.0.to_str());
        let (tree, tools) = (tree.expect("UTF-8"), tools.expect("UTF-8"));
        let base = ["--root", tree, "--ro-bind", "/usr", "/usr", "--ro-bind", tools, "/opt"];
        base.iter().chain(more).map(|word| (*word).to_owned()).collect()
    }

    fn run(&self, options: &[&str], command: &[&str]) -> Output {
        sept().arg("run").args(self.line(options)).args(command).output().expect("sept starts")
    }
}

/// A kernel without /proc/keys has no such file to be masked, and /proc/timer_list is root's.
const COVERED: [&str; 4] = ["--proc", "/proc", "--mask", "/proc/interrupts"];

/// What container engines let a container do: their filter, their capabilities, their masks.
const ENGINE: [&str; 36] = [
    "--seccomp",
    "default",
    "--no-new-privs",
    "--cap-drop",
    "all",
    "--cap-add",
    "chown",
    "--cap-add",
    "dac_override",
    "--cap-add",
    "fowner",
    "--cap-add",
    "fsetid",
    "--cap-add",
    "kill",
    "--cap-add",
    "setgid",
    "--cap-add",
    "setuid",
    "--cap-add",
    "setpcap",
    "--cap-add",
    "net_bind_service",
    "--cap-add",
    "net_raw",
    "--cap-add",
    "sys_chroot",
    "--cap-add",
    "mknod",
    "--cap-add",
    "audit_write",
    "--proc",
    "/proc",
    "--mask",
    "/proc/interrupts",
    "--init",
];

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// The report of a run that wrote it to its standard output.
fn report(output: &Output) -> serde_json::Value {
    let text = stdout(output);
    json(text.lines().last().expect("a line"))
}

fn layers(report: &serde_json::Value) -> Vec<&str> {
    let list = report["missing"].as_array().expect("a list");
    list.iter().map(|missing| missing["layer"].as_str().expect("a name")).collect()
}

#[test]
fn sept_in_sept_in_sept() {
    let sept = path();
    let show = "echo $$; cat /proc/self/uid_map; echo /proc/[0-9]*";
    let deep = stdout(&run(&[&sept, "run", &sept, "run", "sh", "-c", show]));
    assert!(deep.starts_with("1\n") && deep.ends_with("/proc/1"), "{deep}");
    let deep = stdout(&run(&["--init", &sept, "run", "--init", &sept, "run", "--init", "sh", "-c", show]));
    assert!(deep.starts_with("2\n") && deep.ends_with("/proc/1 /proc/2"), "{deep}");
    // Each has its own namespaces.
    let link = "readlink /proc/self/ns/pid";
    let nested = format!("{link}; {sept} run sh -c '{link}; {sept} run {link}'");
    let links = stdout(&run(&["sh", "-c", &nested]));
    let mut links: Vec<&str> = links.lines().collect();
    links.sort_unstable();
    links.dedup();
    assert_eq!(links.len(), 3, "{links:?}");
}

#[test]
fn a_root_in_a_root_in_a_root() {
    let lab = Lab::new();
    let tree = lab.tree.0.to_str().expect("UTF-8");
    let inner =
        ["/opt/sept", "run", "--root", "/mnt", "--ro-bind", "/usr", "/usr", "--ro-bind", "/opt", "/opt"];
    // Root's proc is read-only in part unless it is asked for, and the kernel gives none to who does not see a full one.
    // And /mnt is the root that it stands in: what is bound read-only there could be moved aside by who makes user namespaces.
    let again = ["--proc", "/proc", "--bind", "/mnt", "/mnt", "--cap-add", "sys_admin"];
    for init in [&[][..], &["--init"]] {
        let line =
            [&inner[..], &again, init, &inner, init, &["sh", "-c", "echo $$; ls /opt; echo /proc/[0-9]*"]]
                .concat();
        let seen = stdout(&lab.run(&[&["--proc", "/proc", "--bind", tree, "/mnt"], init].concat(), &line));
        let expected = if init.is_empty() { "1\nsept\n/proc/1" } else { "2\nsept\n/proc/1 /proc/2" };
        assert_eq!(seen, expected);
    }
}

#[test]
fn where_proc_is_covered_the_present_one_is_shown_if_that_is_declared() {
    let lab = Lab::new();
    let refused = lab.run(&COVERED, &["/opt/sept", "run", "true"]);
    assert_eq!(refused.status.code(), Some(125));
    let said = stderr(&refused);
    assert!(
        said.contains("cannot mount proc on /proc") && said.contains("are covered (/proc/interrupts)"),
        "{said}"
    );
    assert!(said.contains("\n  or: go on without it: --if-possible proc"), "{said}");

    let other = lab.run(&COVERED, &["/opt/sept", "run", "--if-possible", "sys,landlock", "true"]);
    assert_eq!(other.status.code(), Some(125), "only what was declared is given up");

    let declared = ["/opt/sept", "run", "--if-possible", "proc", "--report-fd", "1", "sh", "-c", "echo $$"];
    let output = lab.run(&COVERED, &declared);
    assert!(stdout(&output).starts_with("1\n"));
    let said = stderr(&output);
    assert!(
        said.starts_with("sept: without cgroup: ") && said.contains("refuses new cgroup namespaces"),
        "{said}"
    );
    let proc = "\nsept: without proc: cannot mount proc on /proc: operation not permitted (";
    assert!(said.contains(proc), "{said}");
    let report = report(&output);
    assert_eq!(layers(&report), ["cgroup", "proc"]);
    assert!(report["missing"][1]["instead"].as_str().is_some_and(|text| text.contains("present /proc")));
    let steps = report["enforced"]["steps"].to_string();
    assert!(!steps.contains("mount proc") && steps.contains("private"), "{steps}");
    assert!(report["enforced"]["namespaces"].to_string().contains("pid"));

    // Who does without namespaces does without that one, too.
    let output =
        lab.run(&COVERED, &["/opt/sept", "run", "--if-possible", "namespaces", "sh", "-c", "echo $$"]);
    assert_eq!(stdout(&output), "1", "{}", stderr(&output));

    // Under a root the present one is bound.
    let bound = ["--root", "/mnt", "--ro-bind", "/usr", "/usr", "--no-dev", "--no-sys"];
    let tree = lab.tree.0.to_str().expect("UTF-8");
    let line = [
        &["/opt/sept", "run", "--if-possible", "proc"],
        &bound[..],
        &["sh", "-c", "echo $$; cat /proc/self/comm"],
    ]
    .concat();
    let output = lab.run(&[&COVERED[..], &["--bind", tree, "/mnt"]].concat(), &line);
    assert_eq!(stdout(&output), "1\ncat");
}

/// There a process has one number for itself and another in /proc: the map must not go to somebody else.
#[test]
fn with_the_proc_of_an_outer_pid_namespace_maps_and_signals_reach_the_right_process() {
    let lab = Lab::new();
    let deep = ["/opt/sept", "run", "--if-possible", "proc"];
    let line = [&deep[..], &deep, &deep, &["cat", "/proc/self/uid_map"]].concat();
    let map = stdout(&lab.run(&COVERED, &line));
    let outer = stdout(
        &lab.run(&COVERED, &["/opt/sept", "run", "--if-possible", "proc", "cat", "/proc/self/uid_map"]),
    );
    assert_eq!(map, outer);
    // A PID 1 that leaves SIGTERM at its default is ended by sept, which looks into /proc for that.
    let script = "/opt/sept run --if-possible proc /opt/sept run --if-possible proc sleep 100 & \
                  sleep 0.5; kill $!; wait $!; echo $?";
    let ended = stdout(&lab.run(&COVERED, &["sh", "-c", script]));
    assert_eq!(ended, "143");
}

#[test]
fn where_an_engine_allows_no_namespace_the_reason_is_told() {
    let lab = Lab::new();
    let refused = lab.run(&ENGINE, &["/opt/sept", "run", "true"]);
    assert_eq!(refused.status.code(), Some(125));
    let said = stderr(&refused);
    assert!(said.contains("seccomp filter") && said.contains("--if-possible namespaces"), "{said}");
    let doctor = lab.run(&ENGINE, &["/opt/sept", "doctor", "--json"]);
    assert_eq!(doctor.status.code(), Some(1));
    let doctor = json(&String::from_utf8_lossy(&doctor.stdout));
    assert_eq!(doctor["run_works"], false);
    let user =
        doctor["findings"].as_array().expect("a list").iter().find(|finding| finding["name"] == "user");
    let user = user.expect("a finding");
    let list = doctor["findings"].to_string();
    assert!(
        list.contains("on this process already") && list.contains("root without CAP_SYS_ADMIN"),
        "{list}"
    );
    assert!(list.contains("sept run --if-possible namespaces"), "{list}");
    assert!(user["answer"] == "no" && user["reason"].to_string().contains("seccomp filter"), "{user}");
}

#[test]
fn the_last_rung_is_confined_without_namespaces() {
    let lab = Lab::new();
    let line = [
        "/opt/sept",
        "run",
        "--if-possible",
        "namespaces",
        "--rlimit",
        "nofile=64",
        "--report-fd",
        "1",
        "sh",
        "-c",
        "cat /proc/self/status; ulimit -n; chroot / true 2>/dev/null || echo confined",
    ];
    let output = lab.run(&ENGINE, &line);
    let text = stdout(&output);
    let has = |line: &str| text.lines().any(|other| other == line);
    assert!(has("NoNewPrivs:\t1") && has("Seccomp:\t2") && has("CapEff:\t0000000000000000"), "{text}");
    assert!(has("64") && has("confined"), "{text}");
    assert!(
        stderr(&output).contains("sept: without namespaces: cannot create a process"),
        "{}",
        stderr(&output)
    );
    let report = report(&output);
    assert_eq!(layers(&report), ["namespaces"]);
    let enforced = &report["enforced"];
    assert_eq!(enforced["namespaces"], json("[]"));
    assert_eq!(
        (&enforced["no_new_privs"], &enforced["seccomp"]),
        (&json("true"), &json(r#"["limits of others","default"]"#))
    );
    assert_eq!(!enforced["landlock_abi"].is_null(), has_scopes(), "{enforced}");
    // What is named is kept, as far as it is there.
    let line = ["/opt/sept", "run", "--if-possible", "namespaces", "--cap-add", "chown,sys_admin"];
    let line = [&line[..4], &["--cap-add", "chown", "grep", "CapEff", "/proc/self/status"]].concat();
    assert_eq!(stdout(&lab.run(&ENGINE, &line)), "CapEff:\t0000000000000001");
}

#[test]
fn what_another_option_rests_on_is_not_given_up() {
    let lab = Lab::new();
    let line = ["/opt/sept", "run", "--if-possible", "namespaces", "--hostname", "inner", "true"];
    let output = lab.run(&ENGINE, &line);
    assert_eq!(output.status.code(), Some(125));
    assert!(
        stderr(&output).contains("--hostname needs the uts namespace, so that it is not given up"),
        "{}",
        stderr(&output)
    );
}

/// Inside, the limits of namespaces are those of the user namespace, and root there may lower them.
fn without(kind: &str, options: &[&str], command: &str) -> Output {
    let words = options.join(" ");
    let script =
        format!("echo 0 >/proc/sys/user/max_{kind}_namespaces; exec {} run {words} {command}", path());
    run(&["sh", "-c", &script])
}

#[test]
fn a_single_kind_is_given_up_alone() {
    let refused = without("net", &[], "true");
    assert_eq!(refused.status.code(), Some(125));
    assert!(stderr(&refused).ends_with("or: go on without it: --if-possible net"), "{}", stderr(&refused));
    for declared in ["net", "ipc,net", "namespaces"] {
        let output = without("net", &["--if-possible", declared, "--report-fd", "1"], "true");
        let report = report(&output);
        assert_eq!(layers(&report), ["net"], "{declared}");
        let steps = report["enforced"]["steps"].to_string();
        assert!(!steps.contains("set lo up") && steps.contains("mount proc"), "{steps}");
        // What kept others' abstract sockets out was the network.
        assert_eq!(!report["enforced"]["landlock_abi"].is_null(), has_scopes());
    }
    let output = without("net", &["--if-possible", "ipc", ""], "true");
    assert_eq!(output.status.code(), Some(125), "only what was declared is given up");
    let output =
        without("user", &["--if-possible", "user", "--report-fd", "1"], "grep CapEff /proc/self/status");
    assert!(
        stdout(&output).starts_with("CapEff:\t0000000000000000\n"),
        "rights that ended at its border are gone"
    );
    assert_eq!(layers(&report(&output)), ["user"]);
    let output = without("uts", &["--if-possible", "uts", "--hostname", "x"], "true");
    assert!(stderr(&output).contains("--hostname needs the uts namespace"), "{}", stderr(&output));
    let output = without("user", &["--if-possible", "user", "-r"], "true");
    assert!(stderr(&output).contains("--map-root-user needs the user namespace"), "{}", stderr(&output));
}

/// The kernel does not say which, and the others stay.
#[test]
fn of_two_kinds_that_are_refused_both_are_given_up_and_no_more() {
    for declared in ["net,ipc", "namespaces"] {
        let words = format!("--if-possible {declared} --report-fd 1 true");
        let script = format!(
            "for kind in net ipc; do echo 0 >/proc/sys/user/max_${{kind}}_namespaces; done; exec {} run {words}",
            path()
        );
        let output = run(&["sh", "-c", &script]);
        let report = report(&output);
        let mut given_up = layers(&report);
        given_up.sort_unstable();
        assert_eq!(given_up, ["ipc", "net"], "{declared}: {}", stderr(&output));
    }
    let output = without("net", &["--if-possible", "ipc"], "true");
    assert!(stderr(&output).contains("--if-possible net"), "{}", stderr(&output));
}

#[test]
fn landlock_is_full_after_sixteen() {
    let sept = path();
    let deep = |options: &[&str]| {
        let one = [&[sept.as_str(), "run", "--namespaces", "none"], options].concat();
        let line: Vec<&str> = std::iter::repeat_n(one, 17).flatten().collect();
        run(&[&["--namespaces", "none"], options, &line, &["true"]].concat())
    };
    let refused = deep(&[]);
    if refused.status.success() {
        skip("landlock_is_full_after_sixteen", "this kernel's Landlock has no scopes");
        return;
    }
    let said = stderr(&refused);
    assert!(said.contains("16 times") && said.ends_with("--if-possible landlock"), "{said}");
    let told = deep(&["--if-possible", "landlock"]);
    assert!(told.status.success() && stderr(&told).contains("sept: without landlock:"), "{}", stderr(&told));
}

#[test]
fn limits_are_given_up_where_cgroups_are_not_to_be_had() {
    let limits = ["--pids", "50", "--memory", "1G"];
    // Inside a root there is no cgroup file system.
    let lab = Lab::new();
    let inner = |options: &[&str]| {
        lab.run(&["--proc", "/proc"], &[&["/opt/sept", "run"], options, &limits, &["true"]].concat())
    };
    let refused = inner(&["--if-possible", "memory"]);
    assert_eq!(refused.status.code(), Some(125));
    assert!(stderr(&refused).contains("--if-possible pids"), "{}", stderr(&refused));
    for declared in ["limits", "memory,pids"] {
        let output = inner(&["--if-possible", declared, "--report-fd", "1"]);
        // The root around it is one of those that refuse cgroup namespaces.
        assert_eq!(layers(&report(&output)), ["memory", "pids", "cgroup"]);
    }
    // What is left is still asked for: rules for devices are given up with all limits only, and that is told.
    let rule = ["--device-cgroup-rule", "c 10:229 r"];
    for more in [["--cgroup-conf", "memory.high=1G"], rule] {
        let refused = inner(&[["--if-possible", "memory,pids"], more].concat());
        assert_eq!(refused.status.code(), Some(125), "{more:?}: {}", stderr(&refused));
    }
    let output = inner(&[["--if-possible", "limits"], rule, ["--report-fd", "1"]].concat());
    let report = report(&output);
    assert_eq!(layers(&report), ["memory", "pids", "limits", "cgroup"], "{}", stderr(&output));
    assert!(report["missing"][2]["instead"].to_string().contains("no rule for device files"), "{report}");
}

#[test]
fn in_a_chroot_no_user_namespace_is_made_and_the_rest_can_be_done_without() {
    let lab = Lab::new();
    let tools = lab.tools.0.to_str().expect("UTF-8");
    let binds =
        ["--ro-bind", "/usr", "/mnt/usr", "--ro-bind", tools, "/mnt/opt", "--bind", "/proc", "/mnt/proc"];
    let tree = [["--cap-add", "sys_admin", "--proc", "/proc"].as_slice(), &binds].concat();
    let inside = |options: &[&str], command: &[&str]| {
        lab.run(&tree, &[&["/usr/sbin/chroot", "/mnt", "/opt/sept", "run"], options, command].concat())
    };
    let refused = inside(&[], &["true"]);
    assert_eq!(refused.status.code(), Some(125));
    assert!(stderr(&refused).contains("chroot"), "{}", stderr(&refused));
    let output = inside(
        &["--if-possible", "namespaces", "--report-fd", "1"],
        &["grep", "CapEff", "/proc/self/status"],
    );
    assert!(stdout(&output).starts_with("CapEff:\t0000000000000000\n"), "{}", stdout(&output));
    let report = report(&output);
    assert_eq!(layers(&report), ["user", "mount"], "{report}");
}

#[test]
fn inside_bubblewrap() {
    if !need("inside_bubblewrap", &["bwrap"]) {
        return;
    }
    let lab = Lab::new();
    // Not all of the host's tree: pins come and go there, and bwrap goes through its mounts one by one.
    let base = "--unshare-all --ro-bind /usr /usr --symlink usr/bin /bin --symlink usr/lib /lib \
                --symlink usr/lib64 /lib64 --dev /dev --proc /proc";
    let bwrap = |more: &[&str], options: &[&str]| {
        let mut command = std::process::Command::new("bwrap");
        command.args(base.split_whitespace()).arg("--ro-bind").arg(&lab.tools.0).arg("/opt").args(more);
        command.args(["/opt/sept", "run"]).args(options).args(["sh", "-c", "echo $$"]);
        command.output().expect("bwrap starts")
    };
    // As root it covers parts of the proc that it mounts.
    let plain = bwrap(&[], &[]);
    assert!(plain.status.success() || stderr(&plain).contains("--if-possible proc"), "{}", stderr(&plain));
    assert_eq!(stdout(&bwrap(&[], &["--if-possible", "proc"])), "1");
    let mut shortest = std::process::Command::new("bwrap");
    shortest.args(["--ro-bind", "/", "/"]).arg(path()).args(["run", "true"]);
    let said = stderr(&shortest.output().expect("bwrap starts"));
    assert!(said.contains("/proc is mounted read-only here") && said.contains("--proc /proc"), "{said}");
    let refused = bwrap(&["--unshare-user", "--disable-userns"], &[]);
    assert_eq!(refused.status.code(), Some(125));
    assert!(stderr(&refused).contains("user.max_"), "{}", stderr(&refused));
    let output = bwrap(&["--unshare-user", "--disable-userns"], &["--if-possible", "namespaces,proc"]);
    assert!(output.status.success() && stderr(&output).contains("sept: without "), "{}", stderr(&output));
}

#[test]
fn with_no_namespace_at_all_a_command_is_confined_by_the_other_layers() {
    let places = ["/usr", "/lib", "/lib64", "/bin"].into_iter().filter(|dir| Path::new(dir).exists());
    let mut line: Vec<&str> = places.flat_map(|dir| ["--landlock-exec", dir]).collect();
    line.extend(["--landlock-ro", "/proc", "--namespaces", "none", "--seccomp", "default", "--no-new-privs"]);
    line.extend(["--rlimit", "nofile=64", "--report-fd", "1", "sh", "-c"]);
    line.push("grep -E 'NoNewPrivs|Seccomp:' /proc/self/status; ulimit -n; cat /etc/passwd 2>&1; unshare -U true 2>&1; true");
    let output = run(&line);
    let text = stdout(&output);
    assert!(text.starts_with("NoNewPrivs:\t1\nSeccomp:\t2\n64\n"), "{text}");
    assert!(
        text.contains("/etc/passwd: Permission denied") && text.contains("Operation not permitted"),
        "{text}"
    );
    let enforced = &report(&output)["enforced"];
    assert!(
        enforced["landlock_abi"].as_u64().is_some_and(|abi| abi >= 1) && enforced["namespaces"] == json("[]")
    );
    if !is_root() {
        let status = stdout(&run(&["--namespaces", "none", "cat", "/proc/self/status"]));
        assert!(status.contains("NoNewPrivs:\t1"), "on without being asked for");
    }
}

#[test]
fn layers_are_known_by_name_and_shown_in_the_plan() {
    let plan = stdout(&run(&["--if-possible", "proc,net", "--if-possible", "seccomp", "--plan", "true"]));
    for line in
        ["if possible: proc, else the present /proc", "if possible: net, else", "if possible: seccomp, else"]
    {
        assert!(plan.contains(line), "{plan}");
    }
    let plan = json(&stdout(&run(&["--if-possible", "proc", "--plan=json", "true"])));
    assert_eq!(plan["if_possible"], json(r#"["cgroup", "proc"]"#), "of the default set, and declared");
    let plan = json(&stdout(&run(&["-UmpC", "--plan=json", "true"])));
    assert_eq!(plan["if_possible"], json("[]"), "what is named is had, or there is an error");
    for (word, hint) in
        [("prox", "perhaps proc"), ("no-new-privs", "never done without"), ("x", "there are namespaces")]
    {
        let output = run(&["--if-possible", word, "true"]);
        assert_eq!(output.status.code(), Some(125));
        assert!(stderr(&output).contains(hint), "{}", stderr(&output));
    }
}

/// Where seccomp(2) is refused, what goes with the filters is said.
/// A filter of something around that does not know a call, or does not allow it, where set-up can do without.
#[test]
fn calls_that_can_be_replaced_are() {
    if !need("calls_that_can_be_replaced_are", &["bash"]) {
        return;
    }
    let scratch = Scratch::new();
    let (policy, sept) = (scratch.path("policy.toml"), path());
    for (call, errno, options) in [
        ("close_range", "ENOSYS", ["--init", "--hostname", "x"].as_slice()),
        ("close_range", "EPERM", &["--init", "--hostname", "x"]),
        ("close_range", "EPERM", &["--read-only"]),
        ("close_range", "ENOSYS", &["--rlimit", "nofile=8"]),
        ("setns", "EPERM", &["--tmpfs", "/mnt", "--tmpfs", "/srv"]),
        ("clone3", "EPERM", &["--tmpfs", "/mnt", "--tmpfs", "/srv"]),
    ] {
        let text = format!("default = 'allow'\n[[rules]]\ncalls = ['{call}']\naction = '{errno}'\n");
        std::fs::write(&policy, text).expect("a file can be made");
        let line = ["--seccomp", &policy, &sept, "run"];
        let script = "test -e /proc/self/fd/20 || echo ran; exit 3";
        let line = [&["--keep-fd", "20"], line.as_slice(), options, &["sh", "-c", script]].concat();
        // A descriptor that is not to be there, above the new limit, too.
        let words = line.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ");
        let mut shell = std::process::Command::new("bash");
        let output = shell.args(["-c", &format!("exec 20</etc; exec '{sept}' run {}", words)]);
        let output = output.output().expect("bash starts");
        assert_eq!(output.status.code(), Some(3), "{call} {errno} {options:?}: {}", stderr(&output));
        assert_eq!(output.stdout, b"ran\n", "{call} {errno} {options:?}");
    }
}

#[test]
fn what_goes_with_the_filters_is_named() {
    let scratch = Scratch::new();
    let policy = scratch.path("policy.toml");
    let text = "default = \"allow\"\n[[rules]]\ncalls = [\"seccomp\"]\naction = \"EPERM\"\n";
    std::fs::write(&policy, text).expect("a file can be made");
    let sept = path();
    let inner = |options: &[&str]| {
        let outer = ["--no-new-privs", "--seccomp", &policy, &sept, "run", "-Um", "--read-only"];
        run(&[outer.as_slice(), options, &["echo", "ran"]].concat())
    };
    let refused = inner(&[]);
    assert_eq!(refused.status.code(), Some(125));
    assert!(stderr(&refused).contains("a filter that is on already refuses seccomp(2)"), "{refused:?}");
    let without = inner(&["--if-possible", "seccomp"]);
    assert_eq!(stdout(&without), "ran");
    assert!(stderr(&without).contains("nothing refuses new cgroup namespaces"), "{without:?}");
}

/// Whoever has written to a directory, or owns a root, would decide what confines the next command.
#[test]
fn nothing_is_given_up_for_what_others_can_bring_about() {
    let test = "nothing_is_given_up_for_what_others_can_bring_about";
    if sept::host::probe::landlock_abi().is_err() {
        skip(test, "this kernel has no Landlock");
        return;
    }
    let lab = Lab::new();
    symlink("/", lab.tree.path("loop")).expect("a link can be made");
    symlink("round", lab.tree.path("round")).expect("a link can be made");
    let refused = |output: &Output| {
        assert_eq!(output.status.code(), Some(125), "{}", stderr(output));
        assert!(!stderr(output).contains("sept: without"), "{}", stderr(output));
    };
    // A rule whose path leads into what is mounted, and one that leads nowhere.
    for rule in ["/loop", "/round"] {
        refused(&lab.run(&["--landlock-ro", rule, "--if-possible", "landlock"], &["true"]));
    }
    if !is_root() {
        let closed = lab.tree.path("opt");
        let line =
            ["--namespaces", "none", "--landlock-exec", "/usr", "--landlock-rw", &format!("{closed}/x")];
        std::fs::create_dir(format!("{closed}/x")).expect("a directory can be made");
        let mode = |mode| std::os::unix::fs::PermissionsExt::from_mode(mode);
        std::fs::set_permissions(&closed, mode(0o000)).expect("the mode can be set");
        let output = run(&[line.as_slice(), &["--if-possible", "landlock", "true"]].concat());
        std::fs::set_permissions(&closed, mode(0o755)).expect("the mode can be set");
        refused(&output);
    }
    // A proc that can be mounted nowhere costs no pid namespace.
    std::fs::remove_dir(lab.tree.path("proc")).expect("it is empty");
    symlink("/", lab.tree.path("proc")).expect("a link can be made");
    let output = lab.run(&["--if-possible", "proc"], &["true"]);
    assert_eq!(output.status.code(), Some(125), "{}", stderr(&output));
    assert!(!stderr(&output).contains("pid namespace of the caller"), "{}", stderr(&output));
}
