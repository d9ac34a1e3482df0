//! Credential helpers: commands in the protocol of docker-credential-helpers, which print the account of a
//! server.
//!
//! The helper is asked again after [`LIFETIME`], and at once after the upstream rejected its account:
//! passwords of cloud registries expire, and the protocol does not say when.

use std::process::Stdio;
use std::time::{Duration, Instant};

use serde::Deserialize;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::sync::Mutex;

use crate::access_error::AccessError;

/// How long an answer is used. The shortest known lifetime of a password is one hour.
const LIFETIME: Duration = Duration::from_secs(10 * 60);
const TIMEOUT: Duration = Duration::from_secs(30);
/// The user name that marks the secret as an identity token.
const TOKEN_USER: &str = "<token>";

/// A command that prints an account.
pub struct CredentialHelper {
    /// The program and its arguments, without `get`.
    command: Vec<String>,
    /// The server, as the helper knows it.
    server: String,
    cached: Mutex<Option<(Secret, Instant)>>,
}

/// The account of a helper.
#[derive(Clone)]
pub(crate) enum Secret {
    Password { user: String, password: String },
    IdentityToken(String),
}

#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "Username", default)]
    username: String,
    #[serde(rename = "Secret", default)]
    secret: String,
}

impl CredentialHelper {
    /// Creates the helper of a command for a server. A single word without a slash is the last part of a
    /// program's name, as in docker's `credHelpers`: `ecr-login` is `docker-credential-ecr-login`.
    #[must_use]
    pub fn new(command: &str, server: String) -> Self {
        let mut command: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
        if let [program] = command.as_mut_slice()
            && !program.contains('/')
            && !program.starts_with("docker-credential-")
        {
            *program = format!("docker-credential-{program}");
        }
        Self { command, server, cached: Mutex::default() }
    }

    /// Returns the account, from the cache or the command.
    pub(crate) async fn account(&self) -> Result<Secret, AccessError> {
        let mut cached = self.cached.lock().await;
        if let Some((secret, since)) = &*cached
            && since.elapsed() < LIFETIME
        {
            return Ok(secret.clone());
        }
        let name = self.command.first().map_or("", String::as_str);
        let secret = self.run().await.map_err(|reason| {
            AccessError::TokenUnavailable(format!("the credential helper {name} gives no account: {reason}"))
        })?;
        *cached = Some((secret.clone(), Instant::now()));
        Ok(secret)
    }

    /// Forgets the account, because the upstream rejected it.
    pub(crate) fn forget(&self) {
        if let Ok(mut cached) = self.cached.try_lock() {
            *cached = None;
        }
    }

    async fn run(&self) -> Result<Secret, String> {
        let (program, arguments) = self.command.split_first().ok_or("no command is set")?;
        let mut child = Command::new(program)
            .args(arguments)
            .arg("get")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| error.to_string())?;
        if let Some(mut input) = child.stdin.take() {
            // A helper that ends without reading has an answer of its own.
            let _ = input.write_all(self.server.as_bytes()).await;
        }
        let output = match tokio::time::timeout(TIMEOUT, child.wait_with_output()).await {
            Ok(output) => output.map_err(|error| error.to_string())?,
            Err(_) => return Err(format!("it did not answer within {} s", TIMEOUT.as_secs())),
        };
        if !output.status.success() {
            // The protocol prints errors to standard output.
            let text = String::from_utf8_lossy(&output.stdout);
            let text = text.lines().next().unwrap_or_default();
            return Err(format!("{} ({text})", output.status));
        }
        let answer: Answer = serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())?;
        match answer {
            Answer { secret, .. } if secret.is_empty() => Err("its answer has no Secret".to_owned()),
            Answer { username, secret } if username == TOKEN_USER => Ok(Secret::IdentityToken(secret)),
            Answer { username, secret } => Ok(Secret::Password { user: username, password: secret }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn helper(directory: &std::path::Path, script: &str) -> CredentialHelper {
        let path = directory.join("helper");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        CredentialHelper::new(path.to_str().unwrap(), "registry.example.com".to_owned())
    }

    #[tokio::test]
    async fn helper_answers_are_accounts() {
        let directory = tempfile::tempdir().unwrap();
        let script = r#"read -r s; echo "{\"Username\":\"$1\",\"Secret\":\"$s\"}""#;
        let account = helper(directory.path(), script).account().await.unwrap();
        assert!(matches!(account, Secret::Password { user, password }
            if user == "get" && password == "registry.example.com"));
        let script = r#"echo '{"Username":"<token>","Secret":"t"}'"#;
        let account = helper(directory.path(), script).account().await.unwrap();
        assert!(matches!(account, Secret::IdentityToken(token) if token == "t"));
        let script = "echo 'credentials not found in native keychain'; exit 1";
        let error = helper(directory.path(), script).account().await.err().unwrap();
        assert!(error.to_string().contains("not found"), "{error}");
    }
}
