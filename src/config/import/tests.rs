//! Tests of distribution's files. nginx has its own.

use super::*;

fn imported(text: &str, variables: &[(&str, &str)]) -> Import {
    let files = if text.is_empty() { Vec::new() } else { vec![("config.yml".into(), text.to_owned())] };
    let environment =
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    import(&ImportSources { files, environment }).unwrap_or_else(|error| panic!("{error:?}"))
}

fn has_lines(imported: &Import, lines: &[&str]) {
    let toml = imported.toml();
    for line in lines {
        assert!(toml.lines().any(|written| written == *line), "{line}\n{toml}");
    }
}

fn outcome(imported: &Import, key: &str) -> Outcome {
    let finding = imported.findings.iter().find(|finding| finding.key == key);
    finding.unwrap_or_else(|| panic!("{key}: {:?}", imported.findings)).outcome.clone()
}

#[test]
fn debians_configuration_is_taken() {
    let imported = imported(
        "version: 0.1\nlog:\n  fields:\n    service: registry\nstorage:\n  cache:\n    blobdescriptor: inmemory\n  \
         filesystem:\n    rootdirectory: /var/lib/docker-registry\n  delete:\n    enabled: true\nhttp:\n  addr: :5000\n  \
         headers:\n    X-Content-Type-Options: [nosniff]\nauth:\n  htpasswd:\n    realm: basic-realm\n    path: \
         /etc/docker/registry\nhealth:\n  storagedriver:\n    enabled: true\n",
        &[],
    );
    has_lines(
        &imported,
        &[
            r#"listen = "0.0.0.0:5000""#,
            r#"data = "/var/lib/docker-registry""#,
            "# storage.filesystem.rootdirectory, config.yml line 9",
            "delete = true",
            r#"htpasswd = "/etc/docker/registry""#,
            "required = true",
        ],
    );
    assert_eq!(imported.refused().count(), 0);
    assert!(imported.notes.iter().any(|note| note.contains("grant add accounts pull,push '**'")));
}

#[test]
fn registry_without_accounts_stays_open() {
    let imported = imported("version: 0.1\nstorage: filesystem\nhttp: {addr: ':5000'}\n", &[]);
    has_lines(&imported, &["open = true", r#"data = "/var/lib/registry""#, "delete = false"]);
    let local =
        super::tests::imported("version: 0.1\nstorage: filesystem\nhttp: {addr: 'localhost:5000'}\n", &[]);
    assert!(!local.toml().contains("open ="), "{}", local.toml());
}

#[test]
fn variables_alone_change_the_image_configuration() {
    let imported = imported(
        "",
        &[
            ("REGISTRY_AUTH", "htpasswd"),
            ("REGISTRY_AUTH_HTPASSWD_REALM", "Registry"),
            ("REGISTRY_AUTH_HTPASSWD_PATH", "/auth/htpasswd"),
            ("REGISTRY_HTTP_ADDR", "0.0.0.0:443"),
            ("REGISTRY_HTTP_TLS_CERTIFICATE", "/certs/domain.crt"),
            ("REGISTRY_HTTP_TLS_KEY", "/certs/domain.key"),
            ("REGISTRY_STORAGE_DELETE_ENABLED", "true"),
            ("REGISTRY_SERVICE_HOST", "10.0.0.1"),
        ],
    );
    has_lines(
        &imported,
        &[
            r#"listen = "0.0.0.0:443""#,
            r#"data = "/var/lib/registry""#,
            r#"htpasswd = "/auth/htpasswd""#,
            "# auth.htpasswd.path, REGISTRY_AUTH_HTPASSWD_PATH",
            r#"certificate = "/certs/domain.crt""#,
            r#"key = "/certs/domain.key""#,
            "delete = true",
        ],
    );
    assert!(matches!(outcome(&imported, "REGISTRY_SERVICE_HOST"), Outcome::Unknown { .. }));
}

#[test]
fn values_are_converted() {
    let imported = imported(
        "version: 0.1\nlog: {level: WARN, formatter: logstash, accesslog: {disabled: true}}\nloglevel: debug\n\
         storage:\n  filesystem: {rootdirectory: /r}\n  maintenance: {uploadpurging: {enabled: true, age: 168h}}\n\
         http:\n  addr: 127.0.0.1:5000\n  host: https://registry.example.com/\n  draintimeout: 1m30s\n  \
         http2: {disabled: true}\n  h2c: {enabled: true}\n  debug: {addr: 'localhost:5001', prometheus: {enabled: true}}\n  headers:\n    Access-Control-Allow-Origin: \
         ['https://ui.example.com']\n    Access-Control-Allow-Methods: [GET]\n  tls:\n    minimumtls: tls1.2\n    \
         letsencrypt: {cachefile: /c, email: ann@example.com, hosts: [registry.example.com]}\n\
         catalog: {maxentries: 500}\ntags: {maxtags: 2000}\nvalidation: {manifests: {indexes: {platforms: none}}}\n",
        &[],
    );
    has_lines(
        &imported,
        &[
            r#"level = "warn,wharfinger::http::middleware::access_log=off""#,
            r#"format = "json""#,
            r#"upload_expiry = "168h""#,
            r#"external_url = "https://registry.example.com""#,
            r#"shutdown_timeout = "90s""#,
            "http2 = false",
            "http2_clear = true",
            r#"cors_origins = ["https://ui.example.com"]"#,
            r#"directory = "https://acme-v02.api.letsencrypt.org/directory""#,
            r#"hosts = ["registry.example.com"]"#,
            r#"contact = ["mailto:ann@example.com"]"#,
            "page_entries = 2000",
            "sparse_indexes = true",
            r#"listen = "127.0.0.1:5001""#,
        ],
    );
    assert!(matches!(outcome(&imported, "loglevel"), Outcome::NoCounterpart { .. }));
}

#[test]
fn keys_that_would_open_the_registry_are_refused() {
    for (text, key) in [
        ("auth: {silly: {realm: a, service: b}}", "auth.silly"),
        ("auth: silly", "auth.silly"),
        ("auth: {token: {realm: a, service: b, issuer: c, rootcertbundle: d}}", "auth.token"),
        ("auth: {ldap: {url: a}}", "auth.ldap"),
        ("auth: {htpasswd: {realm: a}}\nstorage: filesystem", ""),
        ("auth: {htpasswd: {path: ''}}", "auth.htpasswd.path"),
        ("http: {tls: {certificate: a, key: b, clientcas: [c]}}", "http.tls.clientcas"),
        ("http: {tls: {letsencrypt: {email: a@example.com}}}", "http.tls.letsencrypt.email"),
        ("storage: {maintenance: {readonly: {enabled: true}}}", "storage.maintenance.readonly.enabled"),
        ("proxy: {remoteurl: 'nonsense'}", "proxy.remoteurl"),
        ("middleware: {repository: [{name: guard}]}", "middleware.repository"),
    ] {
        let imported = imported(&format!("version: 0.1\n{text}\n"), &[]);
        let refused: Vec<&str> = imported.refused().map(|finding| finding.key.as_str()).collect();
        if key.is_empty() {
            assert_eq!(refused, ["auth.htpasswd"], "{text}");
        } else {
            assert!(refused.contains(&key), "{text}: {refused:?}");
        }
    }
    for harmless in [
        "auth: none",
        "http: {tls: {certificate: a, key: b, clientcas: [c], clientauth: verify-client-cert-if-given}}",
        "storage: {maintenance: {readonly: {enabled: false}}}",
        "middleware: {repository: [{name: guard, disabled: true}]}",
    ] {
        assert_eq!(imported(&format!("version: 0.1\n{harmless}\n"), &[]).refused().count(), 0, "{harmless}");
    }
}

#[test]
fn unknown_key_suggests_a_documented_one() {
    let imported = imported("version: 0.1\nhttp: {adr: ':5000'}\n", &[]);
    let Outcome::Unknown { reason } = outcome(&imported, "http.adr") else {
        panic!("{:?}", imported.findings)
    };
    assert!(reason.contains("did you mean `http.addr`?"), "{reason}");
}

#[test]
fn wrong_files_are_errors_with_a_line() {
    for (text, says) in [
        ("version: 0.2\n", "version \"0.2\" is unknown"),
        ("http: {addr: x}\n", "`version` is missing"),
        ("version: 0.1\nhttp: [\n", "not YAML"),
        ("just text\n", "it has no keys"),
    ] {
        let files = vec![("config.yml".into(), text.to_owned())];
        let ConfigErrors(errors) = import(&ImportSources { files, environment: Vec::new() }).unwrap_err();
        assert!(
            errors[0].message.contains(says) && errors[0].message.starts_with("config.yml line "),
            "{errors:?}"
        );
    }
}

#[test]
fn files_of_both_programs_are_combined() {
    let files = vec![
        ("config.yml".into(), "version: 0.1\nstorage: {filesystem: {rootdirectory: /r}}\nhttp: {addr: ':5000'}\n".to_owned()),
        (
            "/etc/nginx/nginx.conf".into(),
            "http { server { listen 443 ssl; ssl_certificate a.pem; ssl_certificate_key a.key; auth_basic x; \
             auth_basic_user_file passwd; location / { proxy_pass http://127.0.0.1:5000; } } }"
                .to_owned(),
        ),
    ];
    let imported = import(&ImportSources { files, environment: Vec::new() }).unwrap();
    has_lines(
        &imported,
        &[
            r#"listen = "0.0.0.0:443""#,
            r#"data = "/r""#,
            r#"htpasswd = "/etc/nginx/passwd""#,
            "required = true",
        ],
    );
    assert!(!imported.toml().contains("open ="), "{}", imported.toml());
    assert!(imported.notes.iter().any(|note| note.starts_with("`listen` is that of nginx")));
}

#[test]
fn notifications_become_webhooks() {
    let imported = imported(
        "version: 0.1\nstorage: {filesystem: {rootdirectory: /r}}\nnotifications:\n  events: {includereferences: true}\n  \
         endpoints:\n    - name: listener\n      url: http://10.0.0.7/event\n      headers: {Authorization: [Bearer abc]}\n      \
         timeout: 500ms\n      threshold: 5\n      backoff: 1s\n      ignore: {mediatypes: [application/octet-stream], \
         actions: [pull]}\n    - {name: off, url: 'http://10.0.0.8/', disabled: true}\n",
        &[],
    );
    let toml = imported.toml();
    for part in [
        r#"url = "http://10.0.0.7/event""#,
        r#"events = ["push", "tag.deleted", "manifest.deleted", "repository.deleted"]"#,
        r#"format = "distribution""#,
        "allow_private = true",
        r#"headers = ["Authorization: Bearer abc"]"#,
        r#"name = "listener""#,
    ] {
        assert!(toml.contains(part), "{part}: {toml}");
    }
    assert!(!toml.contains("10.0.0.8") && !toml.contains("pulls ="), "{toml}");
    assert!(matches!(outcome(&imported, "notifications.endpoints"), Outcome::Taken { .. }));
    for key in ["events.includereferences", "endpoints.timeout", "endpoints.threshold", "endpoints.backoff"] {
        let key = format!("notifications.{key}");
        assert!(matches!(outcome(&imported, &key), Outcome::NoCounterpart { .. }), "{key}");
    }
    assert!(imported.notes.iter().any(|note| note.contains("10.0.0.8")), "{:?}", imported.notes);
}

#[test]
fn notifications_of_pulls_are_kept_with_a_note() {
    let imported = imported(
        "version: 0.1\nstorage: {filesystem: {rootdirectory: /r}}\n\
         notifications: {endpoints: [{name: 'a b', url: 'https://example.com/'}]}\n",
        &[],
    );
    has_lines(&imported, &["pulls = 1"]);
    assert!(imported.notes.iter().any(|note| note.contains("events.pulls")), "{:?}", imported.notes);
    assert!(matches!(outcome(&imported, "notifications.endpoints.name"), Outcome::NoCounterpart { .. }));
}

#[test]
fn proxy_becomes_the_default_upstream() {
    let text = "version: 0.1\nstorage: {filesystem: {rootdirectory: /r}}\nhttp: {addr: ':5000'}\n\
        proxy: {remoteurl: 'https://registry-1.docker.io', username: ann, password: secret, ttl: 168h}\n";
    let open = imported(text, &[]);
    let toml = open.toml();
    for part in [
        r#"name = "docker.io""#,
        r#"url = "https://registry-1.docker.io""#,
        "default = true",
        r#"username = "ann""#,
        r#"fill = "everyone""#,
        r#"open_to = ["0.0.0.0/0", "::/0"]"#,
        "required = true",
    ] {
        assert!(toml.contains(part), "{part}: {toml}");
    }
    assert!(!toml.contains("secret") && !toml.contains("open = true") && !toml.contains("data ="), "{toml}");
    assert!(matches!(outcome(&open, "proxy.ttl"), Outcome::NoCounterpart { .. }));
    assert!(open.notes.iter().any(|note| note.contains("empty data directory")), "{:?}", open.notes);

    let closed = imported(&format!("{text}auth: {{htpasswd: {{realm: a, path: /users}}}}\n"), &[]);
    assert!(!closed.toml().contains("open_to"), "{}", closed.toml());
    let helper =
        imported("version: 0.1\nproxy: {remoteurl: 'http://r:5000', exec: {command: /bin/h}}\n", &[]);
    assert!(helper.toml().contains(r#"credential_helper = "/bin/h""#), "{}", helper.toml());
}

#[test]
fn section_that_is_no_map_is_named() {
    for (text, key, is_refused) in [
        ("http: {addr: ':5000', tls: []}", "http.tls", false),
        ("http: text", "http", false),
        ("auth: [htpasswd]", "auth", true),
        ("auth: []", "auth", true),
    ] {
        let imported = imported(&format!("version: 0.1\nstorage: filesystem\n{text}\n"), &[]);
        assert_eq!(matches!(outcome(&imported, key), Outcome::Refused { .. }), is_refused, "{text}");
    }
}

#[test]
fn wrong_endpoint_does_not_drop_the_others() {
    let imported = imported(
        "version: 0.1\nstorage: filesystem\nnotifications:\n  endpoints:\n    - {name: a, url: 'https://a.example.com/'}\n    \
         - {name: b, url: 'ftp://b.example.com/'}\n",
        &[],
    );
    assert!(imported.toml().contains("https://a.example.com/"), "{}", imported.toml());
    assert!(imported.notes.iter().any(|note| note.contains("ftp://b.example.com/")), "{:?}", imported.notes);
}

#[test]
fn nasty_spellings_are_read() {
    let block = "\u{feff}%YAML 1.1\n---\nversion: \"0.1\"\nx-tls: &tls {certificate: /a.pem, key: /a.key}\nstorage:\r\n  \
        filesystem:\r\n    rootdirectory: >-\r\n      /var/lib/my registry\r\nhttp:\n  addr: |\n    :5000\n  host: !str \
        https://x.example.com\n  tls: {<<: *tls}\n...\n---\nversion: 9\n";
    let imported = imported(block, &[]);
    has_lines(
        &imported,
        &[
            r#"listen = "0.0.0.0:5000""#,
            r#"data = "/var/lib/my registry""#,
            r#"external_url = "https://x.example.com""#,
            r#"certificate = "/a.pem""#,
            r#"key = "/a.key""#,
        ],
    );
    assert!(imported.notes.iter().any(|note| note.ends_with("write \"[::]:5000\"")), "{:?}", imported.notes);
}

#[test]
fn container_of_azure_gets_a_prefix_of_its_own() {
    let azure = imported(
        "version: 0.1\nstorage: {azure: {container: images, rootdirectory: /old/registry/, accountname: ann, \
         accountkey: hidden, realm: core.chinacloudapi.cn, credentials: {type: shared_key}, max_retries: 5}}\n",
        &[],
    );
    has_lines(
        &azure,
        &[
            r#"url = "az://images/old/registry/wharfinger""#,
            r#"endpoint = "https://ann.blob.core.chinacloudapi.cn""#,
            r#"access_key = "ann""#,
            r#"secret_key_file = "/etc/wharfinger/azure-key""#,
        ],
    );
    assert!(!azure.toml().contains("hidden") && !azure.toml().contains("data ="), "{}", azure.toml());
    for part in ["skopeo sync", "azure-key", "empty directory", "blobs.redirect"] {
        assert!(azure.notes.iter().any(|note| note.contains(part)), "{part}: {:?}", azure.notes);
    }
    assert!(matches!(outcome(&azure, "storage.azure.max_retries"), Outcome::NoCounterpart { .. }));

    let variables = [
        ("REGISTRY_STORAGE", "azure"),
        ("REGISTRY_STORAGE_AZURE_CONTAINER", "images"),
        ("REGISTRY_STORAGE_AZURE_ACCOUNTNAME", "ann"),
        ("REGISTRY_STORAGE_AZURE_ACCOUNTKEY", "hidden"),
        ("REGISTRY_STORAGE_AZURE_REALM", "core.windows.net"),
        ("REGISTRY_STORAGE_REDIRECT_DISABLE", "true"),
    ];
    let azure = imported("", &variables);
    has_lines(&azure, &[r#"url = "az://images/wharfinger""#, r#"redirect = "never""#]);
    assert!(!azure.toml().contains("endpoint") && !azure.toml().contains("hidden"), "{}", azure.toml());
}

#[test]
fn identity_of_azure_is_left_to_the_environment() {
    let azure = imported(
        "version: 0.1\nstorage: {azure: {container: images, accountname: ann, credentials: {type: client_secret, \
         clientid: a, tenantid: b, secret: hidden}}}\n",
        &[],
    );
    has_lines(&azure, &[r#"url = "az://images/wharfinger""#]);
    assert!(!azure.toml().contains("access_key"), "{}", azure.toml());
    for key in ["accountname", "credentials.type", "credentials.secret"] {
        let Outcome::NoCounterpart { reason } = outcome(&azure, &format!("storage.azure.{key}")) else {
            panic!("{key}: {:?}", azure.findings)
        };
        assert!(reason.contains("AZURE_STORAGE_ACCOUNT_NAME"), "{reason}");
    }
}

#[test]
fn two_storage_drivers_are_not_combined() {
    let imported =
        imported("version: 0.1\nstorage: {filesystem: {rootdirectory: /r}, s3: {bucket: b}}\n", &[]);
    assert!(!imported.toml().contains("s3://"), "{}", imported.toml());
    assert!(matches!(outcome(&imported, "storage.s3.bucket"), Outcome::NoCounterpart { .. }));
    let both = "version: 0.1\nstorage: {s3: {bucket: b}, azure: {container: c}}\n";
    let both = super::tests::imported(both, &[]);
    assert!(both.toml().contains("s3://b/") && !both.toml().contains("az://"), "{}", both.toml());
    assert!(matches!(outcome(&both, "storage.azure.container"), Outcome::NoCounterpart { .. }));
    // The variable replaces the driver of the image.
    let bucket = [("REGISTRY_STORAGE", "s3"), ("REGISTRY_STORAGE_S3_BUCKET", "images")];
    let imported = super::tests::imported("", &bucket);
    has_lines(&imported, &[r#"url = "s3://images/wharfinger""#]);
}
