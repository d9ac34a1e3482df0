//! crane: push, pull, ls, tag, copy, digest, delete, catalog, mutate, append, validate, many at once.

use crate::harness::{Image, Index, Server, Terminal};

#[test]
fn crane_pulls_pushed_image_byte_for_byte() {
    let registry = Server::start();
    let user = Terminal::open();
    let app = registry.at("team/app:1");
    let image = Image::saved(&user, "app", "byte for byte");

    user.run(&format!("crane push app {app}"));
    user.run(&format!("crane pull --format oci {app} back"));

    user.run("diff --recursive app/blobs back/blobs");
    assert_eq!(image.digest, user.run(&format!("crane digest {app}")));
    user.run(&format!("crane validate --remote {app}"));
}

#[test]
fn crane_copies_an_index_within_an_index() {
    let registry = Server::start();
    let user = Terminal::open();
    let there = registry.at("team/everywhere:1");
    let copy = registry.at("other/everywhere:1");
    let index = Index::saved(&user, "everywhere", "nested");

    user.run(&format!("crane push --index everywhere {there}"));
    user.run(&format!("crane copy {there} {copy}"));
    let served = user.json(&format!("crane manifest {there}"));
    let within = served["manifests"][0]["digest"].as_str().expect("the layout lists one index");
    user.run(&format!("crane pull --format oci {copy} back"));

    assert_eq!(index.digest, within);
    for part in &index.parts {
        user.run(&format!("crane manifest {}@{part}", registry.at("other/everywhere")));
    }
    let back = user.run("ls back/blobs/sha256 | wc -l");
    assert_eq!(
        format!("{}", user.run("ls everywhere/blobs/sha256 | wc -l").parse::<u32>().unwrap_or(0) + 1),
        back
    );
}

#[test]
fn crane_adds_lists_and_deletes_tags() {
    let registry = Server::start();
    let user = Terminal::open();
    let name = registry.at("team/app");
    let image = Image::saved(&user, "app", "tagged");
    user.run(&format!("crane push app {name}:1"));

    user.run(&format!("crane tag {name}:1 1.0 && crane tag {name}:1 latest"));
    assert_eq!("1\n1.0\nlatest", user.run(&format!("crane ls {name}")));
    user.run(&format!("crane delete {name}:1.0"));
    assert_eq!("1\nlatest", user.run(&format!("crane ls {name}")));

    user.run(&format!("crane delete {name}@{}", image.digest));
    user.fails(&format!("crane manifest {name}:latest"));
}

#[test]
fn crane_lists_tags_over_many_pages() {
    let registry = Server::configured("[limits]\npage_entries = 100\n");
    let user = Terminal::open();
    let name = registry.at("team/app");
    Image::saved(&user, "app", "many tags");
    user.run(&format!("crane push app {name}:0 && crane manifest {name}:0 > manifest"));
    user.run(&format!(
        "curl -sSf -o /dev/null -X PUT -H 'Content-Type: application/vnd.oci.image.manifest.v1+json' \
         --data-binary @manifest 'http://{}/v2/team/app/manifests/v[1-1200]'",
        registry.address()
    ));

    assert_eq!("1201", user.run(&format!("crane ls {name} | sort --unique | wc -l")));
    assert_eq!(
        "1201",
        user.run(&format!(
            "regctl tag ls --host reg={},tls=disabled {name} | sort --unique | wc -l",
            registry.address()
        ))
    );
    assert_eq!("1201", user.run(&format!("oras repo tags --plain-http {name} | sort --unique | wc -l")));
    assert_eq!(
        "1201",
        user.run(&format!(
            "skopeo list-tags --tls-verify=false docker://{name} | jq '.Tags | unique | length'"
        ))
    );
}

#[test]
fn crane_catalog_lists_every_repository() {
    let registry = Server::start();
    let user = Terminal::open();
    Image::saved(&user, "app", "in the catalog");
    for name in ["app", "app-x", "app/x", "team/app"] {
        user.run(&format!("crane push app {}:1", registry.at(name)));
    }

    assert_eq!(
        "app\napp-x\napp/x\nteam/app",
        user.run(&format!("crane catalog {} | sort", registry.address()))
    );
}

#[test]
fn crane_mutates_and_appends_in_place() {
    let registry = Server::start();
    let user = Terminal::open();
    let app = registry.at("team/app:1");
    Image::saved(&user, "app", "changed");
    user.run(&format!("crane push app {app}"));

    user.run(&format!(
        "crane mutate {app} --label team=blue --annotation org.opencontainers.image.description=Blue"
    ));
    user.run("echo more > more && tar --create --file more.tar more");
    user.run(&format!("crane append --base {app} --new_layer more.tar --new_tag {app}"));

    let config = user.json(&format!("crane config {app}"));
    assert_eq!("blue", config["config"]["Labels"]["team"]);
    assert_eq!(5, user.json(&format!("crane manifest {app}"))["layers"].as_array().map_or(0, Vec::len));
    user.run(&format!("crane export {app} - | tar --list | grep --quiet '^more$'"));
}

#[test]
fn crane_concurrent_pushes_all_succeed() {
    let registry = Server::start();
    let user = Terminal::open();
    let image = Image::saved(&user, "app", "at the same time");

    // Eight pushes to one tag, and eight to different repositories.
    user.run(&format!(
        "pids=; for i in 1 2 3 4 5 6 7 8; do \
           crane push app {one} & pids=\"$pids $!\"; crane push app {each}-$i:1 & pids=\"$pids $!\"; \
         done; for pid in $pids; do wait $pid; done",
        one = registry.at("team/app:1"),
        each = registry.at("team/app"),
    ));

    assert_eq!("9", user.run(&format!("crane catalog {} | wc -l", registry.address())));
    for name in ["team/app:1", "team/app-1:1", "team/app-8:1"] {
        assert_eq!(image.digest, user.run(&format!("crane digest {}", registry.at(name))));
        user.run(&format!("crane validate --remote {}", registry.at(name)));
    }
}
