//! An S3 server with an empty bucket: versitygw, which keeps objects as files.

use std::fs;
use std::net::TcpStream;
use std::path::PathBuf;

use tempfile::TempDir;

use super::object_servers::faults::{Fault, proxy};
use super::pebble::free_address;
use super::{Daemon, Terminal};

const BUCKET: &str = "images";
const KEY: &str = "registry";
const SECRET: &str = "secret-of-the-registry";

/// A running S3 server. It can be stopped and started again at its address.
pub(crate) struct ObjectStore {
    daemon: Option<Daemon>,
    address: String,
    scratch: TempDir,
}

impl ObjectStore {
    /// Starts with an empty bucket.
    pub(crate) fn start() -> ObjectStore {
        let scratch = TempDir::new().expect("a temporary directory");
        fs::create_dir_all(scratch.path().join("objects").join(BUCKET)).expect("a bucket");
        fs::create_dir(scratch.path().join("users")).expect("a directory of users");
        fs::write(scratch.path().join("secret"), SECRET).expect("a file with the secret");
        let mut store = ObjectStore { daemon: None, address: free_address(), scratch };
        store.start_again();
        store
    }

    /// Starts the stopped server.
    pub(crate) fn start_again(&mut self) {
        let objects = self.scratch.path().join("objects");
        let log = self.scratch.path().join("log");
        let users = self.scratch.path().join("users").display().to_string();
        let arguments = [
            "--access",
            KEY,
            "--secret",
            SECRET,
            "--port",
            &self.address,
            "--iam-dir",
            &users,
            "--iam-cache-disable",
            "posix",
        ];
        let arguments: Vec<_> =
            arguments.into_iter().map(std::ffi::OsStr::new).chain([objects.as_os_str()]).collect();
        let daemon = Daemon::start(&Terminal::which("versitygw"), &arguments, &log);
        daemon.wait_for(|_| TcpStream::connect(&self.address).ok());
        self.daemon = Some(daemon);
    }

    /// Adds an access key.
    pub(crate) fn add_key(&self, id: &str, secret: &str) {
        self.administer(&format!("create-user --access {id} --secret {secret} --role admin"));
    }

    /// Rotates the secret of an added key.
    pub(crate) fn set_secret(&self, id: &str, secret: &str) {
        self.administer(&format!("update-user --access {id} --secret {secret}"));
    }

    /// Removes an added key.
    pub(crate) fn remove_key(&self, id: &str) {
        self.administer(&format!("delete-user --access {id}"));
    }

    fn administer(&self, command: &str) {
        let (program, endpoint) = (Terminal::which("versitygw"), self.endpoint());
        Terminal::open().run(&format!(
            "{program} admin --access {KEY} --secret {SECRET} --endpoint-url {endpoint} {command}"
        ));
    }

    /// Stops the server.
    pub(crate) fn stop(&mut self) {
        self.daemon = None;
    }

    /// The settings of a registry with its blobs below a prefix.
    pub(crate) fn settings(&self, prefix: &str) -> String {
        self.settings_at(&self.address, prefix)
    }

    /// The same settings through a proxy that injects a fault.
    pub(crate) fn settings_with(&self, fault: Fault, prefix: &str) -> String {
        let proxy = proxy(self.address.parse().expect("an address"), fault);
        self.settings_at(&proxy.to_string(), prefix)
    }

    fn settings_at(&self, address: &str, prefix: &str) -> String {
        format!(
            "[blobs]\nurl = \"s3://{BUCKET}/{prefix}\"\nendpoint = \"http://{address}\"\naccess_key = \"{KEY}\"\n\
             secret_key_file = \"{}\"\n",
            self.scratch.path().join("secret").display(),
        )
    }

    /// The URL of the server.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The flags of a move to this prefix.
    pub(crate) fn move_flags(&self, prefix: &str) -> String {
        format!(
            "--to-blobs s3://{BUCKET}/{prefix} --endpoint http://{} --access-key {KEY} --secret-key-file {}",
            self.address,
            self.scratch.path().join("secret").display()
        )
    }

    /// The storage of a configuration of distribution with this prefix.
    pub(crate) fn distribution_settings(&self, prefix: &str) -> String {
        format!(
            "s3: {{accesskey: '{KEY}', secretkey: '{SECRET}', region: us-east-1, bucket: {BUCKET}, secure: false, \
             regionendpoint: 'http://{}', rootdirectory: '/{prefix}', forcepathstyle: true}}",
            self.address
        )
    }

    /// The file in which the server keeps an object.
    pub(crate) fn object(&self, key: &str) -> PathBuf {
        self.scratch.path().join("objects").join(BUCKET).join(key)
    }

    /// The variables of Amazon's tools.
    pub(crate) fn variables(&self) -> String {
        format!(
            "AWS_ACCESS_KEY_ID={KEY} AWS_SECRET_ACCESS_KEY={SECRET} AWS_ENDPOINT_URL=http://{} AWS_ALLOW_HTTP=true",
            self.address
        )
    }

    /// The paths of the objects below a prefix, without it.
    pub(crate) fn keys(&self, prefix: &str) -> Vec<PathBuf> {
        let root = self.scratch.path().join("objects").join(BUCKET).join(prefix);
        let (mut found, mut rest) = (Vec::new(), vec![root.clone()]);
        while let Some(directory) = rest.pop() {
            for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
                match entry.path() {
                    path if path.is_dir() => rest.push(path),
                    path => found.extend(path.strip_prefix(&root).map(PathBuf::from)),
                }
            }
        }
        found.sort();
        found
    }
}
