//! The registry and the terminal of every test here.

use crate::harness::{Image, PASSWORD, Server, Terminal};

/// Starts a registry with HTTPS and the accounts ann and bob, and opens a terminal that trusts it.
pub(crate) fn secure() -> (Server, Terminal) {
    let registry = Server::secure(&["ann", "bob"]);
    let mut user = Terminal::open();
    trust(&registry, &mut user);
    (registry, user)
}

/// Makes Go, OpenSSL and Python programs of this terminal trust the registry's certificate.
pub(crate) fn trust(registry: &Server, user: &mut Terminal) {
    let certificate = registry.certificate().display().to_string();
    for variable in ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"] {
        user.set(variable, certificate.clone());
    }
}

/// Signs ann in, for every client that reads docker's `config.json`.
pub(crate) fn sign_in(registry: &Server, user: &Terminal) {
    user.run(&format!("crane auth login -u ann -p '{PASSWORD}' {}", registry.address()));
}

/// Pushes an image to this name, and returns its digest.
pub(crate) fn push_image(registry: &Server, user: &Terminal, name: &str) -> String {
    let image = Image::saved(user, "image", name);
    user.run(&format!("crane push image {}", registry.at(name)));
    image.digest
}
