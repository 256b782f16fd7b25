//! USER: inside 1234 is outside this user; `id` prints 1234.
use sept::{Command, Host, Namespace};

fn main() -> Result<(), sept::Error> {
    let me = Host::caller();
    Command::new("id")
        .unshare([Namespace::User])
        .map_uid(1234, me.uid, 1)
        .map_gid(1234, me.gid, 1)
        .status()?;
    Ok(())
}
