//! `sept pin` and `unpin`: for root by mounts, for others by a keeper.

mod common;

use common::{
    Pins, Scratch, Waiting, copy_executable, host, is_root, namespace_of, need_root, skip, soon, stderr,
    stdout,
};

/// A name that no other test, nor another run, takes.
fn name(what: &str) -> String {
    format!("test-{what}-{}", std::process::id())
}

fn failed(output: &std::process::Output, reason: &str) {
    assert_eq!(output.status.code(), Some(125), "{}", stderr(output));
    assert!(stderr(output).contains(reason), "{}", stderr(output));
}

#[test]
fn a_pin_outlives_its_process_and_unpin_leaves_nothing() {
    let pins = Pins::new();
    let name = name("outlives");
    let target = Waiting::new(&["-Uru", "--hostname", "kept"]);
    let pid = target.inside().to_string();
    let uts = namespace_of(&pid, "uts").display().to_string();
    stdout(&pins.sept(&["pin", &pid, &name]));
    drop(target);
    assert_eq!(
        stdout(&pins.sept(&["enter", &name, "sh", "-c", "hostname; readlink /proc/self/ns/uts"])),
        format!("kept\n{uts}")
    );
    assert_eq!(
        stdout(&pins.sept(&[
            "run",
            "--join",
            &format!("user={name}"),
            "--join",
            &format!("uts={name}"),
            "hostname"
        ])),
        "kept"
    );
    let listed = stdout(&pins.sept(&["ls", "--type", "uts", "--columns", "ns,procs,pins"]));
    let number = uts.trim_start_matches("uts:[").trim_end_matches(']').to_owned();
    let line = listed.lines().find(|line| line.starts_with(&number)).expect("it is listed");
    assert!(line.split_ascii_whitespace().eq([number.as_str(), "0", name.as_str()]), "{line}");
    stdout(&pins.sept(&["unpin", &name]));
    failed(&pins.sept(&["enter", &name, "true"]), "no pin");
    assert!(!pins.place(&name).exists());
    // The kernel takes it down a moment later.
    soon("it is gone", || {
        !stdout(&pins.sept(&["ls", "--columns", "ns", "--noheadings"])).lines().any(|line| line == number)
    });
}

#[test]
fn names_are_checked_and_taken_once() {
    let pins = Pins::new();
    let name = name("taken");
    let target = Waiting::new(&["-Uru"]);
    let pid = target.inside().to_string();
    for bad in ["", ".", "..", "a/b", "-x", "12", "a b", "a\u{1b}[2J", &"x".repeat(65)] {
        failed(&pins.sept(&["pin", &pid, "--", bad]), "can't be the name of a pin");
    }
    stdout(&pins.sept(&["pin", &pid, &name]));
    failed(&pins.sept(&["pin", &pid, &name]), "already");
    failed(&pins.sept(&["pin", "4194303", "other"]), "no process");
    failed(&pins.sept(&["pin", &pid]), "needs a TARGET and a NAME");
    failed(&pins.sept(&["pin", &std::process::id().to_string(), "own"]), "nothing to pin");
    failed(&pins.sept(&["unpin", "never-pinned"]), "no pin never-pinned");
    stdout(&pins.sept(&["unpin", &name]));
}

#[test]
fn a_pin_in_use_can_be_let_go() {
    let pins = Pins::new();
    let name = name("in-use");
    let target = Waiting::new(&["-Uru", "--hostname", "used"]);
    stdout(&pins.sept(&["pin", &target.inside().to_string(), &name]));
    stdout(&pins.sept(&["unpin", &name]));
    let pid = target.inside().to_string();
    assert_eq!(stdout(&pins.sept(&["enter", &pid, "hostname"])), "used");
}

#[test]
fn a_dead_pid_namespace_is_told() {
    let pins = Pins::new();
    let name = name("dead");
    let target = Waiting::new(&["-Urp"]);
    let output = pins.sept(&["pin", &target.inside().to_string(), &name]);
    assert!(
        output.status.success() && stderr(&output).contains("ends with its PID 1"),
        "{}",
        stderr(&output)
    );
    drop(target);
    let shown = stdout(&pins.sept(&["ls", &name]));
    assert!(shown.contains("its PID 1 has ended"), "{shown}");
    failed(&pins.sept(&["enter", &name, "true"]), "PID 1 has ended");
    stdout(&pins.sept(&["unpin", &name]));
}

#[test]
fn a_stale_pin_is_recognised() {
    let pins = Pins::new();
    let name = name("stale");
    let target = Waiting::new(&["-Uru"]);
    stdout(&pins.sept(&["pin", &target.inside().to_string(), &name]));
    let place = pins.place(&name);
    if is_root() {
        for kind in ["user", "uts"] {
            host("umount", &[place.join(kind).to_str().expect("UTF-8")]);
        }
    } else {
        let line = std::fs::read_to_string(&place).expect("the pin can be read");
        let keeper = line.split(' ').next().expect("a pid").to_owned();
        host("kill", &["-KILL", &keeper]);
        soon("the keeper is gone", || {
            std::fs::read_to_string(format!("/proc/{keeper}/stat")).map_or(true, |stat| stat.contains(") Z "))
        });
    }
    failed(&pins.sept(&["enter", &name, "true"]), "stale");
    failed(&pins.sept(&["pin", &target.inside().to_string(), &name]), "stale");
    let output = pins.sept(&["ls"]);
    assert!(stderr(&output).contains(&format!("the pin {name} is stale")), "{}", stderr(&output));
    stdout(&pins.sept(&["unpin", &name]));
    assert!(!place.exists());
}

#[test]
fn run_pins_what_it_makes() {
    let pins = Pins::new();
    let name = name("run");
    let output = pins.sept(&["run", "-Uru", "--hostname", "made", "--pin", &name, "sh", "-c", "exit 5"]);
    assert_eq!(output.status.code(), Some(5), "{}", stderr(&output));
    assert_eq!(stdout(&pins.sept(&["enter", &name, "hostname"])), "made");
    failed(&pins.sept(&["run", "-Uru", "--pin", &name, "true"]), "already");
    stdout(&pins.sept(&["unpin", &name]));
    let output = pins.sept(&["run", "-Uru", "--pin", &name, "no-such-program"]);
    assert_eq!(output.status.code(), Some(127));
    failed(&pins.sept(&["unpin", &name]), "no pin");
}

#[test]
fn there_may_be_five_hundred_pins() {
    let pins = Pins::new();
    let base = name("many");
    let target = Waiting::new(&["-Uru"]);
    let pid = target.inside().to_string();
    for n in 0..500 {
        stdout(&pins.sept(&["pin", &pid, &format!("{base}-{n}")]));
    }
    let listed = stdout(&pins.sept(&["ls", "--json", &format!("{base}-499")]));
    assert!(listed.matches(&base).count() >= 500, "{}", listed.matches(&base).count());
    for n in 0..500 {
        stdout(&pins.sept(&["unpin", &format!("{base}-{n}")]));
    }
}

#[test]
fn without_a_place_for_pins_it_says_so() {
    if is_root() {
        skip("without_a_place_for_pins_it_says_so", "root has one");
        return;
    }
    let target = Waiting::new(&["-Uru"]);
    let pid = target.inside().to_string();
    for place in [None, Some("/etc"), Some("relative")] {
        let mut command = common::sept();
        match place {
            None => command.env_remove("XDG_RUNTIME_DIR"),
            Some(place) => command.env("XDG_RUNTIME_DIR", place),
        };
        let output = command.args(["pin", &pid, "x"]).output().expect("sept starts");
        failed(&output, "XDG_RUNTIME_DIR");
    }
}

/// Where the kernel takes a mount namespace for younger than it is, and refuses to bind it, a process holds the pin.
#[test]
fn a_mount_namespace_is_pinned_from_another_one() {
    if !need_root("a_mount_namespace_is_pinned_from_another_one", "others pin by a process anyway") {
        return;
    }
    let name = name("mount");
    let sept = common::path();
    let script = format!(
        "mount -t tmpfs none /run && sept=$(mktemp) && cp {sept} $sept && chmod 755 $sept && \
         for cpu in $(seq 0 $(($(nproc) - 1))); do \
             taskset -c $cpu unshare -m sleep 5 & p=$!; sleep 0.2; $sept pin -m $p {name} || exit 1; kill $p; wait $p; \
             $sept enter {name} true || exit 2; $sept unpin {name} || exit 3; \
         done; rm $sept; ls -A /run"
    );
    // The parent is on one processor, the namespaces come from each.
    let output = std::process::Command::new("unshare").args(["-m", "sh", "-c", &script]).output();
    assert_eq!(stdout(&output.expect("unshare starts")), "");
}

/// The keepers of a pin.
fn keepers(name: &str) -> Vec<String> {
    let found = host("pgrep", &["-f", &format!("^sept keep {name}")]);
    found.lines().map(str::to_owned).collect()
}

/// sept as whoever makes these tests, by an id that is not root's: such a one pins by a keeper.
const NOT_ROOT: &str = "unshare -U --map-user=1000 --map-group=1000";

#[test]
fn a_pin_that_cannot_be_written_leaves_no_keeper() {
    let (scratch, name, sept) = (Scratch::new(), name("full"), common::path());
    let dir = scratch.0.display();
    let script = format!(
        "mount -t tmpfs -o size=64k none {dir} && head -c 1M /dev/zero >{dir}/full 2>/dev/null; \
         XDG_RUNTIME_DIR={dir} {NOT_ROOT} {sept} run -Uru --pin {name} true; echo $?; ls -A {dir}"
    );
    let output = std::process::Command::new("unshare").args(["-Urm", "sh", "-c", &script]).output();
    let output = output.expect("unshare starts");
    assert!(stderr(&output).contains("cannot write the pin: no space left on device"), "{}", stderr(&output));
    assert_eq!(stdout(&output), "125\nfull");
    assert_eq!(keepers(&name), [""; 0]);
}

#[test]
fn a_pin_is_pinned_by_another_name() {
    let pins = Pins::new();
    let (first, second) = (name("first"), name("second"));
    let target = Waiting::new(&["-Uru", "--hostname", "twice"]);
    stdout(&pins.sept(&["pin", &target.inside().to_string(), &first]));
    drop(target);
    failed(&pins.sept(&["pin", "-n", &first, &second]), "has no net namespace");
    assert!(!pins.place(&second).exists());
    stdout(&pins.sept(&["pin", &first, &second]));
    stdout(&pins.sept(&["unpin", &first]));
    assert_eq!(stdout(&pins.sept(&["enter", &second, "hostname"])), "twice");
    stdout(&pins.sept(&["unpin", &second]));
}

/// What a script prints and says that has a place for pins to itself, `$run`, and `$sept`. Root's is a mount namespace's.
fn in_a_place_of_its_own(script: &str) -> (String, String) {
    let scratch = Scratch::new();
    let (sept, run) = (scratch.path("sept"), scratch.path("run"));
    // Where it was may be below /run.
    copy_executable(&common::path(), &sept);
    std::fs::create_dir(&run).expect("a directory can be made");
    let (around, begin): (&[&str], _) = if is_root() {
        (&["unshare", "-m"], "run=/run; mount -t tmpfs none /run")
    } else {
        (&["env"], "true")
    };
    let mut shell = std::process::Command::new(around[0]);
    shell.args(&around[1..]).args(["sh", "-c", &format!("{begin}; {script}")]);
    let output = shell.env("sept", sept).env("run", &run).env("XDG_RUNTIME_DIR", &run).output();
    let output = output.expect("the shell starts");
    (stdout(&output), stderr(&output))
}

/// Each last unpin takes away the place of all pins, which another is about to use.
#[test]
fn pins_are_made_and_let_go_of_at_once() {
    let (name, target) = (name("race"), Waiting::new(&["-Uru"]));
    let pid = target.inside();
    let (told, error) = in_a_place_of_its_own(&format!(
        "for n in 1 2 3 4; do \
             (for _ in $(seq 25); do $sept pin {pid} {name}-$n && $sept unpin {name}-$n || exit; done; echo done) & \
         done; wait; ls -A $run"
    ));
    assert_eq!((told.as_str(), error.as_str()), ("done\ndone\ndone\ndone", ""));
    assert_eq!(keepers(&name), [""; 0]);
}

#[test]
fn who_looks_at_pins_does_not_keep_their_place() {
    let (name, target) = (name("looked-at"), Waiting::new(&["-Uru"]));
    let pid = target.inside();
    let (told, error) = in_a_place_of_its_own(&format!(
        "$sept pin {pid} {name} && cd $run/sept/pins && $sept unpin {name} && ls -A $run"
    ));
    assert_eq!((told.as_str(), error.as_str()), ("", ""));
}

/// There the keeper has another number in /proc than the one by which sept knows it.
#[test]
fn a_keeper_is_found_in_the_proc_of_an_outer_pid_namespace() {
    let (scratch, name, sept) = (Scratch::new(), name("outer"), common::path());
    let script = format!(
        "{sept} run -Uru --hostname kept --pin {name} true && {sept} enter {name} hostname && {sept} unpin {name}"
    );
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", &format!("exec {NOT_ROOT} -p --fork --kill-child sh -c '{script}; echo $?'")]);
    let output = shell.env("XDG_RUNTIME_DIR", &scratch.0).output().expect("the shell starts");
    assert_eq!(stdout(&output), "kept\n0", "{}", stderr(&output));
    assert_eq!(keepers(&name), [""; 0]);
}

/// What /proc says of its start is shifted by the clocks of who reads that. By `unshare`: what `run` starts ends with it.
#[test]
fn a_keeper_is_found_from_another_time_namespace() {
    let test = "a_keeper_is_found_from_another_time_namespace";
    if !std::path::Path::new("/proc/self/ns/time").exists() {
        common::skip(test, "this kernel has no time namespaces");
        return;
    }
    let (scratch, name, sept) = (Scratch::new(), name("clocks"), common::path());
    let file = scratch.path("script");
    let script = format!(
        "{sept} unshare -UTf --map-user 1000 --map-group 1000 --boottime 100000 sh -c '{sept} pin -UT $$ {name}'
         {sept} enter --preserve-credentials {name} true && {sept} unpin {name}; echo $?"
    );
    std::fs::write(&file, script).expect("a file can be made");
    // Not of root: that would bind files.
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", &format!("exec {NOT_ROOT} sh {file}")]);
    let output = shell.env("XDG_RUNTIME_DIR", &scratch.0).output().expect("the shell starts");
    assert_eq!(stdout(&output), "0", "{}", stderr(&output));
    assert_eq!(keepers(&name), [""; 0]);
}

/// To enter it would be to run where one is.
#[test]
fn a_pin_of_nothing_is_stale() {
    let (told, error) = in_a_place_of_its_own(
        "mkdir -p $run/sept/pins; echo $$ $(cut -d' ' -f22 /proc/$$/stat) >$run/sept/pins/nothing; \
         $sept enter nothing echo entered; $sept unpin nothing && ls -A $run",
    );
    assert_eq!(told, "");
    assert!(error.contains("the pin nothing is stale"), "{error}");
}
