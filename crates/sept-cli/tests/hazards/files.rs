//! Mounts: where they land, what they come from, and whether they stay as they are.

use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::common::{Scratch, host, need, need_root, path, run, skip, stderr, stdout};
use crate::{printed, root_of};

const USR: [&str; 3] = ["--ro-bind", "/usr", "/usr"];

/// Exchanges two names as fast as it can while something is done.
pub fn swapping(one: &str, other: &str, work: impl FnOnce()) {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let swap = scope.spawn(|| {
            let mut swaps = 0_u32;
            let (cwd, flags) = (rustix::fs::CWD, rustix::fs::RenameFlags::EXCHANGE);
            while !done.load(Ordering::Relaxed) {
                swaps += u32::from(rustix::fs::renameat_with(cwd, one, cwd, other, flags).is_ok());
            }
            // Each as it was.
            if swaps % 2 == 1 {
                rustix::fs::renameat_with(cwd, one, cwd, other, flags).expect("they can be exchanged");
            }
            swaps
        });
        let worked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        done.store(true, Ordering::Relaxed);
        assert!(swap.join().expect("it ends") > 100, "there was a race");
        worked.expect("what was done while names were exchanged");
    });
}

fn names(dir: &str) -> Vec<String> {
    let entries = std::fs::read_dir(dir).expect("it can be read").flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// CVE-2019-19921 and its kin: what sept itself mounts, on links that lead out of the root.
#[test]
fn links_in_a_root_lead_to_nothing_outside() {
    let scratch = Scratch::new();
    let (root, canary) = (root_of(&scratch), scratch.path("canary"));
    std::fs::create_dir(&canary).expect("a directory can be made");
    let mounts = || host("grep", &["-c", &canary, "/proc/self/mountinfo"]);
    let before = mounts();
    // A tool that follows it mounts outside.
    let link = format!("{root}/link");
    std::os::unix::fs::symlink(&canary, &link).expect("a link can be made");
    let script = format!("mount -t tmpfs none {link} && grep -c {canary} /proc/self/mountinfo");
    assert_eq!(stdout(&run(&["sh", "-c", &script])), "1");
    for place in ["proc", "dev", "sys", "target"] {
        let (place, target) = (format!("{root}/{place}"), format!("/{place}"));
        for to in [canary.clone(), "../canary".to_owned(), "../../../../../../../../tmp".to_owned()] {
            std::fs::remove_dir(&place).expect("it is empty");
            std::os::unix::fs::symlink(&to, &place).expect("a link can be made");
            let line = [["--root", &root].as_slice(), &USR, &["--tmpfs", &target, "true"]].concat();
            let output = run(&line);
            assert_eq!(output.status.code(), Some(125), "{place} to {to}: {}", stderr(&output));
            std::fs::remove_file(&place).expect("it is a link");
            std::fs::create_dir(&place).expect("a directory can be made");
        }
    }
    assert!(names(&canary).is_empty() && mounts() == before);
    // To a place inside it is followed.
    std::fs::remove_dir(format!("{root}/dev")).expect("it is empty");
    std::os::unix::fs::symlink("/target", format!("{root}/dev")).expect("a link can be made");
    let line = [["--root", &root].as_slice(), &USR, &["test", "-c", "/target/null"]].concat();
    stdout(&run(&line));
}

/// CVE-2021-30465 and its kin: a mount point, or what is above it, that becomes a link while it is being used.
#[test]
fn mount_points_that_turn_into_links_lead_nowhere() {
    let scratch = Scratch::new();
    let (root, canary) = (root_of(&scratch), scratch.path("canary"));
    for dir in
        [canary.clone(), format!("{canary}/below"), format!("{root}/above"), format!("{root}/above/below")]
    {
        std::fs::create_dir(dir).expect("a directory can be made");
    }
    std::fs::write(format!("{canary}/untouched"), "").expect("a file can be made");
    // The other half of the exchange: a link that leads out of the root.
    let link = format!("{root}/link");
    std::os::unix::fs::symlink(&canary, &link).expect("a link can be made");
    let before = host("grep", &["-c", &canary, "/proc/self/mountinfo"]);
    for (swapped, target) in [
        ("target", "/target"),
        ("above", "/above/below"),
        ("dev", "/target"),
        ("proc", "/target"),
        ("sys", "/target"),
    ] {
        let mut outcomes = [0; 2];
        swapping(&link, &format!("{root}/{swapped}"), || {
            let begun = std::time::Instant::now();
            while begun.elapsed().as_secs() < 20 && (outcomes[0] + outcomes[1] < 30 || outcomes.contains(&0))
            {
                let line = [["--root", &root].as_slice(), &USR, &["--tmpfs", target, "sh", "-c"]].concat();
                let script = format!("echo x >{target}/file");
                let output = run(&[line.as_slice(), &[&script]].concat());
                // Either it was a directory at that moment, and is covered; or a link to what is not inside, and an error.
                outcomes[usize::from(output.status.code() != Some(0))] += 1;
            }
        });
        assert!(!outcomes.contains(&0), "{swapped}: both happened: {outcomes:?}");
        assert_eq!(names(&canary), ["below", "untouched"], "{swapped}");
        assert!(names(&format!("{canary}/below")).is_empty(), "{swapped}");
    }
    assert_eq!(host("grep", &["-c", &canary, "/proc/self/mountinfo"]), before);
}

/// A file that becomes a link between the look and the change.
#[test]
fn a_mode_is_changed_through_no_link() {
    let scratch = Scratch::new();
    let (root, canary) = (root_of(&scratch), scratch.path("canary"));
    std::fs::create_dir(&canary).expect("a directory can be made");
    let (link, file, secret) = (format!("{root}/link"), format!("{root}/file"), format!("{canary}/secret"));
    for file in [&file, &secret] {
        std::fs::write(file, "").expect("a file can be made");
        host("chmod", &["600", file]);
    }
    std::os::unix::fs::symlink(&secret, &link).expect("a link can be made");
    let mode = |file: &str| std::fs::metadata(file).map(|meta| meta.permissions().mode() & 0o777);
    let line = |name: &str| {
        [["--root", &root].as_slice(), &USR, &["--create=host", "--chmod", "0777", name, "true"]]
            .concat()
            .iter()
            .map(|word| (*word).to_owned())
            .collect::<Vec<_>>()
    };
    let change = |name: &str| {
        let line = line(name);
        run(&line.iter().map(String::as_str).collect::<Vec<_>>()).status.code()
    };
    assert_eq!(change("/link"), Some(125));
    // Changed, or refused.
    let mut outcomes = [0; 2];
    swapping(&link, &file, || {
        let begun = std::time::Instant::now();
        while begun.elapsed().as_secs() < 20 && (outcomes[0] + outcomes[1] < 60 || outcomes.contains(&0)) {
            outcomes[usize::from(change("/file") != Some(0))] += 1;
        }
    });
    assert!(!outcomes.contains(&0), "both happened: {outcomes:?}");
    assert_eq!(mode(&secret).ok(), Some(0o600), "what the link leads to");
    // And of what lies outside and is only bound there.
    let bound =
        ["--tmpfs", "/mnt", "--bind", &secret, "/mnt/secret", "--chmod", "0777", "/mnt/secret", "true"];
    assert_eq!(run(&bound).status.code(), Some(125));
    assert_eq!(mode(&secret).ok(), Some(0o600), "what was bound");
}

/// CVE-2025-31133: a mask is made of the null device; what stands in its place must not be shown instead.
#[test]
fn a_mask_comes_from_no_false_device() {
    if !need("a_mask_comes_from_no_false_device", &["perl"]) {
        return;
    }
    let (sept, scratch) = (path(), Scratch::new());
    let (masked, attack) = (scratch.path("masked"), scratch.path("attack.pl"));
    std::fs::write(&masked, "masked").expect("a file can be made");
    let script = r#"
        my ($sept, $masked) = @ARGV;
        my $turn = sub { symlink($_[0], "/dev/new"); rename("/dev/new", "/dev/null") };
        $turn->("/etc/passwd");
        system("mount --bind /dev/null $masked && head -c 5 $masked && umount $masked");
        print "\n"; $| = 1; print "";
        my $swapper = fork;
        if (!$swapper) { while (1) { $turn->("/etc/passwd"); $turn->("/mnt/real/null") } }
        my %seen;
        for (1 .. 60) {
            my $said = `$sept run --mask $masked cat $masked 2>&1`;
            $seen{$? == 0 ? "shown <$said>" : $said =~ /no such device/ ? "refused" : "else $said"}++;
        }
        kill 9, $swapper; waitpid $swapper, 0;
        print join(", ", sort keys %seen), "\n";
    "#;
    std::fs::write(&attack, script).expect("a file can be made");
    // In a /dev of its own, whose null is a link.
    let places = ["--tmpfs", "/mnt", "--dev", "/mnt/real", "--tmpfs", "/dev"];
    let output =
        run(&[&["--cap-add", "sys_admin"], places.as_slice(), &["perl", &attack, &sept, &masked]].concat());
    assert_eq!(stdout(&output), "root:\nrefused, shown <>", "{}", stderr(&output));
}

/// A read-only bind whose submounts are not, and one that is writable for a moment.
#[test]
fn a_read_only_bind_is_read_only_all_the_way_and_from_the_start() {
    let sept = path();
    let inner =
        "touch /mnt/x 2>/dev/null && echo above; touch /mnt/below/x 2>/dev/null && echo below; echo done";
    let writable = |option: &str| {
        let script = format!(
            "mkdir /tmp/src && mkdir /tmp/src/below && mount -t tmpfs none /tmp/src/below && \
                              {sept} run {option} /tmp/src /mnt sh -c '{inner}'"
        );
        stdout(&run(&["--cap-add", "sys_admin", "--tmpfs", "/tmp", "sh", "-c", &script]))
    };
    if sept.starts_with("/tmp/") {
        skip("a_read_only_bind_is_read_only_all_the_way_and_from_the_start", "the executable lies in /tmp");
        return;
    }
    assert_eq!(writable("--bind"), "above\nbelow\ndone", "it could be written");
    assert_eq!(writable("--ro-bind"), "done");
    let script = format!(
        "mkdir /mnt/below && mount -t tmpfs none /mnt/below && {sept} run --read-only sh -c '{inner}'"
    );
    assert_eq!(
        stdout(&run(&["--cap-add", "sys_admin", "--tmpfs", "/mnt", "sh", "-c", &script])),
        "done",
        "--read-only, too"
    );
}

/// What is read-only, or masked, stays so, also in namespaces of the command's own: it has no right to mount elsewhere.
#[test]
fn what_is_read_only_or_masked_stays_so() {
    let scratch = Scratch::new();
    let (source, hidden) = (scratch.path("source"), scratch.path("hidden"));
    for dir in [&source, &hidden] {
        std::fs::create_dir(dir).expect("a directory can be made");
        std::fs::write(format!("{dir}/there"), "").expect("a file can be made");
    }
    let attack = format!(
        "undo='mount -o remount,bind,rw /mnt; umount {hidden}; [ -e /mnt/there ] && touch /mnt/new; ls {hidden}'; \
         unshare -Urm sh -c \"$undo\" 2>/dev/null; sh -c \"$undo\" 2>/dev/null; echo done"
    );
    let tried = |options: &[&str]| {
        let line = ["--ro-bind", &source, "/mnt", "--mask", &hidden, "sh", "-c", &attack];
        let said = stdout(&run(&[options, &line].concat()));
        let new = format!("{source}/new");
        let written = std::fs::remove_file(new).is_ok();
        (written, said.contains("there"))
    };
    let admin = ["--cap-add", "sys_admin"];
    assert_eq!(tried(&admin), (true, true), "who may mount can undo it");
    for options in [
        [].as_slice(),
        &["--cap-drop", "all"],
        &["--cap-add", "net_admin"],
        &["--init"],
        &["--cap-add", "sys_admin", "--seccomp", "default"],
        &["--seccomp", "strict"],
        &["--landlock-exec", "/", "--landlock-rw", "/"],
    ] {
        assert_eq!(tried(options), (false, false), "{options:?}");
    }
}

/// CVE-2026-53612: no mount is there before it has its attributes.
#[test]
fn no_mount_is_made_first_and_restricted_afterwards() {
    let test = "no_mount_is_made_first_and_restricted_afterwards";
    if !need(test, &["strace"]) {
        return;
    }
    let scratch = Scratch::new();
    let (log, root) = (scratch.path("log"), root_of(&scratch));
    let calls = |words: &[&str]| {
        let mut strace = Command::new("strace");
        strace.args(["-f", "-qq", "-o", &log]);
        let status = strace.args(words).stdin(Stdio::null()).status();
        assert!(status.expect("strace starts").success(), "{words:?}");
        std::fs::read_to_string(&log).expect("the log can be read")
    };
    let bind = ["run", "--ro-bind", "/etc", "/mnt", "--tmpfs", "/media", "true"];
    let whole = ["run", "--root", &root, "--read-only", "--ro-bind", "/usr", "/usr", "true"];
    for words in [bind.as_slice(), &whole, &["run", "true"], &["unshare", "-Urmpf", "--mount-proc", "true"]] {
        let calls = calls(&[&[path().as_str()], words].concat());
        assert!(!calls.contains("MS_REMOUNT") && !calls.contains("MS_BIND"), "{words:?}: {calls}");
        // A bind is made detached, restricted, and only then attached: nothing by its path.
        let is_change = |line: &&str| line.contains("mount_setattr(") && line.contains("MOUNT_ATTR_RDONLY");
        let restricted = calls.lines().filter(is_change);
        let by_path = restricted.filter(|line| !line.contains("\"\"")).count();
        assert_eq!(by_path, 0, "{words:?}: {calls}");
    }
    let calls = calls(&[&[path().as_str()], bind.as_slice()].concat());
    // open_tree_attr(2) makes and restricts in one; an older strace knows its number only.
    let restricts = |line: &&str| {
        line.contains("open_tree_attr")
            || line.contains("syscall_0x1d3")
            || line.contains("mount_setattr(") && line.contains("|MOUNT_ATTR_NOSUID")
    };
    let concerns = |line: &&str| restricts(line) || line.contains("move_mount(") || line.contains(" mount(");
    let after = calls.lines().filter(concerns).skip_while(|line| !restricts(line)).nth(1).unwrap_or_default();
    assert!(after.contains("move_mount"), "{calls}");
}

/// A handle that is made up names any file of the file system that the root is a part of.
#[test]
fn no_file_outside_of_a_root_is_opened_by_a_handle() {
    let test = "no_file_outside_of_a_root_is_opened_by_a_handle";
    if !need_root(test, "only root may open by handles at all") || !need(test, &["perl"]) {
        return;
    }
    let scratch = Scratch::new();
    let root = root_of(&scratch);
    // The handle of a directory, with the number of another one put into it.
    let attack = format!(
        "my ($at, $inode) = @ARGV; open(my $mount, '<', $at); my $id = pack('I', 0); my $path = \"$at\\0\"; \
         my $handle = pack('II', 128, 0) . (\"\\0\" x 128); \
         syscall({}, -100, $path, $handle, $id, 0) == 0 or die 'no handles'; my ($length) = unpack('I', $handle); \
         $handle = substr($handle, 0, 8 + $length); substr($handle, 8, 8) = pack('II', $inode, 0) if $length == 8; \
         print syscall({}, fileno($mount), $handle, 0200000) >= 0 ? 'opened' : 'refused'",
        libc::SYS_name_to_handle_at,
        libc::SYS_open_by_handle_at
    );
    let outside = scratch.path("outside");
    std::fs::create_dir(&outside).expect("a directory can be made");
    let inode =
        std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(&outside).expect("it is there")).to_string();
    let (open, scratch) = (host("perl", &["-e", &attack, &root, &inode]), scratch.0.display().to_string());
    if open != "opened" {
        skip(test, &format!("the file system of {scratch} has no such handles"));
        return;
    }
    let line = ["--root", &root, "--ro-bind", "/usr", "/usr", "perl", "-e", &attack, "/", &inode];
    assert_ne!(stdout(&run(&line)), "opened");
}

/// Root's files of proc reach outside of every namespace: a core_pattern is a command that the host runs.
#[test]
fn nothing_of_proc_that_is_roots_alone_is_writable() {
    let test = "nothing_of_proc_that_is_roots_alone_is_writable";
    if !need_root(test, "nobody else may write there") {
        return;
    }
    // What is there is written again.
    let attack = "for file in /proc/sys/kernel/core_pattern /proc/sys/kernel/core_uses_pid /proc/sys/vm/swappiness; do \
                  cat $file >/tmp/value && cat /tmp/value 2>/dev/null >$file && echo written; done; echo done";
    let tried = |options: &[&str]| {
        let said = stdout(&run(&[options, &["--tmpfs", "/tmp", "sh", "-c", attack]].concat()));
        said.matches("written").count()
    };
    assert_eq!(tried(&["--read-only", "--proc", "/proc"]), 3, "with a proc that was asked for");
    assert_eq!(tried(&["--read-only"]), 0);
    assert_eq!(tried(&["--read-only", "--init"]), 0);
    // What this kernel may not have, or what does harm when it is written.
    let plan = stdout(&run(&["--read-only", "--plan", "true"]));
    for name in ["sysrq-trigger", "irq", "bus", "fs", "acpi", "scsi", "dynamic_debug"] {
        assert!(plan.contains(&format!("make /proc/{name} read-only")), "{plan}");
    }
    let scratch = Scratch::new();
    let root = root_of(&scratch);
    std::fs::create_dir(format!("{root}/tmp")).expect("a directory can be made");
    assert_eq!(tried(&["--root", &root, "--ro-bind", "/usr", "/usr"]), 0);
    // Nor the disks, which no mount keeps from being written.
    let devices = |options: &[&str]| stdout(&run(&[options, &["find", "/dev", "-type", "b"]].concat()));
    assert_eq!(devices(&["--read-only"]), "");
    let own = host("find", &["/dev", "-type", "b"]);
    assert_eq!(devices(&["--read-only", "--no-dev"]), own);
    // Nor by a proc of the command's own.
    let again = "mount -t proc none /mnt && cat /mnt/sys/kernel/core_pattern >/mnt/sys/kernel/core_pattern && echo written";
    let own = ["--read-only", "unshare", "-Urmpf", "sh", "-c", again];
    let output = run(&own);
    assert!(!String::from_utf8_lossy(&output.stdout).contains("written"));
}

/// A device file that was left in a root, or is on the host: its owner may open it, and that is root.
/// What a script prints in a mount namespace whose mounts are shared, as systemd's are, and how many mounts it has left there.
fn where_mounts_are_shared(script: &str) -> String {
    let script = format!(
        "mount --make-rshared / && before=$(wc -l </proc/self/mountinfo); {script}; \
         echo left $(($(wc -l </proc/self/mountinfo) - before)); readlink /proc/self/ns/mnt | cut -c1-3"
    );
    let output = std::process::Command::new("unshare").args(["-m", "sh", "-c", &script]).output();
    let output = output.expect("unshare starts");
    printed(&output)
}

#[test]
fn nothing_that_is_mounted_is_seen_outside() {
    let test = "nothing_that_is_mounted_is_seen_outside";
    if !need_root(test, "it takes the right to share mounts") {
        return;
    }
    let (scratch, sept) = (Scratch::new(), path());
    let dir = scratch.path("dir");
    std::fs::create_dir_all(format!("{dir}/below")).expect("directories can be made");
    let works =
        where_mounts_are_shared(&format!("unshare -m --propagation unchanged mount -t tmpfs x {dir}"));
    assert_eq!(works, "left 1\nmnt\n", "what is shared is seen outside");
    let mapped = format!("--options X-mount.idmap=0:0:65536 --bind {dir} /mnt");
    for line in [
        format!("run --bind {dir} /mnt --tmpfs /mnt/below true"),
        format!("run {mapped} --tmpfs /mnt/below true"),
        format!("run --propagation slave {mapped} --tmpfs /mnt/below true"),
        format!("run {mapped} --mask /mnt/below --tmpfs /not-there true 2>/dev/null"),
        "unshare -mpf --propagation unchanged --mount-proc true".to_owned(),
        "unshare -mpf --propagation shared --mount-proc true".to_owned(),
        "run --share user --propagation unchanged true".to_owned(),
        "run --share user --propagation shared true".to_owned(),
    ] {
        assert_eq!(where_mounts_are_shared(&format!("{sept} {line}")), "left 0\nmnt\n", "{line}");
    }
}

#[test]
fn no_device_of_the_tree_works() {
    let test = "no_device_of_the_tree_works";
    let scratch = Scratch::new();
    let root = root_of(&scratch);
    let zero = format!("{root}/target/zero");
    let made = std::process::Command::new("mknod").args(["-m", "666", &zero, "c", "1", "5"]).output();
    if !made.is_ok_and(|made| made.status.success()) || std::fs::File::open(&zero).is_err() {
        skip(test, "no device file can be made that works");
        return;
    }
    let read =
        |options: &[&str], file: &str| run(&[options, &["head", "-c", "1", file]].concat()).status.success();
    let usr = ["--root", &root, "--ro-bind", "/usr", "/usr"];
    assert!(
        read(&[&usr, ["--no-dev"].as_slice()].concat(), "/target/zero"),
        "with what the tree has for /dev"
    );
    assert!(!read(&usr, "/target/zero"));
    assert!(read(&usr, "/dev/zero") && !read(&["--root", "/"], &zero) && !read(&["--read-only"], &zero));
    assert!(read(&["--read-only"], "/dev/zero"), "those that were asked for do");
    for asked in [["--read-only"].as_slice(), &["--root", "/"]] {
        assert!(!read(&[asked, &["--dev", "/dev"]].concat(), &zero), "{asked:?} and a /dev by request");
    }
    let bound = ["--read-only", "--tmpfs", "/mnt", "--dev-bind", &zero, "/mnt/zero"];
    assert!(
        read(&bound, "/mnt/zero")
            && read(
                &["--read-only", "--tmpfs", "/mnt", "--device", &format!("{zero}:/mnt/zero")],
                "/mnt/zero"
            )
    );
    let masked = ["--read-only", "--mask", "/etc/hostname"];
    assert_eq!(stdout(&run(&[masked.as_slice(), &["cat", "/etc/hostname"]].concat())), "");
}

/// Why exec failed is looked for in the root, and by no link of it in the files of sept itself; a pipe is not waited for.
#[test]
fn who_explains_a_failed_exec_follows_no_link_out() {
    let scratch = Scratch::new();
    let root = root_of(&scratch);
    let fifo = scratch.path("fifo");
    host("mkfifo", &[&fifo]);
    std::fs::create_dir(format!("{root}/try")).expect("a directory can be made");
    host("mkfifo", &[&format!("{root}/try/fifo")]);
    for (name, to) in [("outside", fifo.as_str()), ("linked", "fifo")] {
        std::os::unix::fs::symlink(to, format!("{root}/try/{name}")).expect("a link can be made");
    }
    let ended =
        |program: &str| run(&["--root", &root, "--ro-bind", "/usr", "/usr", "--timeout", "5", program]);
    let output = ended("/try/outside");
    assert_eq!(output.status.code(), Some(127), "{}", stderr(&output));
    assert!(stderr(&output).contains("there is no /try/outside inside"), "{}", stderr(&output));
    for program in ["/try/fifo", "/try/linked"] {
        let output = ended(program);
        assert!(matches!(output.status.code(), Some(126 | 127)), "{program}: {}", stderr(&output));
    }
}
