//! IPC: a queue made inside is not in the host's list.
use sept::{Command, Namespace};

fn main() -> Result<(), sept::Error> {
    let mut inside = Command::new("sh");
    inside
        .args(["-c", "ipcmk -Q; ipcs -q"])
        .unshare([Namespace::User, Namespace::Ipc])
        .map_root()
        .status()?;
    Command::new("ipcs").arg("-q").status()?;
    Ok(())
}
