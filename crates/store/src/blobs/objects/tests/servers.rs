//! S3 servers for tests, one of each make for the whole test process. They end with it.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use crate::object_settings::{AccessKey, ObjectSettings};

pub(super) const BUCKET: &str = "images";
const KEY: &str = "tests";
const SECRET: &str = "secret-of-tests";
const DEADLINE: Duration = Duration::from_secs(60);

/// versitygw, which keeps objects as files.
pub(super) static VERSITYGW: LazyLock<Server> = LazyLock::new(|| {
    let address = unused_address();
    let directory = tempfile::tempdir().expect("a directory").keep();
    std::fs::create_dir(directory.join(BUCKET)).expect("a bucket");
    let mut command = Command::new(tool("versitygw"));
    command.args(["--quiet", "--access", KEY, "--secret", SECRET, "--port", &address.to_string(), "posix"]);
    command.arg(&directory);
    Server::start(command, address)
});

/// moto, which keeps objects in memory.
pub(super) static MOTO: LazyLock<Server> = LazyLock::new(|| {
    let address = unused_address();
    let mut command = Command::new(tool("moto"));
    command.args(["-m", "moto.server", "-H", "127.0.0.1", "-p", &address.port().to_string()]);
    let server = Server::start(command, address);
    let mut connection = TcpStream::connect(address).expect("moto answers");
    let request = format!(
        "PUT /{BUCKET} HTTP/1.1\r\nHost: {address}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
    connection.write_all(request.as_bytes()).expect("moto answers");
    let mut answer = String::new();
    connection.read_to_string(&mut answer).expect("moto answers");
    assert!(answer.contains(" 200 "), "{answer}");
    server
});

/// A running server.
pub(super) struct Server {
    address: SocketAddr,
}

impl Server {
    fn start(mut command: Command, address: SocketAddr) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // SAFETY: prctl is safe between fork and exec.
        unsafe {
            command.pre_exec(|| {
                rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
                Ok(())
            });
        }
        let (sender, started) = std::sync::mpsc::channel();
        // The kernel sends the signal when the thread ends that has started the server. This one never does.
        std::thread::spawn(move || {
            let child = command.spawn();
            sender.send(child.map(drop)).expect("the test waits");
            loop {
                std::thread::park();
            }
        });
        started.recv().expect("an answer").expect("the server starts");
        let deadline = Instant::now() + DEADLINE;
        while TcpStream::connect(address).is_err() {
            assert!(Instant::now() < deadline, "no server at {address}");
            std::thread::yield_now();
        }
        Self { address }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn settings(&self, url: &str) -> ObjectSettings {
        ObjectSettings {
            url: url.to_owned(),
            endpoint: Some(format!("http://{}", self.address)),
            region: Some("us-east-1".to_owned()),
            path_style: true,
            key: Some(AccessKey { id: KEY.to_owned(), secret: SECRET.to_owned() }.into()),
            view: false,
            cache: 0,
        }
    }
}

/// An address that nothing listens on.
fn unused_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port")
}

/// The path of a tool that `scripts/test` installs.
fn tool(name: &str) -> PathBuf {
    let list = include_str!("../../../../../../scripts/tools.txt");
    let line = list.lines().find(|line| line.split_whitespace().next() == Some(name)).expect("it is listed");
    let version = line.split_whitespace().nth(1).expect("a version");
    let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let cache = variable("XDG_CACHE_HOME")
        .or_else(|| variable("HOME").map(|home| format!("{home}/.cache")))
        .unwrap_or_else(|| "/root/.cache".to_owned());
    let path = PathBuf::from(format!("{cache}/wharfinger/tools/{name}-{version}/{name}"));
    assert!(path.exists(), "{} is missing: run scripts/install-tools tools.txt", path.display());
    path
}
