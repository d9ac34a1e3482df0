//! HTTPS of the registry itself, with clients that verify certificates.

use crate::harness::{Engine, Image, PASSWORD, Server, Terminal};

/// The path of the self-signed certificate.
fn own_certificate(registry: &Server) -> String {
    registry.data().join("wharfinger/tls/self-signed.pem").display().to_string()
}

#[test]
fn self_signed_certificate_is_trusted_once_installed() {
    let registry = Server::with_accounts("[tls]\nself_signed = [\"localhost\", \"127.0.0.1\"]\n", &["ann"]);
    let address = registry.address();
    let certificate = own_certificate(&registry);
    let user = Terminal::open();
    let printed = registry.log();
    assert!(printed.contains(&format!("/etc/docker/certs.d/{address}/ca.crt")), "{printed}");

    assert!(user.fails(&format!("curl -sSf https://{address}/healthz")).contains("certificate"));
    user.run(&format!("curl -sSf --cacert {certificate} https://{address}/healthz"));
    let asked = format!("curl -sS -o /dev/null -w '%{{http_version}} %{{http_code}}' --cacert {certificate}");
    assert_eq!(user.run(&format!("{asked} --http2 https://{address}/v2/")), "2 401");
    assert_eq!(user.run(&format!("{asked} --http1.1 https://{address}/v2/")), "1.1 401");
    for version in ["1.2", "1.3"] {
        let signed_in = format!("{asked} --tlsv{version} --tls-max {version} -u 'ann:{PASSWORD}'");
        assert_eq!(user.run(&format!("{signed_in} https://{address}/v2/")), "2 200");
    }
    user.fails(&format!("{asked} --tlsv1.1 --tls-max 1.1 https://{address}/v2/"));
    let plain = user.run(&format!("curl -s -w ' %{{http_code}}' http://{address}/v2/"));
    assert!(plain.ends_with(" 400") && plain.contains("https"), "{plain}");

    // The lines that the registry prints, applied to a directory of the terminal.
    user.run(&format!("install -D -m 644 {certificate} certs/ca.crt"));
    Image::saved(&user, "image", "over HTTPS");
    let trusting = format!("--dest-cert-dir certs --dest-creds 'ann:{PASSWORD}'");
    user.fails(&format!(
        "skopeo copy --dest-creds 'ann:{PASSWORD}' oci:image:latest docker://{address}/ann/app:1"
    ));
    user.run(&format!("skopeo copy {trusting} oci:image:latest docker://{address}/ann/app:1"));
    user.run(&format!(
        "echo '{PASSWORD}' | podman login --cert-dir certs -u ann --password-stdin {address} && podman pull --cert-dir \
         certs {address}/ann/app:1"
    ));
    let listed = format!(
        "echo '{PASSWORD}' | {} ls --server https://{address} --user ann --password-stdin",
        env!("CARGO_BIN_EXE_wharfinger")
    );
    user.fails(&listed);
    assert!(user.run(&format!("{listed} --ca {certificate}")).contains("ann/app"));
}

#[test]
fn docker_pushes_and_pulls_over_https() {
    let registry = Server::with_accounts("[tls]\nself_signed = [\"127.0.0.1\"]\n", &["ann"]);
    let engine = Engine::shared();
    let user = engine.terminal();
    let image = registry.at("ann/secure:1");
    engine.builds(&user, &image, "over HTTPS");
    user.run(&format!("echo '{PASSWORD}' | docker login -u ann --password-stdin {}", registry.address()));
    user.run(&format!("docker push {image} && docker rmi {image} && docker pull {image}"));
}

/// A certificate without subjectAltName, and then its replacement.
#[test]
fn openssl_certificate_warns_and_is_reloaded() {
    let files = Terminal::open();
    let openssl = |subject: &str| {
        files.run(&format!(
            "openssl req -newkey rsa:2048 -nodes -keyout new.key -x509 -days 3650 -out new.pem {subject} 2>/dev/null; \
             mv new.key server.key; mv new.pem server.pem"
        ));
    };
    openssl("-subj '/C=CN/ST=state/L=city/O=Co/OU=localhost'");
    let at = |name: &str| files.path(name).display().to_string();
    let settings = format!("[tls]\ncertificate = \"{}\"\nkey = \"{}\"\n", at("server.pem"), at("server.key"));
    let registry = Server::configured(&settings);
    let address = registry.address();
    registry.wait_for_log("it has no host in a subjectAltName");
    files.run(&format!("curl -sSfk https://{address}/healthz"));
    files.fails(&format!("curl -sSf --cacert server.pem https://{address}/healthz"));
    let wharfinger = env!("CARGO_BIN_EXE_wharfinger");
    files.fails(&format!("{wharfinger} cert check server.pem --key server.key"));

    openssl("-subj /CN=registry -addext subjectAltName=IP:127.0.0.1");
    files.run(&format!("{wharfinger} cert check server.pem --key server.key --host 127.0.0.1"));
    files.fails(&format!("{wharfinger} cert check server.pem --key server.key --host example.com"));
    files.run(&format!(
        "for attempt in $(seq 100); do curl -sSf --cacert server.pem https://{address}/healthz && exit 0; sleep 0.2; \
         done; exit 1"
    ));
    // The key alone is replaced: the last pair that matches stays in force.
    let lines = registry.log().lines().count();
    files.run("cp server.pem good.pem && openssl genrsa -out server.key 2048 2>/dev/null");
    for _ in 0..300 {
        if registry.log().lines().count() > lines {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    assert!(registry.log().lines().count() > lines, "the log reports the pair that does not match");
    files.run(&format!("curl -sSf --cacert good.pem https://{address}/healthz"));
}

#[test]
fn cert_make_output_is_accepted_by_serve() {
    let user = Terminal::open();
    let wharfinger = env!("CARGO_BIN_EXE_wharfinger");
    user.run(&format!("{wharfinger} cert make 127.0.0.1,registry.example.com --out certs"));
    user.fails(&format!("{wharfinger} cert make 127.0.0.1 --out certs"));
    assert_eq!(user.run("stat -c %a certs/server.key"), "600");
    let shown = user.json(&format!("{wharfinger} cert show certs/server.pem --json"));
    assert_eq!(shown["hosts"], serde_json::json!(["127.0.0.1", "registry.example.com"]));
    let told = user.run("openssl x509 -in certs/server.pem -noout -ext subjectAltName -fingerprint -sha256");
    assert!(told.contains("DNS:registry.example.com") && told.contains("IP Address:127.0.0.1"), "{told}");
    let at = |name: &str| user.path(name).display().to_string();
    let (certificate, key) = (at("certs/server.pem"), at("certs/server.key"));
    let registry = Server::configured(&format!("[tls]\ncertificate = \"{certificate}\"\nkey = \"{key}\"\n"));
    // The printed lines name a host of the certificate, in its order.
    let port = registry.address().rsplit(':').next().expect("a port");
    registry.wait_for_log(&format!("docker push 127.0.0.1:{port}/"));
    user.run(&format!("curl -sSf --cacert certs/server.pem https://{}/healthz", registry.address()));
    user.run(&format!("{wharfinger} cert check certs/server.pem --key certs/server.key"));
}

/// A certificate chain with an intermediate: clients know the root alone. The key comes in every form that
/// openssl writes.
#[test]
fn certificate_chain_is_served_with_any_key_form() {
    let files = Terminal::open();
    let wharfinger = env!("CARGO_BIN_EXE_wharfinger");
    files.run(
        "printf 'basicConstraints=critical,CA:TRUE\\nkeyUsage=keyCertSign\\n' >ca.ext; \
         printf 'subjectAltName=IP:127.0.0.1\\n' >leaf.ext; \
         openssl req -newkey rsa:2048 -nodes -keyout root.key -x509 -days 9 -out root.pem -subj /CN=root 2>/dev/null; \
         openssl req -newkey rsa:2048 -nodes -keyout middle.key -out middle.csr -subj /CN=middle 2>/dev/null; \
         openssl x509 -req -in middle.csr -CA root.pem -CAkey root.key -CAcreateserial -days 9 -extfile ca.ext \
         -out middle.pem 2>/dev/null",
    );
    for key in [
        "openssl ecparam -name prime256v1 -genkey -noout",
        "openssl genrsa -traditional 2048 2>/dev/null",
        "openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 2>/dev/null",
    ] {
        files.run(&format!(
            "{key} >server.key; openssl req -new -key server.key -out leaf.csr -subj /CN=registry; \
             openssl x509 -req -in leaf.csr -CA middle.pem -CAkey middle.key -CAcreateserial -days 9 -extfile leaf.ext \
             -out leaf.pem 2>/dev/null; cat leaf.pem middle.pem >server.pem; cat middle.pem leaf.pem >turned.pem"
        ));
        let at = |name: &str| files.path(name).display().to_string();
        let settings =
            format!("[tls]\ncertificate = \"{}\"\nkey = \"{}\"\n", at("server.pem"), at("server.key"));
        let registry = Server::configured(&settings);
        files.run(&format!("curl -sSf --cacert root.pem https://{}/healthz", registry.address()));
        files.run(&format!("{wharfinger} cert check server.pem --key server.key --host 127.0.0.1"));
        files.fails(&format!("{wharfinger} cert check turned.pem --key server.key --host 127.0.0.1"));
        files.fails(&format!("{wharfinger} cert check server.pem --key root.key --host 127.0.0.1"));
    }
}
