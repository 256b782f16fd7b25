//! NET: `ip a` inside shows only `lo`.
use sept::{Command, Namespace};

fn main() -> Result<(), sept::Error> {
    Command::new("ip").arg("a").unshare([Namespace::User, Namespace::Net]).map_root().status()?;
    Ok(())
}
