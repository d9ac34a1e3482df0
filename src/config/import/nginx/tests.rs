//! Tests of nginx files.

use super::super::super::error::ConfigErrors;
use super::super::{Import, ImportSources, Outcome, import};
use super::*;

/// The file of an old guide, with HTTPS and a file of users before a registry.
const WALKTHROUGH: &str = r#"
upstream docker-registry { server 127.0.0.1:5000; }
server {
    listen 443;
    server_name registry.example.com;
    ssl on;
    ssl_certificate /etc/nginx/server.pem;
    ssl_certificate_key server.key;
    client_max_body_size 0;
    auth_basic_user_file passwd;
    proxy_set_header Host $http_host;
    proxy_set_header Authorization "";
    location / { auth_basic "Restricted"; proxy_pass http://docker-registry; }
    location /v2/ { auth_basic off; proxy_pass http://docker-registry; }
    location /_ping { auth_basic off; proxy_pass http://docker-registry; }
    location /auth/ { auth_basic "Restricted"; auth_basic_user_file passwd; proxy_pass http://docker-registry; }
}
server { listen 80; return 301 https://$host$request_uri; }
"#;

fn read_file(text: &str) -> Import {
    let files = vec![("/etc/nginx/conf.d/registry.conf".into(), text.to_owned())];
    import(&ImportSources { files, environment: Vec::new() }).unwrap()
}

fn refused_keys(text: &str) -> Vec<String> {
    read_file(text).refused().map(|finding| finding.key.clone()).collect()
}

/// A server with more directives.
fn server(more: &str) -> String {
    format!("server {{ listen 5000; {more} location / {{ proxy_pass http://r; }} }}")
}

#[test]
fn nginx_file_of_the_guide_is_taken() {
    let imported = read_file(WALKTHROUGH);
    let toml = imported.toml();
    for line in [
        r#"listen = "0.0.0.0:443""#,
        r#"external_url = "https://registry.example.com""#,
        r#"blob_bytes = "unlimited""#,
        r#"htpasswd = "/etc/nginx/passwd""#,
        "required = true",
        r#"certificate = "/etc/nginx/server.pem""#,
        r#"key = "/etc/nginx/server.key""#,
        r#"redirect = "0.0.0.0:80""#,
    ] {
        assert!(toml.lines().any(|written| written == line), "{line}\n{toml}");
    }
    assert!(!toml.contains("open = true"), "{toml}");
    assert_eq!(imported.refused().count(), 0, "{:?}", imported.findings);
    let open: Vec<&String> = imported.notes.iter().filter(|note| note.contains("no password")).collect();
    assert_eq!(open.len(), 1, "{open:?}");
    assert!(open[0].contains("`location /v2/` (line 14)"), "{open:?}");
}

#[test]
fn nginx_restrictions_without_counterpart_are_refused() {
    for (directive, name) in [
        ("auth_request /auth;", "auth_request"),
        ("deny all;", "deny"),
        ("allow 10.0.0.0/8;", "allow"),
        ("ssl_verify_client on;", "ssl_verify_client"),
        ("if ($remote_addr != 10.0.0.1) { return 403; }", "if"),
        ("limit_except GET { deny all; }", "limit_except"),
        ("if ($request_method = PUT) { return 404; }", "if"),
        ("location /v2/private/ { return 403; }", "location"),
        ("access_by_lua_block { x; }", "access_by_lua_block"),
        ("auth_jwt_key_file a;", "auth_jwt_key_file"),
    ] {
        assert!(refused_keys(&server(directive)).contains(&name.to_owned()), "{directive}");
    }
    let two = "auth_basic x; auth_basic_user_file a; location /v2/ { auth_basic_user_file b; proxy_pass http://r; }";
    assert_eq!(refused_keys(&server(two)), ["auth_basic_user_file"]);
    for harmless in [
        "ssl_verify_client off;",
        "allow all;",
        "if ($http_user_agent ~ x) { return 404; }",
        "location /x { return 404; }",
    ] {
        assert!(refused_keys(&server(harmless)).is_empty(), "{harmless}");
    }
}

#[test]
fn nginx_without_accounts_stays_open() {
    let imported = read_file(&server("client_max_body_size 2g; limit_req zone=a; foo bar;"));
    let toml = imported.toml();
    assert!(toml.contains("open = true\n") && toml.contains("blob_bytes = \"2GiB\"\n"), "{toml}");
    let is = |key: &str| imported.findings.iter().find(|finding| finding.key == key).unwrap().outcome.clone();
    assert!(matches!(is("limit_req"), Outcome::NoCounterpart { .. }));
    assert!(matches!(is("foo"), Outcome::NoCounterpart { .. }));
}

#[test]
fn nginx_ambiguous_values_are_not_taken() {
    let imported = read_file(&server(
        "listen 6000; server_name a.example b.example; client_max_body_size 1g; location /v2/ { client_max_body_size 0; \
         proxy_pass http://r; }",
    ));
    let toml = imported.toml();
    assert!(
        !toml.contains("listen") && !toml.contains("external_url") && !toml.contains("blob_bytes"),
        "{toml}"
    );
    let both = read_file(&server("listen [::]:5000;"));
    assert!(both.toml().contains(r#"listen = "[::]:5000""#), "{}", both.toml());
}

#[test]
fn nginx_file_with_several_registries_is_an_error() {
    for text in
        [format!("{}{}", server(""), server("")), "server { listen 80; }".to_owned(), "a {".to_owned()]
    {
        let files = vec![("nginx.conf".into(), text.clone())];
        assert!(import(&ImportSources { files, environment: Vec::new() }).is_err(), "{text}");
    }
}

#[test]
fn nginx_sizes_are_read() {
    assert_eq!(bytes("10"), Some(10));
    assert_eq!(bytes("8K"), Some(8192));
    assert_eq!(bytes("20m"), Some(20 << 20));
    assert_eq!(bytes("2g"), Some(2 << 30));
    assert_eq!(bytes("x"), None);
}

#[test]
fn nginx_includes_are_read() {
    let scratch = tempfile::TempDir::new().unwrap();
    let at = |name: &str| scratch.path().join(name);
    for directory in ["conf.d", "snippets"] {
        std::fs::create_dir(at(directory)).unwrap();
    }
    let text = "server { listen 443 ssl; include snippets/tls*.conf; location / { proxy_pass http://r; \
        include snippets/users.conf; include proxy_params; } }";
    let write = |name: &str, text: &str| std::fs::write(at(name), text).unwrap();
    write("snippets/tls-1.conf", "ssl_certificate a.pem;");
    write("snippets/tls-2.conf", "ssl_certificate_key a.key;");
    write("snippets/.tls-3.conf", "deny all;");
    write("snippets/users.conf", "auth_basic x;\ninclude snippets/file.conf;\n");
    write("snippets/file.conf", "auth_basic_user_file passwd;");
    let path = at("conf.d/registry.conf");
    let read =
        || import(&ImportSources { files: vec![(path.clone(), text.to_owned())], environment: Vec::new() });
    let imported = read().unwrap();
    assert_eq!(imported.refused().count(), 0, "{:?}", imported.findings);
    let toml = imported.toml();
    for name in ["a.pem", "a.key", "passwd"] {
        assert!(toml.contains(&format!("{}\"", at(name).display())), "{name}: {toml}");
    }

    write("snippets/file.conf", "deny all;");
    assert!(read().unwrap().refused().any(|finding| finding.key == "deny"));
    write("snippets/file.conf", "{");
    let ConfigErrors(errors) = read().unwrap_err();
    assert!(errors[0].message.contains("snippets/file.conf line 1"), "{errors:?}");
}

#[test]
fn nginx_include_that_cannot_be_read_is_refused() {
    for more in ["include snippets/absent.conf;", "include absent/*.conf;"] {
        assert_eq!(refused_keys(&server(more)), ["include"], "{more}");
        let in_http = format!("http {{ {more} {} }}", server(""));
        assert_eq!(refused_keys(&in_http), ["include"], "{in_http}");
    }
    assert!(refused_keys(&server("include proxy_params;")).is_empty());
    assert!(refused_keys(&format!("include absent/*.conf; http {{ {} }}", server(""))).is_empty());
}

#[test]
fn nginx_program_and_socket_are_accounted_for() {
    let code = server("access_by_lua_block { if a then return ngx.exit(403) end }");
    assert_eq!(refused_keys(&code), ["access_by_lua_block"]);
    let imported = read_file(&server("listen unix:/run/registry.sock;"));
    let listens: Vec<&Outcome> =
        imported.findings.iter().filter(|found| found.key == "listen").map(|found| &found.outcome).collect();
    assert!(
        matches!(&*listens, [Outcome::Taken { .. }, Outcome::NoCounterpart { .. }]),
        "{:?}",
        imported.findings
    );
}
