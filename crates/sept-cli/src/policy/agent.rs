//! Who answers the calls that a policy asks about: a program at a socket, as the OCI runtime specification has it.

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags,
    SocketType, connect, sendmsg, socket_with,
};
use sept::seccomp::Listener;
use serde_json::json;

use crate::failure::Failure;

/// The version of the specification whose container process state is sent.
const OCI_VERSION: &str = "1.0.2";

/// For an agent that takes no connection, or nothing from it.
const PATIENCE: Duration = Duration::from_secs(5);

/// A program at a socket.
#[derive(Clone, Debug)]
pub struct Agent {
    pub path: PathBuf,
    /// What it is told beside.
    pub metadata: String,
}

impl Agent {
    /// Connects, before anything is done.
    pub fn connect(&self) -> Result<Connection<'_>, Failure> {
        let socket = self.socket().map_err(|errno| {
            let what = format!("cannot connect to the seccomp agent at {}", self.path.display());
            let failure = Failure::io(what, &std::io::Error::from(errno));
            if errno == Errno::AGAIN {
                return failure
                    .why(format!("it has not taken this connection for {} seconds", PATIENCE.as_secs()))
                    .fix("look whether the agent hangs, or has too many waiting");
            }
            failure
                .why("the policy asks a listener about calls, and this program is to answer")
                .fix("start the agent first")
        })?;
        Ok(Connection { socket, agent: self })
    }

    /// Connected; sending to it has an end, too.
    fn socket(&self) -> Result<UnixStream, Errno> {
        let address = SocketAddrUnix::new(&self.path)?;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        set_socket_timeout(&socket, Timeout::Send, Some(PATIENCE))?;
        connect(&socket, &address)?;
        Ok(socket.into())
    }
}

/// A connection for one listener.
pub struct Connection<'a> {
    socket: UnixStream,
    agent: &'a Agent,
}

impl Connection<'_> {
    /// Hands the listener over, with the state of the process. The connection ends with that.
    pub fn send(self, listener: &Listener, pid: u32, root: Option<&Path>) -> Result<(), Failure> {
        let failed = |error| {
            Failure::io("cannot hand the listener to the seccomp agent", &std::io::Error::from(error))
        };
        let state = state(pid, root, &self.agent.metadata).to_string();
        let fds = [listener.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&fds));
        let mut rest = state.as_bytes();
        while !rest.is_empty() {
            let flags = SendFlags::NOSIGNAL;
            match sendmsg(&self.socket, &[IoSlice::new(rest)], &mut control, flags) {
                Err(Errno::INTR) => {}
                Err(errno) => return Err(failed(errno)),
                Ok(sent) => {
                    rest = rest.get(sent..).unwrap_or_default();
                    control.clear();
                }
            }
        }
        // The command, too, has the connection until it executes its program: the agent shall not wait for that.
        self.socket.shutdown(Shutdown::Both).map_err(|error| Failure::io("cannot end the connection", &error))
    }
}

/// The container process state of the specification, with one descriptor.
fn state(pid: u32, root: Option<&Path>, metadata: &str) -> serde_json::Value {
    json!({
        "ociVersion": OCI_VERSION,
        "fds": ["seccompFd"],
        "pid": pid,
        "metadata": metadata,
        "state": {
            "ociVersion": OCI_VERSION,
            "id": format!("sept-{pid}"),
            "status": "creating",
            "pid": pid,
            "bundle": root.unwrap_or(Path::new("/")),
        },
    })
}
