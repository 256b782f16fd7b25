//! sept inside containers of podman and docker, as they confine them by default.
//!
//! The engines run in mount, network and pid namespaces of their own, with all that they write to on file systems that
//! end with these. Nothing is pulled: the image is busybox.

mod common;

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use common::{Scratch, is_root, need, need_root, path, skip, stderr, stdout};

const NEEDED: [&str; 3] = ["busybox", "crun", "unshare"];

/// Starts a hidden test of this file in namespaces of its own.
fn in_a_lab(test: &str, hidden: &str, engine: &str) {
    if !need_root(test, "only root can run an engine here") {
        return;
    }
    if !need(test, &[&[engine][..], &NEEDED].concat()) {
        return;
    }
    let lab = Scratch::new();
    std::fs::set_permissions(&lab.0, PermissionsExt::from_mode(0o755)).expect("the mode can be set");
    let exe = std::env::current_exe().expect("a path");
    let mut command = Command::new("unshare");
    command.args(["-m", "-n", "-p", "-f", "--mount-proc", "--kill-child", "--propagation", "private"]);
    command.arg(exe).args(["--exact", hidden, "--ignored", "--nocapture", "--test-threads=1"]);
    let output = command.env("SEPT_TEST_LAB", &lab.0).output().expect("unshare starts");
    if engine == "dockerd" {
        remove_cgroups();
    }
    assert!(output.status.success(), "{}{}", String::from_utf8_lossy(&output.stdout), stderr(&output));
}

/// Where docker puts its containers, in every hierarchy. The daemon's end removes it; this is for a test that failed.
const CGROUP: &str = "sept-test-engines";

fn remove_cgroups() {
    let script = format!("find /sys/fs/cgroup -depth -type d -path '*/{CGROUP}*' -exec rmdir {{}} +");
    let _ = Command::new("sh").args(["-c", &script]).stderr(Stdio::null()).status();
}

/// The place of one engine, and how its `run` begins.
struct Engine {
    lab: String,
    run: Vec<String>,
    variables: Vec<(&'static str, String)>,
    /// What changes the user before the engine is called.
    by: Vec<String>,
}

impl Engine {
    /// Inside the lab: file systems that are gone at the end, and an image.
    fn prepare() -> Self {
        let lab = std::env::var("SEPT_TEST_LAB").expect("the lab's directory");
        let script = r#"
            set -e
            ip link set lo up
            mkdir "$LAB/cgroup" "$LAB/etc" "$LAB/image" "$LAB/image/bin"
            # Engines take version 1 or version 2, not both.
            if [ -d /sys/fs/cgroup/unified ]; then
                mount -t tmpfs -o mode=755 cgroup "$LAB/cgroup"
                for dir in cpu cpuacct cpuset memory devices freezer blkio pids systemd; do
                    mkdir "$LAB/cgroup/$dir"
                    mount --bind "/sys/fs/cgroup/$dir" "$LAB/cgroup/$dir"
                done
                mount --move "$LAB/cgroup" /sys/fs/cgroup
            fi
            mount -t tmpfs etc "$LAB/etc"
            mkdir "$LAB/etc/upper" "$LAB/etc/work"
            mount -t overlay -o "lowerdir=/etc,upperdir=$LAB/etc/upper,workdir=$LAB/etc/work" etc /etc
            for dir in /run /opt /var/lib; do mount -t tmpfs -o mode=755 own "$dir"; done
            cd "$LAB/image"
            mkdir proc sys dev etc opt tmp root usr lib lib64 mnt mnt/proc mnt/sys mnt/dev mnt/bin mnt/opt
            chmod 1777 tmp
            cp /bin/busybox bin/busybox
            # Hard links: masking one does not mask all.
            for name in sh cat ls id grep echo true sleep readlink; do ln bin/busybox "bin/$name"; done
            echo root:x:0:0:root:/root:/bin/sh >etc/passwd
            tar -cf "$LAB/image.tar" .
        "#;
        let done = Command::new("sh").args(["-c", script]).env("LAB", &lab).output().expect("sh starts");
        stdout(&done);
        Self { lab, run: Vec::new(), variables: Vec::new(), by: Vec::new() }
    }

    fn write(&self, name: &str, content: &str) -> String {
        let path = format!("{}/{name}", self.lab);
        std::fs::write(&path, content).expect("a file can be written");
        path
    }

    /// podman, run by root or by this user.
    fn podman(by: Option<&str>) -> Self {
        let mut engine = Self::prepare();
        let lab = engine.lab.clone();
        let configuration = "[containers]\ndefault_ulimits=[\"nofile=20000:20000\",\"nproc=32768:32768\"]\n\
                             [engine]\ncgroup_manager=\"cgroupfs\"\nevents_logger=\"file\"\nruntime=\"crun\"\n";
        let storage =
            format!("[storage]\ndriver=\"vfs\"\ngraphroot=\"{lab}/graph\"\nrunroot=\"{lab}/run\"\n");
        engine.variables = vec![
            ("HOME", lab.clone()),
            ("XDG_RUNTIME_DIR", format!("{lab}/runtime")),
            ("CONTAINERS_CONF", engine.write("containers.conf", configuration)),
            ("CONTAINERS_STORAGE_CONF", engine.write("storage.conf", &storage)),
        ];
        // What is asked here is no matter of cgroups, and what is made there would have to be removed.
        let words =
            format!("podman run --rm --network none --cgroups=disabled {} localhost/box", binds(&lab));
        engine.run = words.split(' ').map(str::to_owned).collect();
        std::fs::create_dir(format!("{lab}/runtime")).expect("a directory");
        if let Some(user) = by {
            engine.by =
                ["setpriv", "--reuid", user, "--regid", user, "--init-groups"].map(str::to_owned).to_vec();
            stdout(
                &Command::new("chown").args([user, &lab, &format!("{lab}/runtime")]).output().expect("chown"),
            );
        }
        stdout(&engine.command("podman", &["import", &format!("{lab}/image.tar"), "localhost/box"]));
        engine
    }

    fn docker() -> (Self, Daemon) {
        let mut engine = Self::prepare();
        let lab = engine.lab.clone();
        let configuration = serde_json::json!({
            "data-root": format!("{lab}/data"), "exec-root": format!("{lab}/exec"), "pidfile": format!("{lab}/pid"),
            "hosts": [format!("unix://{lab}/socket")], "storage-driver": "vfs", "bridge": "none", "iptables": false,
            "default-ulimits": { "nofile": { "Name": "nofile", "Hard": 20000, "Soft": 20000 } },
            "cgroup-parent": format!("/{CGROUP}"), "exec-opts": ["native.cgroupdriver=cgroupfs"],
        });
        let file = engine.write("daemon.json", &configuration.to_string());
        engine.variables = vec![("HOME", lab.clone()), ("DOCKER_HOST", format!("unix://{lab}/socket"))];
        let log = std::fs::File::create(format!("{lab}/log")).expect("a log");
        let mut daemon = Command::new("dockerd");
        daemon.arg("--config-file").arg(file).env("HOME", &lab).stdout(Stdio::null()).stderr(log);
        let daemon = Daemon(daemon.spawn().expect("dockerd starts"));
        common::soon_within(Duration::from_secs(60), "dockerd answers", || {
            engine.command("docker", &["version"]).status.success()
        });
        let words = format!("docker run --rm --network none {} box", binds(&lab));
        engine.run = words.split(' ').map(str::to_owned).collect();
        stdout(&engine.command("docker", &["import", &format!("{lab}/image.tar"), "box"]));
        (engine, daemon)
    }

    fn command(&self, program: &str, args: &[&str]) -> Output {
        let line: Vec<&str> =
            self.by.iter().map(String::as_str).chain([program]).chain(args.iter().copied()).collect();
        let mut command = Command::new(line[0]);
        command.args(&line[1..]).envs(self.variables.iter().map(|(key, value)| (*key, value)));
        command.current_dir(&self.lab).stdin(Stdio::null()).output().expect("the engine starts")
    }

    /// A container's end, as this user in it.
    fn inside(&self, user: &str, command: &[&str]) -> Output {
        let (image, options) = self.run.split_last().expect("a line");
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        self.command(options[0], &[&options[1..], &["--user", user, image], command].concat())
    }

    fn sept(&self, user: &str, words: &[&str]) -> Output {
        self.inside(user, &[&["/opt/sept"], words].concat())
    }
}

/// A copy of the executable, which every user may reach, and where it is not static what it is linked with.
fn binds(lab: &str) -> String {
    let executable = format!("{lab}/sept");
    let from = std::env::var("SEPT_STATIC").unwrap_or_else(|_| path());
    common::copy_executable(&from, &executable);
    let mut words = format!("-v {executable}:/opt/sept:ro");
    let linked = common::host("ldd", &[&executable]);
    for library in linked.split_whitespace().filter(|word| word.starts_with('/') && Path::new(word).exists())
    {
        let _ = write!(words, " -v {library}:{library}:ro");
    }
    words
}

/// dockerd, ended with this.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let _ = self.0.wait();
        remove_cgroups();
    }
}

fn report(output: &Output) -> serde_json::Value {
    let text = stdout(output);
    serde_json::from_str(text.lines().last().expect("a line")).expect("a report")
}

fn layers(report: &serde_json::Value) -> String {
    let list = report["missing"].as_array().expect("a list");
    list.iter().filter_map(|missing| missing["layer"].as_str()).collect::<Vec<_>>().join(" ")
}

fn failed(output: &Output, words: &[&str]) {
    let said = stderr(output);
    assert_eq!(output.status.code(), Some(125), "{said}");
    words.iter().for_each(|word| assert!(said.contains(word), "{said}"));
}

fn doctor(engine: &Engine, user: &str, name: &str, answer: &str, reason: &str) {
    let output = engine.sept(user, &["doctor", "--json"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let found: serde_json::Value =
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let found = found["findings"].as_array().expect("a list").iter().find(|finding| finding["name"] == name);
    let found = found.unwrap_or_else(|| panic!("no {name} in {text}"));
    if answer == "no" && name.contains("defaults") {
        assert!(found["fix"].to_string().contains("sept run --if-possible "), "{found}");
    }
    assert!(found["answer"] == answer && found["reason"].to_string().contains(reason), "{found}");
}

#[test]
fn inside_podman() {
    in_a_lab("inside_podman", "hidden_podman", "podman");
}

/// podman's filter allows namespaces; parts of /proc and /sys are covered.
#[test]
#[ignore = "runs in a lab"]
fn hidden_podman() {
    covered_proc_and_sys(&Engine::podman(None));
}

#[test]
fn inside_podman_of_an_ordinary_user() {
    let test = "inside_podman_of_an_ordinary_user";
    if is_root() && common::host("sh", &["-c", "id -u septtest && command -v newuidmap"]).is_empty() {
        skip(test, "there is no user septtest, or no newuidmap");
        return;
    }
    in_a_lab(test, "hidden_rootless_podman", "podman");
}

/// The container is in a user namespace of its own already.
#[test]
#[ignore = "runs in a lab"]
fn hidden_rootless_podman() {
    covered_proc_and_sys(&Engine::podman(Some("septtest")));
}

fn covered_proc_and_sys(engine: &Engine) {
    for user in ["0", "1000"] {
        failed(
            &engine.sept(user, &["run", "true"]),
            &["cannot mount proc", "/proc/", "or: go on without it: --if-possible proc"],
        );
        let deep = ["run", "--if-possible", "proc", "/opt/sept"];
        let show = ["run", "--if-possible", "proc", "--report-fd", "1", "sh", "-c", "echo $$; id -u"];
        let output = engine.sept(user, &[&deep[..], &deep, &show].concat());
        assert!(stdout(&output).starts_with("1\n0\n"), "{}", stdout(&output));
        assert_eq!(layers(&report(&output)), "proc");

        let root = ["run", "--root", "/mnt", "--bind", "/bin", "/bin", "--report-fd", "1"];
        failed(
            &engine.sept(user, &[&root[..], &["--if-possible", "proc", "true"]].concat()),
            &["cannot mount sysfs", "--if-possible sys"],
        );
        let output = engine
            .sept(user, &[&root[..], &["--if-possible", "proc,sys", "--init", "ls", "/sys/kernel"]].concat());
        assert_eq!(layers(&report(&output)), "proc sys");

        doctor(engine, user, "user", "yes", "");
        doctor(engine, user, "proc", "no", "are covered");
        doctor(engine, user, "container", "limited", "podman");
        doctor(engine, user, "system call filter", "limited", "already (1)");
        doctor(engine, user, "with its defaults", "no", "are covered");
    }
}

#[test]
fn inside_docker() {
    in_a_lab("inside_docker", "hidden_docker", "dockerd");
}

/// docker's filter refuses new namespaces to whom has no CAP_SYS_ADMIN, and clone3 to everyone.
#[test]
#[ignore = "runs in a lab"]
fn hidden_docker() {
    let (engine, _daemon) = Engine::docker();
    for user in ["0", "1000"] {
        let refused = engine.sept(user, &["run", "--if-possible", "proc", "true"]);
        failed(
            &refused,
            &["operation not permitted", "seccomp filter", "or: go on without it: --if-possible namespaces"],
        );
        let show = "id -u; cat /proc/self/status";
        let declared = [
            "run",
            "--if-possible",
            "namespaces",
            "--rlimit",
            "nofile=64",
            "--report-fd",
            "1",
            "sh",
            "-c",
            show,
        ];
        let output = engine.sept(user, &declared);
        let text = stdout(&output);
        let has = |line: &str| text.lines().any(|other| other == line);
        assert!(
            text.starts_with(user) && has("NoNewPrivs:\t1") && has("CapEff:\t0000000000000000"),
            "{text}"
        );
        assert!(has("Seccomp_filters:\t3"), "its own two beside docker's: {text}");
        let report = report(&output);
        assert_eq!(layers(&report), "namespaces");
        assert_eq!(report["enforced"]["seccomp"], serde_json::json!(["limits of others", "default"]));
        assert!(report["enforced"]["landlock_abi"].as_u64().is_none_or(|abi| abi >= 6));
        // Confinement alone needs nothing that docker refuses.
        let alone = ["run", "--namespaces", "none", "--landlock-exec", "/", "--landlock-rw", "/tmp"];
        let output =
            engine.sept(user, &[&alone[..], &["sh", "-c", "echo x >/tmp/x && ! echo x >/opt/x"]].concat());
        stdout(&output);

        doctor(&engine, user, "user", "no", "seccomp filter");
        doctor(&engine, user, "with its defaults", "no", "seccomp filter");
        doctor(&engine, user, "container", "limited", "docker");
        doctor(&engine, user, "Landlock", "yes", "");
    }
}
