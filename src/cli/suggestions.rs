//! Hints for arguments of other programs, such as `registry:2`, docker and nginx, which people try first.

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};

/// Adds a hint to an error about an unknown argument or command, if one is known.
pub(super) fn hint(error: clap::Error, words: &[String]) -> clap::Error {
    let context = match error.kind() {
        ErrorKind::UnknownArgument => ContextKind::InvalidArg,
        ErrorKind::InvalidSubcommand => ContextKind::InvalidSubcommand,
        _ => return error,
    };
    let Some(ContextValue::String(unknown)) = error.get(context) else { return error };
    let serves = words.iter().any(|word| word == "serve" || word == "gateway");
    let table = match (context, serves) {
        (ContextKind::InvalidSubcommand, _) => COMMANDS,
        (_, true) if !unknown.starts_with('-') => {
            return with(
                error,
                "the configuration file is named with --config FILE; it is TOML, and `wharfinger config example` prints one",
            );
        }
        (_, true) => SERVER,
        (_, false) => CLIENT,
    };
    let name = unknown.split('=').next().unwrap_or_default().to_owned();
    match table.iter().find(|(arguments, _)| arguments.contains(&name.as_str())) {
        Some((_, hint)) => with(error, hint),
        None => error,
    }
}

fn with(mut error: clap::Error, hint: &str) -> clap::Error {
    // clap suggests similar names, such as --open for --port.
    error.remove(ContextKind::SuggestedArg);
    error.remove(ContextKind::SuggestedSubcommand);
    error.remove(ContextKind::TrailingArg);
    error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![StyledStr::from(hint.to_owned())]));
    error
}

type Hints = &'static [(&'static [&'static str], &'static str)];

/// Hints for `serve` and `gateway`.
const SERVER: Hints = &[
    (
        &["--port", "-p", "-P", "--http-port", "--https-port", "--tls-port"],
        "the port is a part of --listen: `--listen 127.0.0.1:5000` for this machine only, `--listen :5000` for others too",
    ),
    (
        &[
            "--address",
            "--addr",
            "--host",
            "--hostname",
            "--bind",
            "--interface",
            "--ip",
            "-a",
            "-b",
            "-l",
            "-H",
        ],
        "address and port are given together: `--listen 127.0.0.1:5000`, or `--listen :5000` for every address",
    ),
    (
        &[
            "--cert",
            "--crt",
            "--certificate",
            "--tls-cert",
            "--tlscert",
            "--tls-crt",
            "--ssl-certificate",
            "--ssl-cert",
            "--http-tls-certificate",
        ],
        "a certificate is named with `--tls-certificate FILE --tls-key FILE`; `--tls-self-signed HOST` makes one",
    ),
    (
        &[
            "--key",
            "--tlskey",
            "--private-key",
            "--ssl-certificate-key",
            "--ssl-key",
            "--tls-private-key",
            "--http-tls-key",
        ],
        "the key of a certificate is named with `--tls-key FILE`, beside `--tls-certificate FILE`",
    ),
    (
        &["--tls", "--ssl", "--https", "--self-signed"],
        "HTTPS needs a certificate: `--tls-certificate FILE --tls-key FILE`, or `--tls-self-signed HOST`",
    ),
    (
        &["--http", "--no-tls", "--insecure", "--plain-http"],
        "leave it out: without a certificate it speaks plain HTTP",
    ),
    (
        &["-d", "--detach", "--daemon", "--daemonize", "--background", "-D"],
        "it stays in the foreground; docs/how-to/operation.md shows how systemd or a container engine runs it in the background",
    ),
    (
        &[
            "--data-dir",
            "--datadir",
            "--dir",
            "--directory",
            "--root",
            "--rootdirectory",
            "--storage",
            "--storage-path",
            "--path",
            "--volume",
            "-v",
        ],
        "the data directory is named with `--data DIR`",
    ),
    (
        &["-c", "-f", "--conf", "--config-file", "--configuration"],
        "the configuration file is named with `--config FILE`",
    ),
    (
        &[
            "--auth",
            "--auth-file",
            "--users",
            "--user-file",
            "--passwd",
            "--password-file",
            "--auth-basic-user-file",
            "--basic-auth",
        ],
        "a file made by htpasswd is named with `--htpasswd FILE`; `wharfinger user add NAME` makes an account without one",
    ),
    (
        &["--user", "--username", "-u", "--password", "--admin-password"],
        "the first account is made with `--admin NAME --admin-password-file FILE`, or with `wharfinger user add NAME --admin`",
    ),
    (
        &["--anonymous", "--allow-anonymous", "--no-auth", "--public"],
        "to let everyone do everything without an account: `--open`",
    ),
    (&["--verbose", "--debug", "--trace", "-vv", "-vvv"], "more is logged with `--log-level debug`"),
    (&["--quiet", "-q", "--silent"], "less is logged with `--log-level warn`"),
    (
        &["--log", "--log-file", "--logfile"],
        "the log goes to standard error; `--log-level` and `--log-format` change it",
    ),
    (
        &["--proxy", "--remote", "--remote-url", "--mirror", "--proxy-remoteurl", "--backend"],
        "`wharfinger serve --upstream NAME=URL` caches another registry, and `wharfinger gateway --upstream URL` stands \
         before one",
    ),
    (
        &["--domain", "--url", "--external-url", "--public-url"],
        "the address that clients use is the setting external_url (WHARFINGER_EXTERNAL_URL)",
    ),
    (&["--delete", "--enable-delete"], "deletion is allowed unless the setting registry.delete is false"),
];

/// Hints for commands that work on a registry.
const CLIENT: Hints = &[
    (
        &["--url", "--registry", "--host", "--address", "--endpoint", "-s", "-H"],
        "the registry of a server is named with `--server URL`",
    ),
    (&["--port", "-p"], "the port is a part of the URL: `--server http://localhost:5000`"),
    (
        &["--data-dir", "--datadir", "--dir", "--root", "--storage"],
        "the data directory is named with `--data DIR`",
    ),
    (&["--username", "--login", "-u"], "the account is named with `--user NAME`, beside `--server URL`"),
    (
        &["--password", "--pass", "--passwd"],
        "a password is asked for, or read with --password-stdin: others on this machine could read it in the arguments",
    ),
    (&["--token"], "a token is given in the variable WHARFINGER_TOKEN"),
    (
        &[
            "--insecure",
            "-k",
            "--tls-verify",
            "--skip-tls-verify",
            "--tls-skip-verify",
            "--cacert",
            "--ca-cert",
            "--cert",
            "--certificate",
            "--cert-dir",
        ],
        "a certificate that the system does not trust is named with `--ca FILE`; plain HTTP is `--server http://…`",
    ),
    (&["-o", "--output", "--format", "-j"], "machines read `--json`"),
    (
        &["-q", "--quiet", "--no-trunc", "--no-headers"],
        "in a pipe nothing is shortened; machines read `--json`",
    ),
    (&["-f", "--force", "--no-confirm", "--assume-yes"], "`rm` does not ask with `--yes`"),
    (&["-r", "-R", "--recursive"], "a whole repository is removed with `rm --all REPOSITORY`"),
];

/// Hints for unknown commands.
const COMMANDS: Hints = &[
    (
        &["start", "run", "server", "registry", "up", "daemon"],
        "the registry is started with `wharfinger serve`",
    ),
    (
        &["images", "list", "repos", "repositories", "catalog", "tags"],
        "repositories are listed with `wharfinger ls`, tags with `wharfinger ls REPOSITORY`",
    ),
    (&["delete", "remove", "rmi", "del"], "images are removed with `wharfinger rm`"),
    (&["push", "pull"], "images are pushed and pulled by a client: docker push HOST/REPOSITORY:TAG"),
    (&["login", "logout"], "clients log in with docker login HOST; commands take `--server URL --user NAME`"),
    (&["retag", "copy", "cp", "mv"], "one more name for an image: `wharfinger tag IMAGE NEW`"),
    (&["size", "usage", "df", "stats"], "space is measured with `wharfinger du`"),
    (&["verify", "fsck", "scrub", "doctor"], "content is checked with `wharfinger check`"),
    (&["show", "info", "describe", "manifest"], "an image is shown with `wharfinger inspect`"),
    (&["find"], "repositories are found with `wharfinger search`"),
    (&["passwd", "password"], "a password is changed with `wharfinger user password NAME`"),
    (&["users", "account", "accounts", "adduser", "useradd"], "accounts are managed with `wharfinger user`"),
    (&["group", "groups"], "groups of users are `wharfinger org` and `wharfinger team`"),
    (&["permission", "permissions", "acl", "share", "access"], "rights are given with `wharfinger grant`"),
    (
        &["log", "logs"],
        "the audit log is read with `wharfinger audit`; the server's log is its standard error",
    ),
    (&["certificate", "certs", "tls"], "certificates are made and shown with `wharfinger cert`"),
    (
        &["settings", "configure", "init"],
        "settings are listed with `wharfinger config example` and checked with `wharfinger config check`",
    ),
    (
        &["proxy", "cache"],
        "`wharfinger gateway --upstream URL` stands before another registry, and `wharfinger serve --upstream NAME=URL` \
         caches one",
    ),
    (&["man", "docs"], "`wharfinger manual` prints the manual page"),
    (&["help"], "`wharfinger --help`, or `wharfinger COMMAND --help`"),
    (&["dump", "export", "save"], "the metadata and keys are saved with `wharfinger backup FILE`"),
    (&["clean", "cleanup", "prune", "garbage-collect"], "space is freed with `wharfinger gc`"),
    (&["status", "ping", "ready"], "a server is asked with `wharfinger health`"),
];

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};

    use super::super::Cli;
    use super::*;

    fn told(line: &str) -> String {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        hint(Cli::try_parse_from(&words).unwrap_err(), &words).to_string()
    }

    #[test]
    fn foreign_argument_gets_a_hint() {
        for (line, hint) in [
            ("wharfinger serve --port 5000", "--listen :5000"),
            ("wharfinger serve -p 5000", "--listen :5000"),
            ("wharfinger serve --port=5000", "--listen :5000"),
            ("wharfinger serve --address 0.0.0.0", "--listen :5000"),
            ("wharfinger serve -d", "docs/how-to/operation.md"),
            ("wharfinger serve --cert a.pem --key a.key", "--tls-certificate FILE"),
            ("wharfinger serve --key a.key", "--tls-key FILE"),
            ("wharfinger serve /etc/docker/registry/config.yml", "--config FILE"),
            ("wharfinger gateway --backend http://a", "--upstream URL"),
            ("wharfinger ls --registry http://a", "--server URL"),
            ("wharfinger ls -k", "--ca FILE"),
            ("wharfinger images", "wharfinger ls"),
            ("wharfinger login localhost:5000", "docker login"),
        ] {
            let told = told(line);
            assert!(told.contains(hint), "{line}: {told}");
            assert_eq!(told.matches("tip:").count(), 1, "{line}: {told}");
        }
    }

    /// A hint for an existing argument would never be shown.
    #[test]
    fn hinted_arguments_do_not_exist() {
        let cli = Cli::command();
        let names = |command: &clap::Command| -> Vec<String> {
            let long = command
                .get_arguments()
                .filter_map(|argument| argument.get_long())
                .map(|name| format!("--{name}"));
            let short = command
                .get_arguments()
                .filter_map(|argument| argument.get_short())
                .map(|name| format!("-{name}"));
            long.chain(short).collect()
        };
        let serve = names(cli.find_subcommand("serve").unwrap());
        assert!(
            SERVER
                .iter()
                .flat_map(|(arguments, _)| *arguments)
                .all(|argument| !serve.contains(&(*argument).to_owned()))
        );
        let known: Vec<&str> = cli.get_subcommands().map(clap::Command::get_name).collect();
        for argument in COMMANDS.iter().flat_map(|(arguments, _)| *arguments) {
            assert!(!known.contains(argument), "{argument}");
        }
    }
}
