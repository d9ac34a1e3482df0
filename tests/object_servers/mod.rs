//! Servers of object stores for tests, one of each make for the whole test process. They end with it.

#![allow(dead_code, reason = "each test program uses a part")]

pub(crate) mod faults;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// `versitygw` keeps the blobs of tests that can use any store in a bucket of it.
const VARIABLE: &str = "WHARFINGER_TEST_BLOBS";

const BUCKET: &str = "images";
const KEY: &str = "tests";
const SECRET: &str = "secret-of-tests";
/// The account of azurite, and its key, which Microsoft documents.
const ACCOUNT: &str = "devstoreaccount1";
const ACCOUNT_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
const DEADLINE: Duration = Duration::from_secs(60);

/// Runs the rest of its arguments, and removes the directory of its first argument at the end.
const RUN: &str =
    "directory=$1; shift; \"$@\" & trap 'kill -KILL $!; wait; rm -rf \"$directory\"' TERM; wait";

/// versitygw, which keeps objects as files.
pub(crate) static VERSITYGW: LazyLock<Server> = LazyLock::new(|| {
    let (address, directory) = (unused_address(), directory());
    std::fs::create_dir(directory.join(BUCKET)).expect("a bucket");
    let port = address.to_string();
    let options = ["--quiet", "--access", KEY, "--secret", SECRET, "--port", &port, "posix"];
    let options = options.into_iter().map(str::to_owned).chain([text(&directory)]);
    Server::start(&tool("versitygw"), options, address, directory)
});

/// moto, which keeps objects in memory.
pub(crate) static MOTO: LazyLock<Server> = LazyLock::new(|| {
    let address = unused_address();
    let port = address.port().to_string();
    let options = ["-m", "moto.server", "-H", "127.0.0.1", "-p", &port].map(str::to_owned);
    let server = Server::start(&tool("moto"), options.into_iter(), address, directory());
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

/// azurite, which has the API of Azure, with a container.
pub(crate) static AZURITE: LazyLock<Server> = LazyLock::new(|| {
    let (address, directory) = (unused_address(), directory());
    let node = tool("azurite");
    let program = node.with_file_name("node_modules/azurite/dist/src/blob/main.js");
    let port = address.port().to_string();
    let options = ["--blobHost", "127.0.0.1", "--blobPort", &port, "--skipApiVersionCheck", "--location"];
    let options = [text(&program)].into_iter().chain(options.map(str::to_owned)).chain([text(&directory)]);
    let server = Server { api: Api::Azure, ..Server::start(&node, options, address, directory) };
    let mut create = Command::new("bash");
    create.args(["-ec", CREATE_CONTAINER, "bash"]).args([&address.to_string(), ACCOUNT, ACCOUNT_KEY, BUCKET]);
    let created = create.output().expect("bash, curl and openssl");
    assert!(created.status.success(), "{}", String::from_utf8_lossy(&created.stderr));
    server
});

/// Creates a container with a request that is signed by the key of the account.
const CREATE_CONTAINER: &str = r#"
date=$(date -u '+%a, %d %b %Y %H:%M:%S GMT') version=2021-08-06
key=$(base64 -d <<<"$3" | od -An -v -tx1 | tr -d ' \n')
printf -v text 'PUT\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:%s\nx-ms-version:%s\n/%s/%s/%s\nrestype:container' \
    "$date" $version "$2" "$2" "$4"
signature=$(printf '%s' "$text" | openssl dgst -sha256 -mac HMAC -macopt "hexkey:$key" -binary | base64 -w0)
curl -sSf -X PUT -H "x-ms-date: $date" -H "x-ms-version: $version" -H 'Content-Length: 0' \
    -H "Authorization: SharedKey $2:$signature" "http://$1/$2/$4?restype=container"
"#;

/// A prefix of the bucket of a server, and the key to it.
#[derive(Clone, Debug)]
pub(crate) struct Prefix {
    pub(crate) url: String,
    pub(crate) endpoint: String,
    pub(crate) id: String,
    pub(crate) secret: String,
    directory: PathBuf,
}

impl Prefix {
    /// The settings of a registry. The secret goes to a file in the directory.
    pub(crate) fn settings(&self, directory: &Path) -> String {
        let file = directory.join("secret");
        std::fs::write(&file, &self.secret).expect("a file");
        format!(
            "[blobs]\nurl = \"{}\"\nendpoint = \"{}\"\naccess_key = \"{}\"\nsecret_key_file = \"{}\"\n",
            self.url,
            self.endpoint,
            self.id,
            file.display()
        )
    }

    /// The file in which versitygw keeps an object.
    pub(crate) fn file(&self, key: impl AsRef<Path>) -> PathBuf {
        self.directory.join(key)
    }
}

/// The prefix of a data directory, if the tests are to use a bucket. Each directory has a prefix of its own.
pub(crate) fn chosen(directory: &Path) -> Option<Prefix> {
    let name = std::env::var(VARIABLE).ok().filter(|name| !name.is_empty())?;
    assert_eq!(name, "versitygw", "{VARIABLE} names no server of the tests");
    let prefix: String =
        text(directory).chars().map(|char| if char.is_ascii_alphanumeric() { char } else { '_' }).collect();
    Some(VERSITYGW.prefix(&prefix))
}

#[derive(Clone, Copy)]
enum Api {
    S3,
    Azure,
}

/// A running server.
pub(crate) struct Server {
    api: Api,
    address: SocketAddr,
    directory: PathBuf,
}

impl Server {
    fn start(
        program: &Path,
        options: impl Iterator<Item = String>,
        address: SocketAddr,
        directory: PathBuf,
    ) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", RUN, "sh", &text(&directory)]).arg(program).args(options);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).current_dir("/");
        // SAFETY: prctl is safe between fork and exec.
        unsafe {
            command.pre_exec(|| {
                rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM))?;
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
        Self { api: Api::S3, address, directory }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// A prefix of its bucket.
    pub(crate) fn prefix(&self, prefix: &str) -> Prefix {
        let endpoint = format!("http://{}", self.address);
        let (scheme, endpoint, id, secret) = match self.api {
            Api::S3 => ("s3", endpoint, KEY, SECRET.to_owned()),
            Api::Azure => ("az", format!("{endpoint}/{ACCOUNT}"), ACCOUNT, ACCOUNT_KEY.to_owned()),
        };
        Prefix {
            url: format!("{scheme}://{BUCKET}/{prefix}"),
            endpoint,
            id: id.to_owned(),
            secret,
            directory: self.directory.join(BUCKET).join(prefix),
        }
    }
}

fn directory() -> PathBuf {
    tempfile::tempdir().expect("a directory").keep()
}

fn text(path: &Path) -> String {
    path.to_str().expect("a path of text").to_owned()
}

/// An address that nothing listens on.
fn unused_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port")
}

/// The path of a tool that `scripts/test` installs.
fn tool(name: &str) -> PathBuf {
    let list = include_str!("../../scripts/tools.txt");
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
