//! UTS: a hostname set inside leaves the host's alone.
use sept::{Command, Namespace};

fn main() -> Result<(), sept::Error> {
    Command::new("hostname")
        .unshare([Namespace::User, Namespace::Uts])
        .map_root()
        .hostname("inner")
        .status()?;
    Command::new("hostname").status()?;
    Ok(())
}
