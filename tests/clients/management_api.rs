//! Public tools on the description of the management API: openapi-spec-validator checks it,
//! openapi-typescript generates a client from it, the compiler checks a program with this client, and the
//! program runs.

use std::fs;

use crate::harness::{Image, PASSWORD, Server, Terminal};

/// Saves the description as `openapi.json`.
fn describe(user: &Terminal, registry: &Server) {
    user.run(&format!("curl -sSf -o openapi.json http://{}/api/v1/openapi.json", registry.address()));
}

#[test]
fn api_description_is_valid() {
    let registry = Server::start();
    let user = Terminal::open();
    describe(&user, &registry);
    user.run("openapi-spec-validator -m openapi_spec_validator --schema 3.1 openapi.json");
    user.run("jq '.paths[\"/api/v1/me\"].get.responses[\"200\"].content = 7' openapi.json >wrong.json");
    user.fails("openapi-spec-validator -m openapi_spec_validator --schema 3.1 wrong.json");
}

#[test]
fn generated_client_manages_a_registry() {
    let registry = Server::with_accounts("", &[]);
    let user = Terminal::open();
    let image = Image::saved(&user, "app", "for a list");
    for name in ["team/first:1.0", "team/second:1.0"] {
        let to = registry.at(name);
        let login = format!("--dest-creds 'root:{PASSWORD}' --dest-tls-verify=false");
        user.run(&format!("skopeo copy -q {login} oci:app:latest docker://{to}"));
    }
    assert!(!image.digest.is_empty());
    describe(&user, &registry);
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/management_api.ts");
    fs::copy(program, user.path("client.ts")).expect("a file can be copied");
    user.run("echo '{ \"type\": \"module\" }' >package.json; mkdir node_modules");
    // Modules are looked for beside the program.
    user.run("ln -s \"$(dirname \"$(command -v openapi-fetch)\")\"/node_modules/* node_modules");
    user.run("ln -s \"$(dirname \"$(command -v openapi-typescript)\")\"/node_modules tools");
    let generate =
        "tools/openapi-typescript/bin/cli.js openapi.json --default-non-nullable=false -o schema.d.ts";
    user.run(&format!("openapi-typescript {generate}"));
    let compile = "tools/typescript/bin/tsc --strict --noUncheckedIndexedAccess --lib es2022,dom --target es2022 \
                   --module nodenext";
    user.run(&format!("openapi-typescript {compile} client.ts"));
    let told =
        user.run(&format!("openapi-typescript client.js http://{} root '{PASSWORD}'", registry.address()));
    assert_eq!(told, "done");
    // The compiler refuses what the description does not have.
    user.run("sed 's/tags.tags\\[0\\]/tags.labels[0]/' client.ts >wrong.ts");
    let refused = user.run(&format!("! openapi-typescript {compile} wrong.ts"));
    assert!(refused.contains("'labels' does not exist"), "{refused}");
}
