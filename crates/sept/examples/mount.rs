//! MOUNT: with a fresh proc, `ps -ef` shows only the inside's processes.
use sept::{Command, Mount, Namespace};

fn main() -> Result<(), sept::Error> {
    Command::new("ps")
        .arg("-ef")
        .unshare([Namespace::User, Namespace::Mount, Namespace::Pid])
        .map_root()
        .mount(Mount::proc("/proc"))
        .status()?;
    Ok(())
}
