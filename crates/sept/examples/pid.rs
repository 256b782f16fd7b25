//! PID: inside, `echo $$` prints 1.
use sept::{Command, Namespace};

fn main() -> Result<(), sept::Error> {
    Command::new("sh")
        .args(["-c", "echo $$"])
        .unshare([Namespace::User, Namespace::Pid])
        .map_root()
        .status()?;
    Ok(())
}
