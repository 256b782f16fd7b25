//! This executable, before it starts a program of a root that is not trusted.

use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;

use crate::failure::Failure;

/// Starts this very command again from where nobody can write to the executable, unless that is so already. Only for a
/// process with one thread that has opened nothing yet.
pub fn restart_out_of_reach() -> Result<(), Failure> {
    let Some(executable) = sept::executable::unwritable()? else {
        // What exec calls it is the number of a descriptor, if it is the second start.
        let _ = rustix::thread::set_name(c"sept");
        return Ok(());
    };
    let mut again = std::process::Command::new(format!("/proc/self/fd/{}", executable.as_raw_fd()));
    let mut args = crate::args::all();
    if let Some(name) = args.next() {
        again.arg0(name);
    }
    Err(Failure::io("cannot start this executable from out of reach", &again.args(args).exec())
        .fix("install it where this user can't write, for instance as root in /usr/local/bin"))
}
