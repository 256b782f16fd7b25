//! `--tty`: a terminal of the command's own, fed from a pipe.

mod common;

use std::io::{Read, Write};
use std::ops::{Deref, DerefMut};
use std::process::{Child, Command, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec};

use common::{need, on_terminal, path, run, sept_with_default_signals, soon, stderr, stdout};

/// A program that is fed through a pipe. A test that fails leaves it no time: with it goes its terminal, and all on that.
struct Fed(Child);

impl Fed {
    fn new(command: &mut Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        Self(command.spawn().expect("it starts"))
    }
}

impl Drop for Fed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Deref for Fed {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.0
    }
}

impl DerefMut for Fed {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.0
    }
}

fn start(args: &[&str]) -> Fed {
    Fed::new(sept_with_default_signals().args(["run", "-t"]).args(args))
}

/// Reads until `word` has come, though not for ever.
fn read_until(child: &mut Child, word: &str) -> String {
    let out = child.stdout.as_mut().expect("output is piped");
    let mut text = Vec::new();
    while !String::from_utf8_lossy(&text).contains(word) {
        let mut byte = [0];
        let limit = Timespec { tv_sec: 60, tv_nsec: 0 };
        let ready = rustix::event::poll(&mut [PollFd::new(out, PollFlags::IN)], Some(&limit));
        assert_eq!(ready, Ok(1), "{word:?} does not come after {:?}", String::from_utf8_lossy(&text));
        out.read_exact(&mut byte).expect("more output comes");
        text.push(byte[0]);
    }
    String::from_utf8_lossy(&text).into_owned()
}

fn type_in(child: &mut Child, bytes: &[u8]) {
    child.stdin.as_mut().expect("input is piped").write_all(bytes).expect("input is taken");
}

/// Types Ctrl-C, and waits for the end. Standard input stays open until then: its end is no Ctrl-C.
fn interrupted(mut child: Fed) -> Option<i32> {
    type_in(&mut child, b"\x03");
    let held = child.stdin.take();
    let status = child.wait().expect("it ends");
    drop(held);
    status.code()
}

#[test]
fn the_command_has_a_terminal_and_its_exit_code_passes() {
    let mut child = start(&["sh", "-c", "test -t 0 && test -t 1 && test -t 2 && echo all; exit 5"]);
    assert!(read_until(&mut child, "all").ends_with("all"));
    assert_eq!(child.wait().expect("it ends").code(), Some(5));
}

#[test]
fn ctrl_c_ends_a_pid_1_that_leaves_sigint_at_its_default() {
    // Not through a shell: one that is about to exec may catch the signal and lose it.
    let mut child = start(&["cat"]);
    type_in(&mut child, b"x\n");
    read_until(&mut child, "x\r\nx");
    assert_eq!(interrupted(child), Some(130));
}

#[test]
fn ctrl_c_reaches_a_command_that_handles_it() {
    let mut child = start(&["sh", "-c", "trap 'exit 9' INT; echo ready; while :; do sleep 0.05; done"]);
    read_until(&mut child, "ready");
    assert_eq!(interrupted(child), Some(9));
}

#[test]
fn the_end_of_input_is_the_end_of_the_terminals_input() {
    let mut child = start(&["cat"]);
    type_in(&mut child, b"line\n");
    drop(child.stdin.take());
    let mut text = String::new();
    child.stdout.take().expect("output is piped").read_to_string(&mut text).expect("it can be read");
    // Once by the terminal's echo, once by cat.
    assert_eq!(text.matches("line").count(), 2, "{text:?}");
    assert!(child.wait().expect("it ends").success());
    // Also within a line.
    let mut child = start(&["cat"]);
    type_in(&mut child, b"half");
    drop(child.stdin.take());
    let mut text = String::new();
    child.stdout.take().expect("output is piped").read_to_string(&mut text).expect("it can be read");
    assert!(text.contains("halfhalf") && child.wait().expect("it ends").success(), "{text:?}");
}

#[test]
fn the_terminal_has_the_size_of_the_outer_one() {
    if !need("the_terminal_has_the_size_of_the_outer_one", &["script", "stty"]) {
        return;
    }
    let line = format!("stty rows 33 cols 99; {} run -t stty size", path());
    let output = on_terminal(&line).output().expect("script starts");
    // script(1) may show the end of its own input, before or after.
    assert_eq!(common::stdout(&output).replace("^@", "").trim(), "33 99");
}

/// Runs a script of a shell with job control on a terminal that is fed through a pipe. Such a shell gives each command
/// the foreground, as the one does that a user types into.
fn with_job_control(script: &str) -> Fed {
    let line = format!("env --default-signal sh -mc '{script}'");
    Fed::new(&mut on_terminal(&line))
}

/// Ends the shell outside, and waits for it.
fn leave(mut shell: Fed) {
    type_in(&mut shell, b"exit\n");
    finish(shell);
}

fn finish(mut child: Fed) {
    drop(child.stdin.take());
    child.wait().expect("it ends");
}

#[test]
fn ctrl_c_on_a_shared_terminal_ends_the_command_and_not_the_shell_outside() {
    if !need("ctrl_c_on_a_shared_terminal_ends_the_command_and_not_the_shell_outside", &["script"]) {
        return;
    }
    let mut child = with_job_control(&format!("trap : INT; {} run cat; echo ended $?", path()));
    type_in(&mut child, b"x\n");
    read_until(&mut child, "x\r\nx");
    type_in(&mut child, b"\x03");
    assert!(read_until(&mut child, "ended 130").ends_with("ended 130"));
    finish(child);
}

/// A command that answers each line, and is not taken for the terminal's echo of it, which may come before or after an
/// earlier answer.
const ANSWER: &str = "sed -u s/^/got-/";

/// Ctrl-Z, what the shell outside sees of it, `fg`, and Ctrl-C.
fn suspended(options: &str) {
    let sept = path();
    let script = format!("trap : INT; {sept} run {options} {ANSWER}; echo stopped $?; fg; echo ended $?");
    let mut child = with_job_control(&script);
    type_in(&mut child, b"x\n");
    read_until(&mut child, "got-x");
    type_in(&mut child, b"\x1a");
    // The shell says that the job is stopped, and has the terminal: 128 and SIGSTOP or SIGTSTP.
    let text = read_until(&mut child, "stopped 14");
    assert!(text.ends_with("stopped 14"), "{text:?}");
    // By which fg says what goes on.
    read_until(&mut child, "run");
    type_in(&mut child, b"y\n");
    let text = read_until(&mut child, "got-y");
    assert!(text.ends_with("got-y"), "{text:?}");
    type_in(&mut child, b"\x03");
    assert!(read_until(&mut child, "ended 130").ends_with("ended 130"));
    finish(child);
}

#[test]
fn ctrl_z_and_fg_work_on_a_shared_terminal() {
    if need("ctrl_z_and_fg_work_on_a_shared_terminal", &["script"]) {
        suspended("");
    }
}

#[test]
fn ctrl_z_and_fg_work_on_a_terminal_of_its_own() {
    if need("ctrl_z_and_fg_work_on_a_terminal_of_its_own", &["script"]) {
        // Also where the command is no PID 1, and the kernel stops it, or does not.
        ["-t", "-t --init", "-t --share pid", "-t --namespaces none"].into_iter().for_each(suspended);
    }
}

/// A shell that a user types into, on a terminal.
fn interactive() -> Fed {
    Fed::new(&mut on_terminal("env --default-signal PS1=prompt: bash --norc --noprofile --noediting -i"))
}

/// Ctrl-Z and `bg`.
fn into_background(child: &mut Child) {
    type_in(child, b"\x1a");
    read_until(child, "Stopped");
    type_in(child, b"bg\n");
    read_until(child, " &\r\n");
}

/// bash says nothing to a job that it brings back while it runs: no SIGCONT.
fn back_and_forth(options: &str) {
    let mut child = interactive();
    type_in(&mut child, format!("{} run {options} {ANSWER}\n", path()).as_bytes());
    type_in(&mut child, b"x\n");
    read_until(&mut child, "got-x");
    for word in ["y", "z"] {
        into_background(&mut child);
        type_in(&mut child, b"fg\n");
        read_until(&mut child, "got-/\r\n");
        type_in(&mut child, format!("{word}\n").as_bytes());
        read_until(&mut child, &format!("got-{word}"));
    }
    type_in(&mut child, b"\x03");
    read_until(&mut child, "prompt:");
    type_in(&mut child, b"echo ended-$?\n");
    read_until(&mut child, "ended-130");
    leave(child);
}

#[test]
fn a_command_goes_on_in_the_background_and_comes_back() {
    if need("a_command_goes_on_in_the_background_and_comes_back", &["script", "bash"]) {
        ["", "-t"].into_iter().for_each(back_and_forth);
    }
}

/// The kernel sends SIGTTIN again and again to who leaves it at its default and is PID 1: sept must not wait for its end.
#[test]
fn who_reads_in_the_background_stops_until_it_is_brought_back() {
    if !need("who_reads_in_the_background_stops_until_it_is_brought_back", &["script", "bash"]) {
        return;
    }
    for options in ["", "--init", "--share pid"] {
        let mut child = interactive();
        let line = format!("{} run {options} {ANSWER} &\n", path());
        type_in(&mut child, line.as_bytes());
        let stopped = "while jobs | grep -q Running; do sleep 0.1; done; jobs; echo jobs-$?\n";
        type_in(&mut child, stopped.as_bytes());
        let text = read_until(&mut child, "jobs-0");
        assert!(text.contains("Stopped"), "{options}: {text}");
        type_in(&mut child, b"fg\nx\n");
        read_until(&mut child, "got-x");
        type_in(&mut child, b"\x03");
        read_until(&mut child, "prompt:");
        leave(child);
    }
}

/// Whether a sept has stopped among the descendants of a process.
fn has_stopped(pid: u32) -> bool {
    let is_stopped = |pid: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.contains("(sept) T ")
    };
    common::children(pid).iter().any(|pid| is_stopped(pid) || has_stopped(*pid))
}

/// Ctrl-Z, `fg` and Ctrl-C of a job that answers, and whose line ends so.
fn stopped_and_brought_back(child: &mut Fed, end: &str) {
    type_in(child, b"x\n");
    read_until(child, "got-x");
    type_in(child, b"\x1a");
    read_until(child, "Stopped");
    read_until(child, "prompt:");
    // A shell that waits for another process of the job is faster.
    soon("sept has stopped", || has_stopped(child.id()));
    // The first character after a stop may be lost, whatever has stopped.
    type_in(child, b" fg\n");
    read_until(child, &format!("{end}\r\n"));
    type_in(child, b"y\n");
    read_until(child, "got-y");
    type_in(child, b"\x03");
    read_until(child, "prompt:");
}

/// Of such a job the shell outside waits for the script, which may stop before sept does.
#[test]
fn ctrl_z_and_fg_work_where_a_script_starts_it() {
    if !need("ctrl_z_and_fg_work_where_a_script_starts_it", &["script", "bash"]) {
        return;
    }
    let mut child = interactive();
    for words in ["run", "run -U", "run --init", "run -t", "unshare -Urpf"] {
        for _ in 0..4 {
            let end = format!("{ANSWER}; echo after'");
            type_in(&mut child, format!("sh -c '{} {words} {end}\n", path()).as_bytes());
            stopped_and_brought_back(&mut child, &end);
        }
    }
    leave(child);
}

/// The kernel stops no PID 1 for a signal from inside.
#[test]
fn ctrl_z_leaves_the_terminal_to_a_job_that_cannot_stop() {
    if !need("ctrl_z_leaves_the_terminal_to_a_job_that_cannot_stop", &["script", "bash"]) {
        return;
    }
    let mut child = interactive();
    type_in(&mut child, format!("{0} run {0} run {ANSWER}\n", path()).as_bytes());
    goes_on(&mut child);
    read_until(&mut child, "prompt:");
    leave(child);
    // Nor one of a process group that no shell would continue: that of a session's leader.
    let line = format!("env --default-signal {} run {ANSWER}", path());
    let mut child = Fed::new(&mut on_terminal(&line));
    goes_on(&mut child);
    finish(child);
}

/// Ctrl-Z does nothing, Ctrl-C ends it.
fn goes_on(child: &mut Fed) {
    type_in(child, b"x\n");
    read_until(child, "got-x");
    type_in(child, b"\x1ay\n");
    read_until(child, "got-y");
    type_in(child, b"\x03");
}

#[test]
fn the_rest_of_a_pipeline_has_the_terminal_too() {
    if !need("the_rest_of_a_pipeline_has_the_terminal_too", &["script", "bash"]) {
        return;
    }
    let first = format!("{} run sh -c 'trap : INT; echo beg''un; while :; do sleep 60; done'", path());
    let reader = "sh -c 'read x; echo $x; read x </dev/tty; echo got-$x'";
    let catcher = "(trap 'echo got-i''nt' INT; cat; cat)";
    for (rest, typed, answer) in [(reader, "word\n", "got-word"), (catcher, "\x03", "got-int")] {
        let mut child = interactive();
        type_in(&mut child, format!("{first} | {rest}\n").as_bytes());
        read_until(&mut child, "begun");
        type_in(&mut child, typed.as_bytes());
        read_until(&mut child, answer);
        // Ctrl-\ is for all of them.
        type_in(&mut child, b"\x1c");
        read_until(&mut child, "prompt:");
        leave(child);
    }
}

#[test]
fn ctrl_z_stops_all_of_a_pipeline() {
    if !need("ctrl_z_stops_all_of_a_pipeline", &["script", "bash"]) {
        return;
    }
    let mut child = interactive();
    for options in ["", "-U", "--init", "-t"] {
        type_in(&mut child, format!("{} run {options} {ANSWER} | cat\n", path()).as_bytes());
        stopped_and_brought_back(&mut child, &format!("{ANSWER} | cat"));
    }
    leave(child);
}

/// A shell that edits lines has its own modes of the terminal, while jobs run in the background.
#[test]
fn a_terminal_that_begins_in_the_background_has_the_modes_of_a_job() {
    if !need("a_terminal_that_begins_in_the_background_has_the_modes_of_a_job", &["script", "bash", "stty"]) {
        return;
    }
    let editing = "env --default-signal PS1=prompt: TERM=dumb bash --norc --noprofile -i";
    let mut child = Fed::new(&mut on_terminal(editing));
    read_until(&mut child, "prompt:");
    let modes =
        r#"read x; stty -a | tr " ;" "\n\n" | grep -x -e -*icanon -e -*echo | tr "\n" _; echo se"e"n"#;
    type_in(&mut child, format!("{} run -t sh -c '{modes}' &\n", path()).as_bytes());
    read_until(&mut child, "prompt:");
    std::thread::sleep(std::time::Duration::from_millis(300));
    type_in(&mut child, b"fg\n");
    std::thread::sleep(std::time::Duration::from_millis(300));
    type_in(&mut child, b"go\n");
    let said = read_until(&mut child, "seen");
    assert!(said.contains("icanon_echo_") && !said.contains("-icanon"), "{said}");
    leave(child);
}

#[test]
fn what_ends_in_the_background_leaves_the_terminal_to_whom_has_it() {
    if !need("what_ends_in_the_background_leaves_the_terminal_to_whom_has_it", &["script", "bash"]) {
        return;
    }
    let mut child = interactive();
    // One that was started there, and one that was brought there.
    for brought in [false, true] {
        let end = if brought { "" } else { " &" };
        type_in(
            &mut child,
            format!("{} run sh -c 'echo beg''un; sleep 1; echo ov''er'{end}\n", path()).as_bytes(),
        );
        read_until(&mut child, "begun");
        if brought {
            // A shell in vfork(2) stops only after its child's exec, and a child that has stopped before does not come to that.
            std::thread::sleep(std::time::Duration::from_millis(300));
            into_background(&mut child);
        }
        type_in(&mut child, format!("{ANSWER}\nx\n").as_bytes());
        read_until(&mut child, "over");
        // It has said so, and ends.
        std::thread::sleep(std::time::Duration::from_millis(300));
        type_in(&mut child, b"y\n");
        read_until(&mut child, "got-y");
        type_in(&mut child, b"\x04");
        read_until(&mut child, "prompt:");
        type_in(&mut child, b"echo se''en\n");
        read_until(&mut child, "seen");
    }
    leave(child);
}

/// A command that stops itself stops the job, and not the time.
#[test]
fn a_command_that_stops_is_ended_in_time() {
    let line = ["run", "--share", "pid", "--timeout", "1", "sh", "-c", "kill -STOP $$; sleep 60"];
    // Without a terminal sept does not stop at all.
    let mut command = Command::new("setsid");
    let status = command.args(["-w", &path()]).args(line).stdin(Stdio::null()).status().expect("it starts");
    assert_eq!(status.code(), Some(124));
    if !need("a_command_that_stops_is_ended_in_time", &["script"]) {
        return;
    }
    let options = "run --share pid --timeout 1";
    let script =
        format!(r#"{} {options} sh -c "kill -STOP \$\$; sleep 60"; echo stopped $?; sleep 2; jobs"#, path());
    let mut child = with_job_control(&script);
    assert!(read_until(&mut child, "stopped 148").ends_with("stopped 148"));
    assert!(read_until(&mut child, "Done(124)").ends_with("Done(124)"));
    finish(child);
}

/// Nobody takes what it writes, and it never stops writing.
#[test]
fn a_flood_that_nobody_reads_holds_nothing_up() {
    let ended = |child: &Fed| {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap_or_default();
        stat.contains(") Z ")
    };
    for (options, code) in [(["--timeout", "1"], 124), (["--hostname", "x"], 128 + 15)] {
        let mut child = start(&[&options[..], &["yes"]].concat());
        if code != 124 {
            std::thread::sleep(std::time::Duration::from_millis(300));
            let killed = Command::new("kill").arg(child.id().to_string()).status();
            assert!(killed.expect("it starts").success());
        }
        soon("it ends", || ended(&child));
        assert_eq!(child.wait().expect("it ended").code(), Some(code));
    }
}

#[test]
fn a_terminal_that_was_closed_inside_is_there_when_it_is_opened_again() {
    let script = "exec 0<&- 1>&- 2>&-; sleep 0.2; echo again >/dev/tty";
    let output = run(&["-t", "sh", "-c", script]);
    assert_eq!(stdout(&output), "again", "{}", stderr(&output));
}

/// The reaper's command decides what Ctrl-Z does, and no sept stops without it.
#[test]
fn ctrl_z_below_a_reaper_is_the_commands_own_business() {
    if !need("ctrl_z_below_a_reaper_is_the_commands_own_business", &["script", "bash", "perl"]) {
        return;
    }
    let mut child = interactive();
    let catching = r#"perl -ne 'BEGIN { $| = 1; $SIG{TSTP} = sub { print "cau", "ght\n" } } print "got-$_"'"#;
    let lines = [
        format!("(trap '' TSTP; exec {} run --init {ANSWER})", path()),
        format!("{} run --init {catching}", path()),
    ];
    for (line, answer) in lines.into_iter().zip(["^Z", "caught"]) {
        type_in(&mut child, format!("{line}\nx\n").as_bytes());
        read_until(&mut child, "got-x");
        type_in(&mut child, b"\x1a");
        read_until(&mut child, answer);
        // As soon as it would have stopped.
        std::thread::sleep(std::time::Duration::from_millis(300));
        type_in(&mut child, b"y\n");
        read_until(&mut child, "got-y");
        type_in(&mut child, b"\x03");
        read_until(&mut child, "prompt:");
    }
    leave(child);
}

/// A shell with job control gives the terminal back to the job that it found, which needs a number inside.
#[test]
fn the_exit_code_of_a_shell_passes() {
    if !need("the_exit_code_of_a_shell_passes", &["script", "bash", "dash"]) {
        return;
    }
    let mut child = interactive();
    for options in ["", "--init", "-t", "-t --init", "--share pid"] {
        type_in(&mut child, format!("{} run {options} --env PS1=inner: dash\n", path()).as_bytes());
        type_in(&mut child, b"echo in''side\n");
        read_until(&mut child, "inside");
        read_until(&mut child, "inner:");
        type_in(&mut child, b"exit 7\n");
        read_until(&mut child, "prompt:");
        type_in(&mut child, b"echo code-$?\n");
        read_until(&mut child, "code-7");
    }
    leave(child);
}

/// As editors do for Ctrl-Z, which they read as a character.
#[test]
fn a_command_that_stops_itself_is_seen_to() {
    if !need("a_command_that_stops_itself_is_seen_to", &["script", "bash"]) {
        return;
    }
    let mut child = interactive();
    // A PID 1 is stopped by nobody inside.
    for options in ["--init", "-t --init", "-t --share pid"] {
        let script = "sleep 0.3; kill -STOP $$; echo go''es on";
        let line = format!("{} run {options} sh -c \"{script}\"\n", path()).replace("$$", "\\$\\$");
        type_in(&mut child, line.as_bytes());
        read_until(&mut child, "Stopped");
        read_until(&mut child, "prompt:");
        type_in(&mut child, b"fg\n");
        read_until(&mut child, "goes on");
        read_until(&mut child, "prompt:");
    }
    leave(child);
}

/// What is typed reaches no other session by itself.
#[test]
fn ctrl_c_is_passed_on_to_a_session_of_its_own() {
    if !need("ctrl_c_is_passed_on_to_a_session_of_its_own", &["script", "bash"]) {
        return;
    }
    let mut child = interactive();
    for options in ["--new-session", "--new-session --init", "--new-session --share pid"] {
        let script = "trap \"echo caught; exit 9\" INT; echo wait''ing; while :; do sleep 0.05; done";
        type_in(&mut child, format!("{} run {options} sh -c '{script}'; echo code-$?\n", path()).as_bytes());
        read_until(&mut child, "waiting");
        type_in(&mut child, b"\x03");
        read_until(&mut child, "code-9");
    }
    // A shell waits for what it has started, which must be told as well.
    let line = format!("{} run --new-session sh -c 'echo wait''ing; sleep 100; :'\n", path());
    type_in(&mut child, line.as_bytes());
    read_until(&mut child, "waiting");
    // Until it does.
    std::thread::sleep(std::time::Duration::from_millis(300));
    type_in(&mut child, b"\x03");
    read_until(&mut child, "prompt:");
    type_in(&mut child, b"echo code-$?\n");
    read_until(&mut child, "code-130");
    leave(child);
}

#[test]
fn ctrl_c_ends_a_loop_of_the_shell_outside() {
    if !need("ctrl_c_ends_a_loop_of_the_shell_outside", &["script", "bash"]) {
        return;
    }
    let mut child = interactive();
    // A shell in between dies of SIGINT, too, where it may: as PID 1 it can't.
    let shell = format!("sh -c \"{ANSWER}; :\"");
    for (options, command) in
        [("", ANSWER), ("-U", ANSWER), ("--init", ANSWER), ("-t", ANSWER), ("", &shell), ("-t", &shell)]
    {
        let line = format!("for n in 1 2 3; do echo round-$n; {} run {options} {command}; done", path());
        type_in(&mut child, format!("{line}\nx\n").as_bytes());
        read_until(&mut child, "got-x");
        type_in(&mut child, b"\x03");
        // Where the loop goes on there is no prompt.
        read_until(&mut child, "prompt:");
        type_in(&mut child, b"echo ended-$?\n");
        read_until(&mut child, "ended-130");
    }
    leave(child);
}

#[test]
fn a_quoted_ctrl_c_is_none_however_slowly_it_is_typed() {
    let mut child = start(&["cat"]);
    type_in(&mut child, b"\x16");
    read_until(&mut child, "^");
    type_in(&mut child, b"\x03\n");
    // Shown by the terminal as two characters, and by cat as it is.
    read_until(&mut child, "\x03");
    assert_eq!(interrupted(child), Some(130));
}

/// As after nohup(1), or of a job in the background of a script.
#[test]
fn a_signal_that_the_caller_ignores_ends_no_start() {
    let script =
        format!("trap '' HUP INT; exec {} run --tmpfs /mnt --file 0 /mnt/file cat /mnt/file", path());
    let mut child = Fed::new(Command::new("sh").args(["-c", &script]));
    let pid = child.id();
    // Set-up waits for the rest of the file.
    soon("the start is under way", || !common::children(pid).is_empty());
    let signals = Command::new("sh").arg("-c").arg(format!("kill -HUP {pid}; kill -INT {pid}")).status();
    assert!(signals.expect("it starts").success());
    soon("sept has taken both", || {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        !status.contains("ShdPnd:") || status.contains("ShdPnd:\t0000000000000000")
    });
    type_in(&mut child, b"word\n");
    drop(child.stdin.take());
    let mut said = String::new();
    child.stdout.take().expect("output is piped").read_to_string(&mut said).expect("it can be read");
    assert_eq!((said.as_str(), child.wait().expect("it ends").code()), ("word\n", Some(0)));
}

/// A signal that the command outlives ends nothing of what it writes afterwards.
#[test]
fn what_is_written_after_a_signal_is_shown_to_its_end() {
    if !need("what_is_written_after_a_signal_is_shown_to_its_end", &["perl"]) {
        return;
    }
    let script = r#"$| = 1; $SIG{HUP} = sub { $told = 1 }; print "ready"; select undef, undef, undef, .01 until $told;
        print "x" x 100000, "end""#;
    let mut child = start(&["perl", "-e", script]);
    read_until(&mut child, "ready");
    common::host("kill", &["-HUP", &child.id().to_string()]);
    // Later than the command has ended, and as who takes his time.
    let (mut text, mut buffer) = (Vec::new(), [0; 2000]);
    let out = child.stdout.as_mut().expect("output is piped");
    std::thread::sleep(std::time::Duration::from_millis(300));
    loop {
        match out.read(&mut buffer).expect("it can be read") {
            0 => break,
            count => text.extend_from_slice(&buffer[..count]),
        }
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    assert!(text.ends_with(b"end") && text.len() > 100_000, "{} bytes", text.len());
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}

/// timeout(1) makes a process group of its own, and Ctrl-C goes to that of the shell's job.
#[test]
fn ctrl_c_reaches_a_command_that_has_left_the_job() {
    if !need("ctrl_c_reaches_a_command_that_has_left_the_job", &["script", "bash", "timeout", "perl"]) {
        return;
    }
    for options in ["--init", "--share pid", ""] {
        let mut shell = interactive();
        let line =
            format!("{} run {options} timeout 60 perl -e '$| = 1; print qw(beg un); sleep 59'\n", path());
        type_in(&mut shell, line.as_bytes());
        read_until(&mut shell, "begun");
        type_in(&mut shell, b"\x03");
        let began = std::time::Instant::now();
        std::thread::sleep(std::time::Duration::from_millis(500));
        type_in(&mut shell, b"echo co\"\"de $?\n");
        read_until(&mut shell, "code 1");
        assert!(began.elapsed().as_secs() < 30, "{options}");
        leave(shell);
    }
}

/// After su(1) the terminal is another user's: it can't be opened anew by its name.
#[test]
fn a_terminal_of_another_user_that_nobody_reads_holds_nothing_up() {
    let test = "a_terminal_of_another_user_that_nobody_reads_holds_nothing_up";
    if !need(test, &["script", "setpriv"]) || !common::need_root(test, "only root becomes another user") {
        return;
    }
    let flood = format!(
        "setpriv --reuid 65534 --regid 65534 --clear-groups {} run -t --timeout 1 yes aaaaaaaaaaaaaaaaaaaaaaa",
        path()
    );
    for _ in 0..3 {
        let mut script = Fed::new(&mut on_terminal(&format!("exec {flood}")));
        let shell = || common::children(script.id()).first().copied();
        soon("it runs", || shell().is_some());
        let sept = shell().expect("it runs");
        let state = || std::fs::read_to_string(format!("/proc/{sept}/stat")).unwrap_or_default();
        // For a moment somebody reads it, a piece at a time.
        let mut buffer = [0; 1000];
        for _ in 0..300 {
            script.stdout.as_mut().expect("output is piped").read_exact(&mut buffer).expect("more comes");
        }
        common::soon_within(std::time::Duration::from_secs(20), "its time ends it", || {
            state().is_empty() || state().contains(") Z ")
        });
        let _ = script.kill();
    }
}

/// By then there may be a reaper, and no command yet; or neither.
#[test]
fn ctrl_c_in_the_middle_of_a_start_is_not_lost() {
    if !need("ctrl_c_in_the_middle_of_a_start_is_not_lost", &["script"]) {
        return;
    }
    for options in ["--init", "-T"] {
        for n in 0..16 {
            let line = format!("echo begins; exec {} run {options} sleep 60", path());
            let mut child = Fed::new(&mut on_terminal(&line));
            read_until(&mut child, "begins");
            std::thread::sleep(std::time::Duration::from_micros(100 * n));
            let began = std::time::Instant::now();
            interrupted(child);
            assert!(began.elapsed().as_secs() < 50, "{options}: it was lost");
        }
    }
}
