//! BuildKit, the builder of `docker build` and buildx, with every output that it has.

use serde_json::{Value, json};

use crate::harness::{BuildKit, Image, PASSWORD, Server, Terminal, build_context, hours_later};

/// Pushes the base image of the builds, and writes the build context.
fn prepare(registry: &Server, user: &Terminal) {
    let base = registry.at("team/base:1");
    // An inline cache needs the history of the base, which crane writes.
    user.run(
        "mkdir -p tree/bin && cp /bin/busybox tree/bin/ && tar --create --file base.tar --directory tree .",
    );
    user.run(&format!(
        "crane append --new_layer base.tar --new_tag {base} && crane mutate {base} --set-platform linux/amd64"
    ));
    build_context(user, &base, "for BuildKit");
}

/// Returns the media types of an image's layers.
fn layer_types(manifest: &Value) -> Vec<&str> {
    let layers = manifest["layers"].as_array().expect("an image has layers");
    layers.iter().map(|layer| layer["mediaType"].as_str().expect("a layer has a media type")).collect()
}

#[test]
fn buildkit_pushes_every_compression() {
    let registry = Server::start();
    let kit = BuildKit::start();
    let user = Terminal::open();
    prepare(&registry, &user);
    let forms = [
        ("uncompressed", "oci-mediatypes=true", "application/vnd.oci.image.layer.v1.tar"),
        ("gzip", "oci-mediatypes=true", "application/vnd.oci.image.layer.v1.tar+gzip"),
        ("gzip", "oci-mediatypes=false", "application/vnd.docker.image.rootfs.diff.tar.gzip"),
        ("estargz", "oci-mediatypes=true", "application/vnd.oci.image.layer.v1.tar+gzip"),
        ("zstd", "oci-mediatypes=true", "application/vnd.oci.image.layer.v1.tar+zstd"),
    ];
    for (tag, (compression, types, expected)) in forms.into_iter().enumerate() {
        let image = registry.at(&format!("team/app:{tag}"));

        user.run(&format!(
            "{} --output \
             type=image,name={image},push=true,compression={compression},force-compression=true,{types}",
            kit.build()
        ));

        let manifest = user.json(&format!("crane manifest {image}"));
        assert!(layer_types(&manifest).iter().all(|found| *found == expected), "{compression}: {manifest}");
        user.run(&format!("skopeo copy --src-tls-verify=false docker://{image} dir:{compression}-{tag}"));
    }
}

#[test]
fn buildkit_pushes_platforms_and_attestations() {
    let registry = Server::start();
    let kit = BuildKit::start();
    let user = Terminal::open();
    prepare(&registry, &user);
    let image = registry.at("team/app:1");
    let scanner = scanner_image(&registry, &user);
    // This build runs no program, because the machine runs one platform only.
    let dockerfile = "FROM scratch\nARG TARGETARCH\nCOPY content /content-$TARGETARCH\n";
    std::fs::write(user.path("context/Dockerfile"), dockerfile).expect("a build context can be written");

    user.run(&format!(
        "{} --opt platform=linux/amd64,linux/arm64 --opt attest:provenance=mode=max \
         --opt attest:sbom=generator={scanner} --output type=image,name={image},push=true",
        kit.build()
    ));

    let index = user.json(&format!("crane manifest {image}"));
    let entries = index["manifests"].as_array().expect("an index");
    let (attestations, images): (Vec<_>, Vec<_>) = entries
        .iter()
        .partition(|entry| entry["annotations"]["vnd.docker.reference.type"] == "attestation-manifest");
    let platforms: Vec<_> = images.iter().map(|image| &image["platform"]["architecture"]).collect();
    assert_eq!(platforms, ["amd64", "arm64"], "{index}");
    assert_eq!(attestations.len(), 2, "{index}");
    let mut predicates = Vec::new();
    for attestation in attestations {
        let digest = attestation["digest"].as_str().expect("a digest");
        let manifest = user.json(&format!("crane manifest {}@{digest}", registry.at("team/app")));
        for layer in manifest["layers"].as_array().expect("an attestation has layers") {
            let blob = layer["digest"].as_str().expect("a digest");
            user.json(&format!("crane blob {}@{blob}", registry.at("team/app")));
            predicates.push(layer["annotations"]["in-toto.io/predicate-type"].to_string());
        }
    }
    assert_eq!(predicates.iter().filter(|kind| kind.contains("spdx")).count(), 2, "{predicates:?}");
    assert_eq!(predicates.iter().filter(|kind| kind.contains("slsa.dev")).count(), 2, "{predicates:?}");
    user.run(&format!("skopeo copy --all --src-tls-verify=false docker://{image} oci:back"));
}

/// Pushes an image that acts as an SBOM generator: it writes one document about the built image.
fn scanner_image(registry: &Server, user: &Terminal) -> String {
    let scanner = registry.at("team/scanner:1");
    let statement = json!({
        "_type": "https://in-toto.io/Statement/v0.1",
        "predicateType": "https://spdx.dev/Document",
        "predicate": {"spdxVersion": "SPDX-2.3", "SPDXID": "SPDXRef-DOCUMENT", "name": "app"},
    });
    let script = format!(
        "/bin/busybox echo '{statement}' \
         >\"$BUILDKIT_SCAN_DESTINATION/$(/bin/busybox basename \"$BUILDKIT_SCAN_SOURCE\").spdx.json\""
    );
    std::fs::write(user.path("scan"), script).expect("a script can be written");
    user.run("tar --create --file scan.tar scan");
    user.run(&format!(
        "crane append --base {} --new_layer scan.tar --new_tag {scanner} && crane mutate {scanner} \
         --entrypoint /bin/busybox,sh,/scan --set-platform linux/amd64",
        registry.at("team/base:1")
    ));
    scanner
}

/// How a cache is exported, and the tag that it is imported from.
const CACHES: [(&str, &str); 6] = [
    ("type=registry,mode=min", "min"),
    ("type=registry,mode=max", "max"),
    ("type=registry,mode=max,image-manifest=false", "index"),
    ("type=registry,mode=max,image-manifest=true,oci-mediatypes=true", "manifest"),
    ("type=registry,mode=max,image-manifest=false,oci-mediatypes=false", "docker"),
    ("type=registry,mode=max,compression=zstd,force-compression=true", "zstd"),
];

/// Builds the image, and exports its cache in each form.
fn export_caches(user: &Terminal, image: &str) {
    let kit = BuildKit::start();
    let push = |tag: &str| format!("--output type=image,name={image}:{tag},push=true");
    for (form, tag) in CACHES {
        user.run(&format!("{} {} --export-cache {form},ref={image}:{tag}", kit.build(), push("app")));
    }
    user.run(&format!("{} {} --export-cache type=inline", kit.build(), push("inline")));
}

/// Builds the image on new machines, which find every step in each cache.
fn import_caches(user: &Terminal, image: &str) {
    for tag in CACHES.map(|(_, tag)| tag).into_iter().chain(["inline"]) {
        let kit = BuildKit::start();
        let told = user.run(&format!(
            "{} --output type=image,name={image}:again,push=true --import-cache type=registry,ref={image}:{tag} 2>&1",
            kit.build()
        ));
        // Every step after `FROM`.
        assert_eq!(told.matches(" CACHED").count(), 4, "{tag}:\n{told}");
    }
}

#[test]
fn buildkit_imports_every_cache_that_it_exports() {
    let registry = Server::start();
    let user = Terminal::open();
    prepare(&registry, &user);
    let image = registry.at("team/app");
    export_caches(&user, &image);
    import_caches(&user, &image);
}

#[test]
fn buildkit_imports_every_cache_after_collection() {
    let settings = "[registry]\nupload_expiry = \"1h\"\n[gc]\ngrace = 0\nuntagged = \"0s\"\n";
    let registry = Server::configured(settings);
    let user = Terminal::open();
    prepare(&registry, &user);
    let image = registry.at("team/app");
    export_caches(&user, &image);
    user.run("echo nothing needs this >blob");
    let digest = user.run("echo sha256:$(sha256sum blob | cut -d' ' -f1)");
    let blob = format!("http://{}/v2/team/app/blobs", registry.address());
    user.run(&format!("curl -sSf --data-binary @blob '{blob}/uploads/?digest={digest}'"));
    let (address, data) = (registry.address().to_owned(), registry.data().to_owned());
    let _kept = registry.stop();

    // The blobs that an index lists are young enough to stay for an hour in any case.
    std::fs::write(user.path("gc.toml"), settings).expect("a settings file can be written");
    user.run(&format!(
        "{} {} gc --now --config gc.toml --data {}",
        hours_later(&user, 2),
        env!("CARGO_BIN_EXE_wharfinger"),
        data.display()
    ));
    let _registry = Server::configured_at(&address, &data, settings);
    user.fails(&format!("curl -sSfI {blob}/{digest}"));
    import_caches(&user, &image);
}

#[test]
fn buildkit_signs_in_over_https() {
    let registry = Server::secure(&["ann", "bob"]);
    let kit = BuildKit::trusting(&registry);
    let mut user = Terminal::open();
    user.set("SSL_CERT_FILE", registry.certificate().display().to_string());
    let base = registry.at("ann/base:1");
    Image::saved(&user, "base", "to start from");
    user.run(&format!("crane auth login -u ann -p '{PASSWORD}' {}", registry.address()));
    user.run(&format!("crane push base {base}"));
    build_context(&user, &base, "over HTTPS");
    let push =
        |name: &str| format!("{} --output type=image,name={},push=true", kit.build(), registry.at(name));

    user.run(&push("ann/app:1"));
    user.fails(&push("bob/app:1"));
    user.run(&format!("crane validate --remote {}", registry.at("ann/app:1")));

    user.run(&format!("crane auth logout {}", registry.address()));
    user.fails(&format!("{} --no-cache", push("ann/app:2")));
}
