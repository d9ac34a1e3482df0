//! Listeners: TCP ports and the control socket.

use registry::WarnLimit;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt};
use std::time::Duration;

use registry::records::Socket;
use tokio::net::{TcpListener, TcpSocket, UnixListener};

/// The pause after a failed accept, when the system has no file descriptors or memory left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Listens on an address. The backlog is the system's maximum (`net.core.somaxconn`): clients that find it
/// full retry a second later. SO_REUSEADDR lets a restarted server bind the address at once.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(u32::MAX)
}

/// Returns a listener that the service manager opened, or listens on the address.
pub(crate) fn open(inherited: Option<std::net::TcpListener>, address: SocketAddr) -> io::Result<TcpListener> {
    match inherited {
        Some(listener) => {
            listener.set_nonblocking(true)?;
            TcpListener::from_std(listener)
        }
        None => listen(address),
    }
}

/// Handles a failed accept. The client may have caused it, so that the next accept works. Otherwise the
/// system is out of file descriptors or memory, and the next accept waits.
pub(crate) async fn after_failed_accept(error: &io::Error) {
    use io::ErrorKind as E;
    if matches!(error.kind(), E::ConnectionRefused | E::ConnectionAborted | E::ConnectionReset) {
        return;
    }
    static LIMIT: WarnLimit = WarnLimit::new();
    if LIMIT.allows() {
        tracing::error!(%error, "cannot accept a connection; this is logged once a minute while it lasts");
    }
    tokio::time::sleep(ACCEPT_PAUSE).await;
}

/// Whether the process or the system has no file descriptor left.
pub(crate) fn is_out_of_descriptors(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

/// The control socket. Dropping it removes its file, unless the next server of this process has replaced
/// that.
pub(crate) struct Control {
    pub(crate) listener: UnixListener,
    socket: Socket,
    inode: Option<u64>,
}

impl Control {
    pub(crate) fn bind(socket: Socket) -> io::Result<Self> {
        match std::fs::remove_file(socket.path()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(socket.path())?;
        // The server does not accept yet, so no other user can connect before this.
        std::fs::set_permissions(socket.path(), std::fs::Permissions::from_mode(0o600))?;
        let inode = inode(&socket);
        Ok(Self { listener, socket, inode })
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        if inode(&self.socket) == self.inode {
            // It may be gone already.
            let _ = std::fs::remove_file(self.socket.path());
        }
    }
}

fn inode(socket: &Socket) -> Option<u64> {
    std::fs::metadata(socket.path()).ok().map(|file| file.ino())
}
