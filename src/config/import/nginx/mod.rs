//! Reads the nginx file of a registry: addresses, names, certificate, file of users and limit of bodies, as
//! far as they are unambiguous.

mod includes;
mod server;
mod syntax;

use std::path::{Path, PathBuf};

use super::super::error::{ConfigError, Excerpt};
use super::super::value::RawValue;
use super::draft::Draft;
use super::readers::taken;
use super::report::{Outcome, dropped, refused};
use super::yaml::Place;
use server::{Listen, Scope, Server};
use syntax::Directive;

/// Directives that restrict access in a way that settings cannot express.
const RESTRICTIONS: &[(&str, &str)] = &[
    ("auth_request", "name that server in `auth.forward`, and remove the line from the file"),
    ("auth_jwt", "make accounts here, and remove the line from the file"),
    ("allow", "there is no list of client addresses; use a firewall, and remove the line from the file"),
    ("deny", "there is no list of client addresses; use a firewall, and remove the line from the file"),
    ("limit_except", "grants restrict what accounts may do; make them, and remove the block from the file"),
];

/// Usual files of nginx without directives that restrict access.
const HARMLESS_INCLUDES: &[&str] =
    &["mime.types", "proxy_params", "fastcgi_params", "uwsgi_params", "scgi_params"];

/// Directives without a meaning for a registry that clients reach directly.
const PLUMBING: &[&str] = &[
    "proxy_",
    "ssl_",
    "gzip",
    "access_log",
    "error_log",
    "chunked_transfer_encoding",
    "keepalive",
    "sendfile",
    "tcp_",
    "server_tokens",
    "root",
    "index",
    "charset",
    "client_body",
    "client_header",
    "send_timeout",
    "large_client",
    "satisfy",
    "set",
    "map",
    "upstream",
    "types",
    "default_type",
    "http2",
    "auth_basic",
    "user",
    "worker_",
    "events",
    "pid",
    "resolver",
    "aio",
    "directio",
    "add_header",
    "more_set_headers",
    "expires",
    "etag",
];

pub(super) fn read(draft: &mut Draft, path: &Path, text: &str) -> Result<(), Box<ConfigError>> {
    let failed = |line: usize, message: String| {
        let start = text.lines().take(line.saturating_sub(1)).map(|line| line.len() + 1).sum();
        let error = ConfigError::new(format!("{} line {line}: {message}", path.display()))
            .at(Excerpt::new(path, text, start));
        Box::new(error)
    };
    let included = |file: &str| PathBuf::from(resolve(path, file));
    let root = syntax::parse(text)
        .and_then(|root| includes::expand(root, &included, 0))
        .map_err(|error| failed(error.line, format!("not nginx: {}", error.message)))?;
    draft.file = Some(path.to_owned());
    let servers = server::find(&root);
    let (proxies, others): (Vec<Server<'_>>, Vec<Server<'_>>) =
        servers.into_iter().partition(Server::is_proxy);
    let (with_tls, plain): (Vec<&Server<'_>>, Vec<&Server<'_>>) =
        proxies.iter().partition(|server| server.has_tls());
    // A second server without HTTPS forwards as well, or redirects.
    let candidates = if with_tls.is_empty() { plain } else { with_tls };
    let server = match &*candidates {
        [server] => *server,
        [] => return Err(failed(1, "no `server` with `proxy_pass`".to_owned())),
        [.., last] => {
            let message = "several servers forward requests; keep the one of the registry alone in the file";
            return Err(failed(last.line, message.to_owned()));
        }
    };
    restrictions(draft, server);
    listen(draft, server, &others);
    names(draft, server);
    certificate(draft, server, path);
    users(draft, server, path);
    body_size(draft, server);
    remaining(draft, server, &root);
    Ok(())
}

/// Sets a setting, and reports a value of another file that it replaces.
fn put(draft: &mut Draft, directive: &Directive, setting: &str, raw: &RawValue) -> Outcome {
    let replaces = draft.has(setting);
    draft.at(&directive.name, &Place::Line(directive.line));
    let outcome = taken(draft.set(setting, raw));
    if replaces && matches!(outcome, Outcome::Taken { .. }) {
        draft.note(format!(
            "`{setting}` is that of nginx, which clients see, and not that of the registry behind it"
        ));
    }
    outcome
}

fn text(text: impl Into<String>) -> RawValue {
    RawValue::String(text.into())
}

fn find(draft: &mut Draft, directive: &Directive, outcome: Outcome) {
    draft.find(&directive.name, &Place::Line(directive.line), outcome);
}

/// Refuses what restricts access and has no counterpart.
fn restrictions(draft: &mut Draft, server: &Server<'_>) {
    for directive in server.all().into_iter().chain(server.inherited()) {
        let is_harmless = match directive.name.as_str() {
            "ssl_verify_client" => {
                directive.argument() == "off" || directive.argument().starts_with("optional")
            }
            "auth_request" => directive.argument() == "off",
            "allow" => directive.argument() == "all",
            "include" => {
                let name = Path::new(directive.argument()).file_name().unwrap_or_default();
                HARMLESS_INCLUDES.iter().any(|harmless| name == *harmless)
            }
            "if" | "location" => !denies(directive),
            name if is_access_module(name) => false,
            name => !RESTRICTIONS.iter().any(|(known, _)| *known == name),
        };
        if is_harmless {
            continue;
        }
        if directive.name == "include" {
            let reason =
                "the file cannot be read, and may restrict access; import where it is, or put its lines here";
            find(draft, directive, refused(format!("{}: {reason}", directive.argument())));
            continue;
        }
        let help = RESTRICTIONS.iter().find(|(name, _)| *name == directive.name).map_or(
            "it restricts access, and has no counterpart; remove it from the file if accounts are enough",
            |(_, help)| *help,
        );
        find(draft, directive, refused(help));
    }
}

/// Whether an `if`, or a location of the registry, answers that access is denied.
fn denies(directive: &Directive) -> bool {
    let block = directive.block.as_deref().unwrap_or_default();
    let returns = |codes: &[&str]| {
        let mut returns = block.iter().filter(|inner| inner.name == "return");
        returns.any(|inner| codes.iter().any(|code| inner.argument().starts_with(code)))
    };
    let mentions = |text: &str| directive.arguments.iter().any(|argument| argument.contains(text));
    match directive.name.as_str() {
        "location" => mentions("v2") && returns(&["4"]),
        _ => {
            returns(&["401", "403", "405", "444"])
                || (mentions("$request_method") || mentions("$remote_addr")) && returns(&["4"])
        }
    }
}

/// Whether a directive belongs to a module that decides about access.
fn is_access_module(name: &str) -> bool {
    name.starts_with("auth_") && !name.starts_with("auth_basic")
        || ["access_by_", "js_access", "perl", "modsecurity", "secure_link"]
            .iter()
            .any(|module| name.starts_with(module))
}

fn listen(draft: &mut Draft, server: &Server<'_>, others: &[Server<'_>]) {
    let listens: Vec<Listen<'_>> = server.listens();
    let mut ports: Vec<u16> =
        listens.iter().filter(|listen| !server.has_tls() || listen.tls).map(|listen| listen.port).collect();
    ports.sort_unstable();
    ports.dedup();
    for listen in &listens {
        let outcome = match &*ports {
            [port] if *port == listen.port => {
                // One address of several, or all addresses, if they have one port.
                let addresses: Vec<&str> =
                    listens.iter().filter(|other| other.port == *port).map(|other| other.address).collect();
                let address = match &*addresses {
                    [address] => *address,
                    _ if addresses.iter().any(|address| address.starts_with('[')) => "[::]",
                    _ => "",
                };
                put(draft, listen.directive, "listen", &text(format!("{address}:{port}")))
            }
            [_] => dropped("it is not the port of the registry's HTTPS"),
            _ => dropped("the server has several ports; set `listen` by hand"),
        };
        find(draft, listen.directive, outcome);
    }
    for directive in server.all().into_iter().filter(|directive| directive.name == "listen") {
        if !listens.iter().any(|listen| std::ptr::eq(listen.directive, directive)) {
            find(draft, directive, dropped("the server listens on ports of TCP alone"));
        }
    }
    if !server.has_tls() {
        return;
    }
    for other in others.iter().filter(|other| other.redirects_to_https()) {
        for listen in other.listens() {
            let outcome = put(
                draft,
                listen.directive,
                "tls.redirect",
                &text(format!("{}:{}", listen.address, listen.port)),
            );
            find(draft, listen.directive, outcome);
        }
    }
}

/// One exact name becomes the external URL.
fn names(draft: &mut Draft, server: &Server<'_>) {
    let Some(directive) = server.own("server_name") else { return };
    let is_exact =
        |name: &&String| !name.is_empty() && !name.starts_with(['_', '~', '.']) && !name.contains(['*', '$']);
    let exact: Vec<&String> = directive.arguments.iter().filter(is_exact).collect();
    let outcome = match &*exact {
        [name] if directive.arguments.len() == 1 => {
            let (scheme, usual) = if server.has_tls() { ("https", 443) } else { ("http", 80) };
            let listens = server.listens();
            let port = listens
                .iter()
                .find(|listen| listen.tls == server.has_tls())
                .map_or(usual, |listen| listen.port);
            let port = if port == usual { String::new() } else { format!(":{port}") };
            put(draft, directive, "external_url", &text(format!("{scheme}://{name}{port}")))
        }
        [] => dropped("it is not an exact name; the registry answers for every name"),
        _ => dropped(
            "these are several names; the registry answers for every name, and `external_url` stays empty",
        ),
    };
    find(draft, directive, outcome);
}

fn certificate(draft: &mut Draft, server: &Server<'_>, path: &Path) {
    let files = [("ssl_certificate", "tls.certificate"), ("ssl_certificate_key", "tls.key")];
    for (name, setting) in files {
        let given: Vec<&Directive> = server.effective(name);
        let outcome = match &*given {
            [] => continue,
            [_] if !server.has_tls() => dropped("the server has no HTTPS"),
            [one] if one.argument().contains('$') || one.argument().starts_with("data:") => {
                refused("a path with a variable is not known; name the file")
            }
            [one] => match put(draft, one, setting, &text(resolve(path, one.argument()))) {
                Outcome::NoCounterpart { reason } => refused(reason),
                outcome => outcome,
            },
            _ => refused(
                "the server has several certificates, and `tls.certificate` is one; keep one in the file",
            ),
        };
        find(draft, given[0], outcome);
    }
    if server.has_tls() && server.effective("ssl_certificate").is_empty() {
        let place = Place::Line(server.line);
        draft.find(
            "ssl_certificate",
            &place,
            refused("it is missing in this file; name the certificate in it"),
        );
    }
}

/// nginx resolves relative paths from the directory of `nginx.conf`.
fn resolve(file: &Path, path: &str) -> String {
    let directory = file.parent().unwrap_or(Path::new(""));
    let is_below = directory.file_name().is_some_and(|name| {
        ["conf.d", "sites-enabled", "sites-available", "snippets"].iter().any(|below| name == *below)
    });
    let prefix: PathBuf =
        if is_below { directory.parent().unwrap_or(directory).to_owned() } else { directory.to_owned() };
    prefix.join(path).display().to_string()
}

/// The file of users, if all locations share one.
fn users(draft: &mut Draft, server: &Server<'_>, path: &Path) {
    let files: Vec<&Directive> = server.everywhere("auth_basic_user_file");
    let mut names: Vec<&str> = files.iter().map(|file| file.argument()).collect();
    names.sort_unstable();
    names.dedup();
    let Some(first) = files.first().copied() else { return };
    if path.is_relative() && files.iter().any(|file| Path::new(file.argument()).is_relative()) {
        draft.note(format!(
            "nginx reads `auth_basic_user_file {}` below the directory of nginx.conf, usually /etc/nginx: check `auth.htpasswd`",
            first.argument()
        ));
    }
    let outcome = match &*names {
        [name] if !name.contains('$') => match put(draft, first, "auth.htpasswd", &text(resolve(path, name)))
        {
            Outcome::NoCounterpart { reason } => refused(reason),
            outcome => outcome,
        },
        _ => {
            refused("locations have several files of users, and `auth.htpasswd` is one; keep one in the file")
        }
    };
    find(draft, first, outcome);
    let open: Vec<Scope<'_>> =
        server.proxy_scopes().filter(|scope| !scope.has_accounts() && !scope.is_ping()).collect();
    for scope in open {
        draft.note(format!(
            "nginx asks for no password at `location {}` (line {}); here everything is private unless granted. To let \
             everyone pull: [[auth.locations]] with path = \"/v2/\" and auth = \"open\"",
            scope.path(),
            scope.line(),
        ));
    }
}

/// `client_max_body_size`, if all locations of the registry share it. nginx's default refuses most layers.
fn body_size(draft: &mut Draft, server: &Server<'_>) {
    let given: Vec<&Directive> = server.everywhere("client_max_body_size");
    let Some(first) = given.first().copied() else { return };
    let mut effective: Vec<&str> =
        server.proxy_scopes().filter_map(|scope| scope.value("client_max_body_size")).collect();
    effective.sort_unstable();
    effective.dedup();
    let outcome = match &*effective {
        ["0"] => put(draft, first, "limits.blob_bytes", &text("unlimited")),
        [size] => match bytes(size) {
            Some(bytes) => put(draft, first, "limits.blob_bytes", &RawValue::Integer(bytes.into())),
            None => dropped("it is not a size"),
        },
        _ => dropped("locations differ; set `limits.blob_bytes` by hand"),
    };
    find(draft, first, outcome);
}

/// Parses a size of nginx: bytes, or with the suffix k, m or g.
fn bytes(size: &str) -> Option<u64> {
    let size = size.to_ascii_lowercase();
    let (number, shift) = match size.strip_suffix(['k', 'm', 'g']) {
        Some(number) if size.ends_with('k') => (number, 10),
        Some(number) if size.ends_with('m') => (number, 20),
        Some(number) => (number, 30),
        None => (size.as_str(), 0),
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// Reports the directives that were not read.
fn remaining(draft: &mut Draft, server: &Server<'_>, root: &[Directive]) {
    const READ: &[&str] =
        &["listen", "server_name", "ssl", "client_max_body_size", "location", "return", "if", "rewrite"];
    for directive in server.all() {
        let name = directive.name.as_str();
        let outcome = match name {
            // Directives that may restrict access are refused.
            "include" => continue,
            "limit_req" | "limit_conn" | "limit_rate" => dropped(
                "see `limits.requests_per_address`, `limits.connections_per_address` and `limits.bandwidth_per_address`",
            ),
            "if" if !denies(directive) => dropped("conditions are not read"),
            "add_header" if directive.argument().eq_ignore_ascii_case("strict-transport-security") => {
                dropped("the header is not sent; engines do not read it")
            }
            _ if is_access_module(name) => continue,
            _ if READ.contains(&name) || RESTRICTIONS.iter().any(|(known, _)| *known == name) => continue,
            _ if PLUMBING.iter().any(|prefix| name.starts_with(prefix)) => continue,
            _ => dropped("it is not read"),
        };
        find(draft, directive, outcome);
    }
    let is_inherited = |include: &Directive| server.inherited().any(|other| std::ptr::eq(other, include));
    for include in root.iter().filter(|directive| directive.name == "include" && !is_inherited(directive)) {
        find(draft, include, Outcome::Unknown { reason: "the included file is not read".to_owned() });
    }
    if !draft.has("data") {
        draft.note(
            "set `data` to the directory of the registry behind nginx, or import its file as well: \
             wharfinger config import config.yml nginx.conf",
        );
    }
}

#[cfg(test)]
mod tests;
