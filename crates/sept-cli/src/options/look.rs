//! The options of the commands that look, and of those that keep.

use super::{HELP, Id, JSON_ERRORS, KNOW, NS, Opt, Page, opt};

const JSON: Opt = opt(Id::Json, None, "json", &[], KNOW, "JSON, whose shape is that of docs/json.md");

const MOUNT: Opt = opt(Id::Mount, Some('m'), "mount", &[], NS, "The mount namespace");
const UTS: Opt = opt(Id::Uts, Some('u'), "uts", &[], NS, "The uts namespace");
const IPC: Opt = opt(Id::Ipc, Some('i'), "ipc", &[], NS, "The ipc namespace");
const NET: Opt = opt(Id::Net, Some('n'), "net", &[], NS, "The network namespace");
const PID: Opt = opt(Id::Pid, Some('p'), "pid", &[], NS, "The pid namespace");
const USER: Opt = opt(Id::User, Some('U'), "user", &[], NS, "The user namespace");
const CGROUP: Opt = opt(Id::Cgroup, Some('C'), "cgroup", &[], NS, "The cgroup namespace");
const TIME: Opt = opt(Id::Time, Some('T'), "time", &[], NS, "The time namespace");

pub static PIN: Page = Page {
    name: "pin",
    about: "Keeps the namespaces of TARGET by NAME, without a process in them.",
    usage: "[OPTIONS] TARGET NAME",
    options: &[MOUNT, UTS, IPC, NET, PID, USER, CGROUP, TIME, JSON_ERRORS, HELP],
    notes: "TARGET is a process id, the file of a namespace, or a pinned name. Without kinds: all that differ from ours. NAME can\n\
            be used wherever TARGET can: `sept enter NAME`, `sept run --join net=NAME`. For root the pin is a bind mount below\n\
            /run/sept; for others a small process holds it, and $XDG_RUNTIME_DIR/sept knows that process.\n\
            A pid namespace ends with its PID 1, pinned or not.",
    examples: &[(
        "sept run -Urn sleep 1 & sleep 0.3; sept pin $(pgrep -n -x sleep -P $!) kept; wait; sept enter kept true; sept unpin kept",
        "a network namespace that outlives its process",
    )],
};

pub static UNPIN: Page = Page {
    name: "unpin",
    about: "Lets go of what `sept pin` keeps by NAME.",
    usage: "NAME",
    options: &[JSON_ERRORS, HELP],
    notes: "Processes that are inside stay; the namespaces end with the last of them.",
    examples: &[(
        "sept run -Uru --pin given-up true; sept unpin given-up",
        "nothing holds them any more, so they end",
    )],
};

pub static LS: Page = Page {
    name: "ls",
    about: "Lists the namespaces that this user can see, with and without processes, or what TARGET is and what keeps it.",
    usage: "[OPTIONS] [TARGET]",
    options: &[
        opt(Id::Type, Some('t'), "type", &["KIND"], NS, "Only this kind; repeatable"),
        opt(
            Id::Tree,
            None,
            "tree",
            &["[=owner|parent|process]"],
            KNOW,
            "As a tree: by the user namespace that owns (default), by parent, or by process",
        ),
        opt(Id::Columns, Some('o'), "columns", &["NAME[,NAME]"], KNOW, "Only these columns, in this order"),
        opt(Id::NoHeadings, Some('n'), "noheadings", &[], KNOW, "No line of headings"),
        JSON,
        opt(Id::Svg, None, "svg", &["FILE"], KNOW, "Draw the tree by owner as a picture"),
        JSON_ERRORS,
        HELP,
    ],
    notes: "TARGET is the number of a namespace, a pinned name, or the file of a namespace: then every holder is\n\
            listed. With a process id: its eight namespaces.\n\n\
            Of open descriptors, mounts and threads as many are looked at as one can wait for, those of root\n\
            and of the caller first, and of each other user as many. Where there are more, that is said. Not\n\
            looked at are descriptors that a thread has for itself.\n\n\
            Columns: ns, type, procs, pid, user, command, owner, parent, level, held, pins.",
    examples: &[
        ("sept ls", "every namespace that this user can see"),
        ("sept ls --type net --columns ns,procs,command", "network namespaces, with three columns"),
        ("sept ls --tree", "who owns whom"),
        ("sept ls $$", "the eight of this shell"),
    ],
};

pub static DIFF: Page = Page {
    name: "diff",
    about: "Tells which namespaces two processes share, and what differs in the others.",
    usage: "[OPTIONS] A B",
    options: &[JSON, JSON_ERRORS, HELP],
    notes: "A and B are process ids. Exit code: 0 if all eight are shared, 1 if not.",
    examples: &[("sept diff $$ $$", "a process shares everything with itself")],
};

pub static DOCTOR: Page = Page {
    name: "doctor",
    about: "Tries, layer by layer, what this host allows this user, and tells how to mend each no.",
    usage: "[OPTIONS]",
    options: &[
        JSON,
        opt(
            Id::ApparmorProfile,
            None,
            "apparmor-profile",
            &[],
            KNOW,
            "Print a profile for AppArmor that gives this executable user namespaces",
        ),
        JSON_ERRORS,
        HELP,
    ],
    notes: "Exit code: 0 if `sept run` works with its defaults, 1 if not.",
    examples: &[("sept doctor --json", "the same for programs")],
};

pub static SECCOMP: Page = Page {
    name: "seccomp",
    about: "Explains, compiles and tries system call policies.",
    usage: "explain POLICY | compile POLICY | test POLICY CALL [ARG]... | groups [NAME]...",
    options: &[JSON_ERRORS, HELP],
    notes: "POLICY is default, strict, or a file: sept's own TOML (docs/seccomp.md), or the JSON of the OCI runtime\n\
            specification (seccomp).\n\
            explain tells what happens with which calls. compile writes the program for this processor, as the kernel\n\
            takes it (struct sock_filter), to standard output. test tells what happens with CALL, a name or a number of\n\
            this processor's own ABI, with up to six arguments. groups lists the groups of calls, or the calls of some.",
    examples: &[
        ("sept seccomp explain default", "what `sept run --seccomp default` refuses"),
        ("sept seccomp test strict ptrace", "one call"),
        ("sept seccomp groups @mount", "what a rule for @mount is for"),
        ("sept seccomp test default clone 0x10000000", "a call with an argument: a new user namespace"),
    ],
};

pub static TOUR: Page = Page {
    name: "tour",
    about: "Shows the eight namespaces, or KIND, by making them: host side and inside side by side.",
    usage: "[KIND]",
    options: &[JSON_ERRORS, HELP],
    notes: "",
    examples: &[("sept tour uts", "a hostname that is not the host's")],
};

pub static COMPLETIONS: Page = Page {
    name: "completions",
    about: "Prints completions for SHELL: bash, zsh, fish or elvish.",
    usage: "SHELL",
    options: &[JSON_ERRORS, HELP],
    notes: "",
    examples: &[("sept completions bash", "for ~/.local/share/bash-completion/completions/sept")],
};

pub static MAN: Page = Page {
    name: "man",
    about: "Prints the manual page of sept, or of COMMAND.",
    usage: "[COMMAND]",
    options: &[JSON_ERRORS, HELP],
    notes: "",
    examples: &[(
        "sept man run | head -n 1",
        "the source of sept-run(1); to read it: sept man run | man -l -",
    )],
};
