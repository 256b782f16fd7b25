//! One guest: started by QEMU in software, stored once it is ready, given a job, read to its end.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use super::now;
use crate::{Result, Scratch, sh};

pub const QEMU: &str = "qemu-system-x86_64";

/// No guest of ours is slower to come up, on a busy host.
const BOOT: Duration = Duration::from_secs(240);

/// The second disk has always this size: a stored guest knows no other.
const JOB_DISK: u64 = 1 << 30;

/// What a stored guest must find again as it was.
#[rustfmt::skip]
pub const MACHINE: [&str; 13] = [
    "-accel", "tcg,thread=multi", "-cpu", "max", "-M", "q35", "-m", "1024", "-smp", "2", "-nodefaults", "-display", "none",
];

pub const CMDLINE: &str =
    "console=ttyS0 panic=-1 quiet loglevel=3 mitigations=off systemd.show_status=0 systemd.log_level=warning";

/// A guest in a directory: `vmlinuz`, `initrd`, `disk`, and `stored` where it could be stored.
pub struct Guest {
    place: PathBuf,
}

/// Whether a start keeps what it writes to the disk.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Disk {
    Kept,
    Forgotten,
}

impl Guest {
    pub fn at(place: PathBuf) -> Self {
        Self { place }
    }

    /// Starts it, stores it as it is when it is ready, and looks whether that can be started. If not, it will boot
    /// each time.
    pub fn store(&self) -> Result {
        let scratch = Scratch::new()?;
        let empty = disk(&scratch.0, None)?;
        let mut running = self.start(&scratch.0, &empty, Disk::Kept, None)?;
        running.wait_ready(BOOT)?;
        // The disk is quiet when nothing is written for a moment.
        std::thread::sleep(Duration::from_secs(1));
        running.monitor("migrate_set_parameter max-bandwidth 100G\nmigrate \"exec:cat >stored\"\nquit\n")?;
        drop(running);
        let job = scratch.0.join("job");
        fs::create_dir(&job)
            .and_then(|()| fs::write(job.join("run"), "exit 7"))
            .map_err(|error| error.to_string())?;
        match self.run_stored(&job, Duration::from_secs(60), |_: &[u8]| {}) {
            Ok(7) => {}
            told => {
                println!("a stored guest can't be started here ({told:?}); it will boot each time");
                let _ = fs::remove_file(self.place.join("stored"));
            }
        }
        Ok(())
    }

    /// Runs the script `run` of a directory, with all that is in it. What it prints comes by lines.
    pub fn run(&self, job: &Path, limit: Duration, each: impl FnMut(&[u8])) -> Result<u8> {
        if self.place.join("stored").is_file() {
            return self.run_stored(job, limit, each);
        }
        let scratch = Scratch::new()?;
        let disk = disk(&scratch.0, Some(job))?;
        let mut running = self.start(&scratch.0, &disk, Disk::Forgotten, None)?;
        running.wait_ready(BOOT)?;
        running.work(&disk, limit, each)
    }

    fn run_stored(&self, job: &Path, limit: Duration, each: impl FnMut(&[u8])) -> Result<u8> {
        let scratch = Scratch::new()?;
        let disk = disk(&scratch.0, Some(job))?;
        let mut running = self.start(&scratch.0, &disk, Disk::Forgotten, Some("exec:cat stored"))?;
        running.wait_loaded(Duration::from_secs(60))?;
        running.work(&disk, limit, each)
    }

    fn start(&self, scratch: &Path, job: &JobDisk, disk: Disk, stored: Option<&str>) -> Result<Running> {
        // A comma ends a value unless it is doubled.
        let path = |path: &Path| path.display().to_string().replace(',', ",,");
        let console = scratch.join("console");
        let monitor = scratch.join("monitor");
        // It ends with us, however we end.
        let mut qemu = Command::new("setpriv");
        qemu.args(["--pdeathsig", "KILL", QEMU]).current_dir(&self.place);
        qemu.args(MACHINE).arg("-no-reboot");
        qemu.args(["-kernel", "vmlinuz", "-initrd", "initrd", "-append", CMDLINE]);
        let snapshot = if disk == Disk::Forgotten { ",snapshot=on" } else { "" };
        qemu.args(["-drive", &format!("file=disk,if=none,id=root,format=raw,cache=unsafe{snapshot}")]);
        qemu.args(["-device", "virtio-blk-pci,drive=root"]);
        qemu.args(["-drive", &format!("file={},if=none,id=job,format=raw,readonly=on", path(&job.path))]);
        qemu.args(["-device", "virtio-blk-pci,drive=job"]);
        qemu.args([
            "-chardev",
            &format!("file,id=console,path={}", path(&console)),
            "-serial",
            "chardev:console",
        ]);
        qemu.args(["-chardev", "stdio,id=job,signal=off", "-serial", "chardev:job"]);
        qemu.args(["-chardev", &format!("socket,id=monitor,path={},server=on,wait=off", path(&monitor))]);
        qemu.args(["-mon", "chardev=monitor"]);
        qemu.args(stored.iter().flat_map(|uri| ["-incoming", uri]));
        let errors = File::create(scratch.join("qemu")).map_err(|error| error.to_string())?;
        qemu.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(errors);
        let mut child = qemu.spawn().map_err(|error| format!("{QEMU}: {error}"))?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let mut running = Running {
            child,
            input,
            lines: lines(output.ok_or("no output of the guest")?),
            monitor,
            scratch: scratch.to_path_buf(),
        };
        running.alive()?;
        Ok(running)
    }
}

/// The lines of a stream, read by a thread of their own so that one can wait for them with a limit.
fn lines(stream: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut stream = BufReader::new(stream);
        loop {
            let mut line = Vec::new();
            match stream.read_until(b'\n', &mut line) {
                Ok(1..) if sender.send(line).is_ok() => {}
                _ => return,
            }
        }
    });
    receiver
}

struct JobDisk {
    path: PathBuf,
    mebibytes: u64,
}

/// The second disk: a directory as an archive.
fn disk(scratch: &Path, job: Option<&Path>) -> Result<JobDisk> {
    let path = scratch.join("job.tar");
    if let Some(job) = job {
        sh(Command::new("tar")
            .arg("-C")
            .arg(job)
            .args(["--owner=0", "--group=0", "-cf"])
            .arg(&path)
            .arg("."))?;
    }
    let file = File::options().create(true).append(true).open(&path).map_err(|error| error.to_string())?;
    let size = file.metadata().map_err(|error| error.to_string())?.len();
    if size > JOB_DISK {
        return Err(format!("what goes into the guest is {} MiB, more than {}", size >> 20, JOB_DISK >> 20));
    }
    file.set_len(JOB_DISK).map_err(|error| error.to_string())?;
    Ok(JobDisk { path, mebibytes: size.div_ceil(1 << 20) })
}

/// A guest that runs; killed when this is dropped.
struct Running {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<Vec<u8>>,
    monitor: PathBuf,
    scratch: PathBuf,
}

impl Running {
    fn alive(&mut self) -> Result {
        match self.child.try_wait() {
            Ok(Some(status)) => Err(self.failure(&format!("it ended at once: {status}"))),
            Ok(None) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }

    fn wait_ready(&mut self, limit: Duration) -> Result {
        let until = Instant::now() + limit;
        loop {
            if self.line(until)?.windows(10).any(|part| part == b"SEPT-READY") {
                return Ok(());
            }
        }
    }

    /// What is sent to a guest that is still being loaded is lost.
    fn wait_loaded(&mut self, limit: Duration) -> Result {
        let until = Instant::now() + limit;
        while Instant::now() < until {
            std::thread::sleep(Duration::from_millis(50));
            self.alive()?;
            let Ok(mut monitor) = UnixStream::connect(&self.monitor) else { continue };
            let asked = monitor
                .set_read_timeout(Some(Duration::from_millis(200)))
                .and_then(|()| monitor.write_all(b"info status\n"));
            asked.map_err(|error| self.failure(&format!("the monitor: {error}")))?;
            // It keeps the line open: the read ends by the time-out.
            let mut said = Vec::new();
            let _ = monitor.read_to_end(&mut said);
            if String::from_utf8_lossy(&said).contains("VM status: running") {
                return Ok(());
            }
        }
        Err(self.failure("it was not loaded in time"))
    }

    /// The next line that the guest prints.
    fn line(&mut self, until: Instant) -> Result<Vec<u8>> {
        match self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(line) => Ok(line),
            Err(RecvTimeoutError::Timeout) => Err(self.failure("it took too long")),
            Err(RecvTimeoutError::Disconnected) => Err(self.failure("it ended before the job did")),
        }
    }

    /// Hands the job over, and reads to its end.
    fn work(&mut self, disk: &JobDisk, limit: Duration, mut each: impl FnMut(&[u8])) -> Result<u8> {
        let nonce = format!("SEPT-END-{:016x}", nonce()?);
        let line = format!("GO {} {nonce} {}\n", now(), disk.mebibytes);
        let input = self.input.as_mut().ok_or("no input of the guest")?;
        let sent = input.write_all(line.as_bytes()).and_then(|()| input.flush());
        sent.map_err(|error| self.failure(&error.to_string()))?;
        let until = Instant::now() + limit;
        loop {
            let line = self.line(until)?;
            let Some(at) = line.windows(nonce.len()).position(|part| part == nonce.as_bytes()) else {
                each(&line);
                continue;
            };
            if at > 0 {
                each(&line[..at]);
            }
            let status = String::from_utf8_lossy(&line[at + nonce.len()..]).trim().parse();
            return status.map_err(|_| self.failure("it did not say how the job ended"));
        }
    }

    /// Has the monitor do this, up to a `quit` in it.
    fn monitor(&mut self, lines: &str) -> Result {
        let said = UnixStream::connect(&self.monitor).and_then(|mut monitor| {
            monitor.set_read_timeout(Some(BOOT))?;
            monitor.write_all(lines.as_bytes())?;
            let mut said = Vec::new();
            monitor.read_to_end(&mut said).map(|_| said)
        });
        said.map(drop).map_err(|error| self.failure(&format!("the monitor: {error}")))
    }

    /// What went wrong, with what the guest's console and QEMU have said last.
    fn failure(&self, what: &str) -> String {
        let tail = |name: &str| {
            let text = fs::read(self.scratch.join(name)).unwrap_or_default();
            let text = String::from_utf8_lossy(&text).replace('\r', "");
            let lines: Vec<&str> = text.lines().rev().take(15).collect();
            lines.into_iter().rev().map(|line| format!("\n  {name}: {line}")).collect::<String>()
        };
        format!("the guest: {what}{}{}", tail("qemu"), tail("console"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A number that the job can't guess.
fn nonce() -> Result<u64> {
    let mut bytes = [0; 8];
    let read = File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    read.map(|()| u64::from_ne_bytes(bytes)).map_err(|error| format!("/dev/urandom: {error}"))
}
