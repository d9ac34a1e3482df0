//! `wharfinger move`: moves the blobs and the metadata of a registry to other places.

use std::path::{Path, PathBuf};

use api::{Move, MoveBlobs, MoveLine, MoveMetadata, MoveProgress, MoveReport, Secret};
use clap::Args;
use indicatif::HumanBytes;
use reqwest::Method;
use serde::Serialize;

use super::connection::Connection;
use super::json_lines;
use super::output::{self, Failure, Format, counted};
use super::progress::progress_bar;
use super::target::{Target, hide_server_flags};
use crate::config::Config;
use crate::operator_file;

/// Move the blobs to a bucket and the metadata to PostgreSQL, or back, while pulls go on
#[derive(Args, Debug)]
#[command(after_help = HELP, mut_args(hide_server_flags))]
pub(super) struct Relocate {
    /// The new place of the blobs: s3://BUCKET/PREFIX, az://CONTAINER/PREFIX, or `file` for the data directory
    #[arg(long, value_name = "URL")]
    to_blobs: Option<String>,

    /// The new place of the metadata: postgres://USER@HOST/DATABASE, or `file` for the data directory
    #[arg(long, value_name = "URL")]
    to_metadata: Option<String>,

    /// The server of the new bucket [default: blobs.endpoint, else AWS_ENDPOINT_URL or
    /// AZURE_STORAGE_ENDPOINT, else the provider's]
    #[arg(long, value_name = "URL", requires = "to_blobs")]
    endpoint: Option<String>,

    /// The region of the new bucket [default: blobs.region, else AWS_REGION]
    #[arg(long, value_name = "REGION", requires = "to_blobs")]
    region: Option<String>,

    /// The access key of the new bucket, or the account of Azure [default: blobs.access_key, else
    /// AWS_ACCESS_KEY_ID or AZURE_STORAGE_ACCOUNT_NAME]
    #[arg(long, value_name = "ID", requires_all = ["to_blobs", "secret_key_file"])]
    access_key: Option<String>,

    /// The file with the secret of that access key
    #[arg(long, value_name = "FILE", requires = "access_key")]
    secret_key_file: Option<PathBuf>,

    /// The file with the password of the database's user
    #[arg(long, value_name = "FILE", requires = "to_metadata")]
    database_password_file: Option<PathBuf>,

    #[command(flatten)]
    target: Target,

    #[command(flatten)]
    format: Format,
}

const HELP: &str = "\
The data directory stays: it keeps the uploads in progress, certificates and links below repositories/. A running \
server goes on during the move: blobs are copied first, then pushes get 503 with Retry-After for the last step, in \
which the rest and the metadata are copied and compared. The lines to change in the configuration are printed; \
restart the server with them. Until then it serves pulls from the old place, and no pushes. A start with the old \
settings is refused.

If the command is interrupted, nothing has moved; run it again, and it goes on. Nothing is deleted in the old place. \
To come back, move in the other direction. Unfinished uploads are begun again by their clients if the blobs move.

The configuration (--config, --data) is that of the old place. Its settings of the bucket are defaults for the new one \
if both are of S3, or both of Azure. PostgreSQL must be an empty database or schema, and the \
bucket an empty prefix.

Examples:
  wharfinger move --to-metadata postgres://wharfinger@db.example.com/wharfinger
  wharfinger move --to-blobs s3://images/registry \\
      --endpoint https://s3.example.com --access-key registry \\
      --secret-key-file /etc/wharfinger/s3-secret --data /var/lib/wharfinger
  wharfinger move --to-blobs file --to-metadata file
      back to the data directory

Exit codes: 0 moved; 1 failure, nothing has moved; 2 invalid command line or configuration.";

/// The word for the data directory.
const FILE: &str = "file";

/// The variables of a provider's tools.
struct Variables {
    endpoint: &'static str,
    region: Option<&'static str>,
    access_key: &'static str,
    secret_key: &'static str,
    /// The third part of a temporary key.
    session: Option<&'static str>,
}

const S3: Variables = Variables {
    endpoint: "AWS_ENDPOINT_URL",
    region: Some("AWS_REGION"),
    access_key: "AWS_ACCESS_KEY_ID",
    secret_key: "AWS_SECRET_ACCESS_KEY",
    session: Some("AWS_SESSION_TOKEN"),
};

const AZURE: Variables = Variables {
    endpoint: "AZURE_STORAGE_ENDPOINT",
    region: None,
    access_key: "AZURE_STORAGE_ACCOUNT_NAME",
    secret_key: "AZURE_STORAGE_ACCOUNT_KEY",
    session: None,
};

fn is_azure(url: &str) -> bool {
    url.starts_with("az:")
}

#[derive(Serialize)]
struct Moved {
    #[serde(flatten)]
    report: MoveReport,
    /// The lines of the configuration to change.
    settings: String,
}

impl Relocate {
    pub(super) async fn run(self) -> Result<(), Failure> {
        self.target.refuse_server(
            "a move sends the keys of the new places: run it on the registry's machine, with --data",
        )?;
        if self.to_blobs.is_none() && self.to_metadata.is_none() {
            return Err(Failure::usage("nothing to move").help(
                "name the new place of the blobs (--to-blobs), of the metadata (--to-metadata), or of both",
            ));
        }
        let config = self.target.load()?.config;
        let to = self.request(&config)?;
        let server = self.target.connect_without_owner().await?;
        let moved = relocate(&server, &to).await;
        server.close().await;
        let report = moved?;
        let settings = self.settings(&to);
        if self.format.json {
            return output::print_json(&Moved { report, settings });
        }
        print(&report, &settings)
    }

    fn request(&self, config: &Config) -> Result<Move, Failure> {
        let blobs = match self.to_blobs.as_deref() {
            None => None,
            Some(FILE) => Some(MoveBlobs { url: FILE.to_owned(), path_style: true, ..MoveBlobs::default() }),
            Some(url) => Some(self.bucket(url, config, |name| std::env::var(name).ok())?),
        };
        let metadata = match &self.to_metadata {
            None => None,
            Some(url) => {
                let password = self.database_password_file.as_deref().map(read_secret).transpose()?;
                Some(MoveMetadata { url: Secret::new(url), password })
            }
        };
        Ok(Move { blobs, metadata })
    }

    /// The bucket with the settings of the flags, of the configuration, and of the environment of this
    /// command: the server may have another one.
    fn bucket(
        &self,
        url: &str,
        config: &Config,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<MoveBlobs, Failure> {
        let (names, defaults) = (if is_azure(url) { AZURE } else { S3 }, Config::default());
        let set = match &config.blobs.url {
            // The server and the key of the old bucket are those of another provider.
            Some(old) if is_azure(old.as_str()) != is_azure(url) => &defaults.blobs,
            _ => &config.blobs,
        };
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        let endpoint = self.endpoint.clone();
        let endpoint = endpoint.or_else(|| set.endpoint.as_ref().map(|url| url.as_str().to_owned()));
        let region = self.region.clone().or_else(|| Some(set.region.clone()).filter(|set| !set.is_empty()));
        let key = match (&self.access_key, &self.secret_key_file) {
            (Some(id), Some(file)) => Some((id.clone(), read_secret(file)?)),
            _ => match (set.access_key.as_str(), &set.secret_key_file) {
                ("", _) | (_, None) => {
                    let secret = variable(names.secret_key).map(Secret::new);
                    // The third part of a temporary key is in the server's own environment alone.
                    let secret = secret.filter(|_| names.session.and_then(variable).is_none());
                    variable(names.access_key).zip(secret)
                }
                (id, Some(file)) => Some((id.to_owned(), read_secret(file)?)),
            },
        };
        let (access_key, secret_key) = key.unzip();
        Ok(MoveBlobs {
            url: url.to_owned(),
            endpoint: endpoint.or_else(|| variable(names.endpoint)),
            region: region.or_else(|| names.region.and_then(variable)),
            path_style: set.path_style,
            access_key,
            secret_key,
        })
    }

    /// The tables of the configuration for the new places. They hold no secret.
    fn settings(&self, to: &Move) -> String {
        let mut tables = Vec::new();
        if let Some(blobs) = &to.blobs {
            let secret = self.secret_key_file.as_ref().map(|file| file.display().to_string());
            tables.push(match blobs.url == FILE {
                true => table("blobs", [("url", Some(String::new()))]),
                false => table(
                    "blobs",
                    [
                        ("url", Some(blobs.url.clone())),
                        ("endpoint", blobs.endpoint.clone()),
                        ("region", blobs.region.clone()),
                        ("access_key", blobs.access_key.clone()),
                        (
                            "secret_key_file",
                            secret.or_else(|| blobs.access_key.as_ref().map(|_| "…".to_owned())),
                        ),
                    ],
                ),
            });
        }
        if let Some(metadata) = &to.metadata {
            let password = self.database_password_file.as_ref().map(|file| file.display().to_string());
            tables.push(match metadata.url.reveal() {
                FILE => table("metadata", [("url", Some(String::new()))]),
                url => {
                    let (url, has_password) = without_password(url);
                    let password = password.or_else(|| has_password.then(|| "…".to_owned()));
                    table("metadata", [("url", Some(url)), ("password_file", password)])
                }
            });
        }
        tables.join("\n")
    }
}

/// Returns a table of TOML with the values that are set.
fn table<const N: usize>(name: &str, values: [(&str, Option<String>); N]) -> String {
    let mut lines = format!("[{name}]\n");
    for (key, value) in values {
        if let Some(value) = value {
            lines.push_str(&format!("{key} = {}\n", toml_text(&value)));
        }
    }
    lines
}

fn read_secret(file: impl AsRef<Path>) -> Result<Secret, Failure> {
    let file = file.as_ref();
    let text = operator_file::read_to_string(file)
        .map_err(|error| Failure::usage(format!("cannot read {}", file.display())).because(&error))?;
    Ok(Secret::new(text.trim_end_matches(['\r', '\n'])))
}

fn toml_text(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Returns a URL without its password, and whether it had one.
fn without_password(url: &str) -> (String, bool) {
    let plain = || (url.to_owned(), false);
    let Some((scheme, rest)) = url.split_once("://") else { return plain() };
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let Some((user, _)) = authority.rsplit_once('@') else { return plain() };
    let Some((name, _)) = user.split_once(':') else { return plain() };
    (format!("{scheme}://{name}{}", &rest[user.len()..]), true)
}

async fn relocate(registry: &Connection, to: &Move) -> Result<MoveReport, Failure> {
    let request = registry.request(Method::POST, "/api/v1/move").json(to).timeout(super::check::TIMEOUT);
    let Some(answer) = registry.find(request).await? else {
        return Err(Failure::new("the server cannot move its registry")
            .help("it is of an older version: restart it with this one first"));
    };
    let bar = progress_bar();
    bar.set_message("looking at every blob");
    let broken = || {
        Failure::new("the move was cut off, and is not known to be complete")
            .help("run the same command again: it goes on where this one has stopped")
    };
    let ended = json_lines::read(answer, broken, |line| match line {
        MoveLine::Progress(MoveProgress { is_frozen, blobs, bytes, rows }) => {
            let step = if is_frozen { "; pushes wait" } else { "" };
            let (blobs, bytes) = (counted(blobs, "blob", "blobs"), HumanBytes(bytes));
            bar.set_message(format!("{blobs}, {bytes} copied, {}{step}", counted(rows, "row", "rows")));
            None
        }
        MoveLine::Report(report) => Some(Ok(report)),
        MoveLine::Failed(reason) => Some(Err(Failure::new("nothing was moved").help(reason))),
    });
    let ended = ended.await;
    bar.finish_and_clear();
    ended
}

fn print(report: &MoveReport, settings: &str) -> Result<(), Failure> {
    if let Some(blobs) = &report.blobs {
        output::print(format_args!(
            "moved {}: {} copied, {}\n",
            counted(blobs.present, "blob", "blobs"),
            blobs.copied,
            output::human_size(blobs.copied_bytes)
        ))?;
        if !blobs.faulty.is_empty() {
            output::print("missing or damaged in the old place, and so not in the new one:\n")?;
            for digest in blobs.faulty.iter().take(20) {
                output::print(format_args!("  {digest}\n"))?;
            }
        }
    }
    if !report.tables.is_empty() {
        let rows: u64 = report.tables.iter().map(|table| table.rows).sum();
        output::print(format_args!(
            "moved {} with {}: all compared\n",
            counted(report.tables.len() as u64, "table", "tables"),
            counted(rows, "row", "rows")
        ))?;
    }
    if report.uploads > 0 {
        let uploads = counted(report.uploads, "unfinished upload", "unfinished uploads");
        output::print(format_args!("{uploads} must be begun again\n"))?;
    }
    output::print(format_args!(
        "\nPut this into the configuration, in place of the tables of these names, and restart the server. Pushes are \
         refused until then.\n\n{settings}"
    ))
}

#[cfg(test)]
mod tests {
    use clap::{Command, FromArgMatches as _};

    use super::*;
    use crate::config::Sources;

    /// Returns the bucket of a command with these settings and the variables of both providers.
    fn bucket(url: &str, settings: &str) -> MoveBlobs {
        let desk = tempfile::tempdir().unwrap();
        let (file, secret) = (desk.path().join("wharfinger.toml"), desk.path().join("secret"));
        std::fs::write(&secret, "of-the-file").unwrap();
        std::fs::write(&file, settings.replace("SECRET", secret.to_str().unwrap())).unwrap();
        let sources = Sources { file: Some(file), environment: Vec::new(), flags: Vec::new() };
        let config = Config::load(&sources).unwrap().config;
        let command = Relocate::augment_args(Command::new("move"));
        let matches = command.try_get_matches_from(["move", "--to-blobs", url]).unwrap();
        let variables = [&S3, &AZURE].into_iter().flat_map(|names| {
            [Some(names.endpoint), names.region, Some(names.access_key), Some(names.secret_key)]
        });
        let variables: Vec<_> = variables.flatten().collect();
        let variable = |name: &str| variables.contains(&name).then(|| name.to_lowercase());
        Relocate::from_arg_matches(&matches).unwrap().bucket(url, &config, variable).ok().unwrap()
    }

    #[test]
    fn bucket_takes_variables_of_its_provider() {
        for (url, names, region) in
            [("s3://images/a", S3, Some("aws_region")), ("az://images/a", AZURE, None)]
        {
            let bucket = bucket(url, "");
            assert_eq!(bucket.url, url);
            assert_eq!(bucket.endpoint, Some(names.endpoint.to_lowercase()));
            assert_eq!(bucket.region.as_deref(), region);
            assert_eq!(bucket.access_key, Some(names.access_key.to_lowercase()));
            assert_eq!(bucket.secret_key.unwrap().reveal(), names.secret_key.to_lowercase());
        }
    }

    #[test]
    fn bucket_takes_settings_of_its_provider_alone() {
        let old = "[blobs]\nurl = \"s3://old\"\nendpoint = \"https://s3.example.com\"\nregion = \"here\"\n\
            access_key = \"old\"\nsecret_key_file = \"SECRET\"\n";
        let same = bucket("s3://new", old);
        assert_eq!(same.endpoint.as_deref(), Some("https://s3.example.com"));
        assert_eq!(same.region.as_deref(), Some("here"));
        assert_eq!(same.access_key.as_deref(), Some("old"));
        assert_eq!(same.secret_key.unwrap().reveal(), "of-the-file");
        let other = bucket("az://new", old);
        assert_eq!(other.endpoint.as_deref(), Some("azure_storage_endpoint"));
        assert_eq!(other.region, None);
        assert_eq!(other.access_key.as_deref(), Some("azure_storage_account_name"));
    }

    #[test]
    fn password_is_left_out_of_the_settings() {
        let without = |url: &str| without_password(url).0;
        assert_eq!(
            without("postgres://ann:a%40b@db:5432/images?sslmode=require"),
            "postgres://ann@db:5432/images?sslmode=require"
        );
        assert_eq!(without("postgres://ann@db/images"), "postgres://ann@db/images");
        assert_eq!(without("postgres://db/images?a=b:c@d"), "postgres://db/images?a=b:c@d");
        assert!(without_password("postgres://ann:secret@db/images").1);
        assert!(!without_password("file").1);
    }
}
