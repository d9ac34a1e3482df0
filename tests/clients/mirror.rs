//! The pull-through cache with real clients, before distribution's own registries.

use tempfile::TempDir;

use crate::harness::{
    BuildKit, Containerd, Distribution, Engine, Image, Index, Nginx, Server, Terminal, build_context,
};

/// An upstream registry, and a cache of it under the name `docker.io`.
struct Mirrored {
    upstream: Distribution,
    _storage: TempDir,
    cache: Server,
}

impl Mirrored {
    fn version_2() -> Mirrored {
        let storage = TempDir::new().expect("a temporary directory");
        Mirrored::before(Distribution::version_2_on(storage.path()), storage, true)
    }

    /// A cache that is no default: clients have to name the upstream.
    fn version_3() -> Mirrored {
        let storage = TempDir::new().expect("a temporary directory");
        Mirrored::before(Distribution::version_3_on(storage.path()), storage, false)
    }

    fn before(upstream: Distribution, storage: TempDir, default: bool) -> Mirrored {
        let settings = format!(
            "[[upstream]]\nname = \"docker.io\"\nurl = \"http://{}\"\ndefault = {default}\nfresh = 0\n",
            upstream.address()
        );
        Mirrored { upstream, _storage: storage, cache: Server::configured(&settings) }
    }

    /// Writes the files of a client below the directory `etc` of a terminal.
    fn sets_up(&self, user: &Terminal, client: &str) {
        let wharfinger = env!("CARGO_BIN_EXE_wharfinger");
        let address = self.cache.address();
        user.run(&format!(
            "{wharfinger} mirror setup --for {client} --registry http://{address} --write --root root"
        ));
    }

    /// Stops the upstream: what follows comes from the cache alone.
    fn loses_its_upstream(self) -> Server {
        self.upstream.stop();
        self.cache
    }
}

#[test]
fn docker_pulls_by_name_from_the_cache() {
    let mirrored = Mirrored::version_2();
    let user = Engine::shared().terminal();
    let there = mirrored.upstream.at("library/by-name:1");
    Engine::shared().builds(&user, &there, "through the cache");
    user.run(&format!("docker push --quiet {there} && docker rmi {there}"));
    let here = mirrored.cache.at("docker.io/library/by-name:1");

    user.run(&format!("docker pull --quiet {here} && docker rmi {here}"));
    let cache = mirrored.loses_its_upstream();
    user.run(&format!("docker pull --quiet {here}"));

    assert_eq!("through the cache", user.run(&format!("docker run --rm --network none {here}")));
    assert!(user.fails(&format!("docker push {here}")).contains("takes no pushes"));
    drop(cache);
}

#[test]
fn docker_pulls_by_registry_mirrors() {
    let mirrored = Mirrored::version_2();
    let engine = Engine::mirrored_by(&format!("http://{}", mirrored.cache.address()));
    let user = engine.terminal();
    let there = mirrored.upstream.at("library/mirrored-app:1");
    engine.builds(&user, &there, "through the mirror");
    user.run(&format!("docker push --quiet {there} && docker rmi {there}"));

    user.run("docker pull --quiet mirrored-app:1");

    assert_eq!("through the mirror", user.run("docker run --rm --network none mirrored-app:1"));
    let listed = user.run(&format!("crane catalog {}", mirrored.cache.address()));
    assert_eq!("docker.io/library/mirrored-app", listed);
}

#[test]
fn containerd_pulls_by_hosts_toml_and_namespace() {
    let mirrored = Mirrored::version_3();
    let containerd = Containerd::start();
    let user = Terminal::open();
    Index::flat(&user, "everywhere", "through containerd");
    user.run(&format!("crane push --index everywhere {}", mirrored.upstream.at("library/everywhere:1")));
    mirrored.sets_up(&user, "containerd");

    let pull = format!(
        "ctr2 --address {} images pull --local --all-platforms --hosts-dir root/etc/containerd/certs.d \
         docker.io/library/everywhere:1",
        containerd.socket().display()
    );
    user.run(&pull);

    let cache = mirrored.loses_its_upstream();
    user.run(&format!("crane validate --remote {}", cache.at("docker.io/library/everywhere:1")));
    // The path does not name the upstream, so containerd sent the namespace, which the log leaves out.
    assert!(cache.log().contains("path=\"/v2/library/everywhere/"), "{}", cache.log());
}

#[test]
fn podman_pulls_by_registries_conf() {
    let mirrored = Mirrored::version_2();
    let mut user = Terminal::open();
    Image::saved(&user, "app", "through podman");
    user.run(&format!("crane push app {}", mirrored.upstream.at("library/app:1")));
    mirrored.sets_up(&user, "podman");
    let settings = user.path("root/etc/containers/registries.conf.d/50-wharfinger.conf");
    user.set("CONTAINERS_REGISTRIES_CONF", settings.display().to_string());

    user.run("podman pull docker.io/library/app:1");

    let cache = mirrored.loses_its_upstream();
    user.run("podman rmi docker.io/library/app:1 && podman pull docker.io/library/app:1");
    assert!(cache.log().contains("/v2/docker.io/library/app/"), "{}", cache.log());
}

/// CRI-O reads its file with the library of skopeo.
#[test]
fn skopeo_pulls_by_the_file_of_cri_o() {
    let mirrored = Mirrored::version_2();
    let user = Terminal::open();
    Image::saved(&user, "app", "through the file of CRI-O");
    user.run(&format!("crane push app {}", mirrored.upstream.at("library/app:1")));
    mirrored.sets_up(&user, "cri-o");
    let settings = user.path("root/etc/containers/registries.conf.d/50-wharfinger.conf");
    let skopeo =
        format!("skopeo --registries-conf {} copy docker://docker.io/library/app:1", settings.display());

    user.run(&format!("{skopeo} oci:copied:latest"));

    let cache = mirrored.loses_its_upstream();
    user.run(&format!("{skopeo} oci:again:latest"));
    assert!(cache.log().contains("/v2/docker.io/library/app/"), "{}", cache.log());
}

#[test]
fn buildkit_builds_from_a_mirrored_base() {
    let mirrored = Mirrored::version_3();
    let user = Terminal::open();
    let kit = {
        mirrored.sets_up(&user, "buildkit");
        let settings = std::fs::read_to_string(user.path("root/etc/buildkit/buildkitd.toml"));
        BuildKit::with_settings(&settings.expect("the settings were written"))
    };
    Image::saved(&user, "base", "a base image");
    user.run(&format!("crane push base {}", mirrored.upstream.at("library/base:1")));
    build_context(&user, "docker.io/library/base:1", "built on the mirror");

    user.run(&format!("{} --output type=oci,dest=built.tar", kit.build()));

    let tags = user.run(&format!("crane ls {}", mirrored.cache.at("docker.io/library/base")));
    assert_eq!("1", tags);
}

#[test]
fn other_clients_pull_charts_artifacts_and_signatures() {
    let mirrored = Mirrored::version_3();
    let mut user = Terminal::open();
    user.set("COSIGN_PASSWORD", "");
    let image = Image::saved(&user, "app", "signed upstream");
    let there = mirrored.upstream.at("team/app");
    user.run(&format!("crane push app {there}:1"));
    user.run("cosign generate-key-pair");
    user.run(&format!(
        "cosign sign --yes --tlog-upload=false --allow-http-registry --key cosign.key {there}@{}",
        image.digest
    ));
    user.run("helm create chart && helm package chart");
    user.run(&format!("helm push --plain-http chart-0.1.0.tgz oci://{}", mirrored.upstream.at("charts")));
    user.run("echo artifact > artifact.txt");
    user.run(&format!(
        "oras push --plain-http {} --artifact-type application/x.test artifact.txt:text/plain",
        mirrored.upstream.at("team/artifact:1")
    ));
    let here = mirrored.cache.at("docker.io/team/app");

    user.run(&format!(
        "cosign verify --insecure-ignore-tlog=true --allow-http-registry --key cosign.pub {here}@{}",
        image.digest
    ));
    user.run(&format!("crane validate --remote {here}:1"));
    user.run(&format!("skopeo copy --src-tls-verify=false docker://{here}:1 oci:copied:latest"));
    let charts = mirrored.cache.at("docker.io/charts/chart");
    user.run(&format!("mkdir pulled && helm pull --plain-http oci://{charts} --version 0.1.0 -d pulled"));
    let artifact = mirrored.cache.at("docker.io/team/artifact:1");
    user.run(&format!("oras pull --plain-http {artifact} -o fetched"));

    assert_eq!("artifact", user.run("cat fetched/artifact.txt"));
    user.run("cmp chart-0.1.0.tgz pulled/chart-0.1.0.tgz");
    let tags = user.run(&format!("crane ls {here}"));
    assert_eq!(format!("1\n{}.sig", image.digest.replace(':', "-")), tags);
}

/// The second instance has accounts; the cache signs in with one of them.
#[test]
fn wharfinger_mirrors_wharfinger_with_accounts() {
    let upstream = Server::with_accounts("", &["ann"]);
    let user = Terminal::open();
    std::fs::write(user.path("password"), crate::harness::PASSWORD).expect("a file can be written");
    let cache = Server::configured(&format!(
        "[[upstream]]\nname = \"ours\"\nurl = \"http://{}\"\nusername = \"ann\"\npassword_file = \"{}\"\n",
        upstream.address(),
        user.path("password").display()
    ));
    Index::flat(&user, "everywhere", "private upstream");
    user.run(&format!("crane auth login -u ann -p '{}' {}", crate::harness::PASSWORD, upstream.address()));
    user.run(&format!("crane push --index everywhere {}", upstream.at("ann/everywhere:1")));

    user.run(&format!("crane validate --remote {}", cache.at("ours/ann/everywhere:1")));

    assert!(cache.says("upstream ls").contains("ours"));
    assert!(cache.says("upstream test").contains("ours"));
    assert!(cache.says("upstream purge ours ann/*").contains("removed ours/ann/everywhere"));
    assert_eq!("", user.run(&format!("crane catalog {}", cache.address())));
}

/// Clients derive the scope of their token from the name that they pull, which does not have the upstream.
#[test]
fn logged_in_clients_pull_names_without_upstream() {
    let storage = TempDir::new().expect("a temporary directory");
    let upstream = Distribution::version_2_on(storage.path());
    let user = Engine::shared().terminal();
    Image::saved(&user, "app", "of the default upstream");
    user.run(&format!("crane push app {}", upstream.at("library/app:1")));
    let settings = format!(
        "[[upstream]]\nname = \"docker.io\"\nurl = \"http://{}\"\ndefault = true\n",
        upstream.address()
    );
    let cache = Server::with_accounts(&settings, &["ann"]);
    let (here, address, password) = (cache.at("app:1"), cache.address(), crate::harness::PASSWORD);
    user.run(&format!("echo '{password}' | docker login -u ann --password-stdin {address}"));
    user.fails(&format!("docker pull --quiet {here}"));
    cache.says("grant add accounts pull docker.io/library/**");

    user.run(&format!("docker pull --quiet {here}"));
    user.run(&format!("crane validate --remote {here}"));
    let login =
        format!("echo '{password}' | podman login --tls-verify=false -u ann --password-stdin {address}");
    user.run(&login);
    user.run(&format!("podman pull --tls-verify=false {here}"));
    user.run(&format!("skopeo inspect --tls-verify=false docker://{}", cache.at("library/app:1")));

    assert_eq!("docker.io/library/app", user.run(&format!("crane catalog {address}")));
}

/// Clients of a mirror do not sign in, or send the credentials of the registry that they think they call.
#[test]
fn open_network_pulls_with_credentials_of_others() {
    let storage = TempDir::new().expect("a temporary directory");
    let upstream = Distribution::version_2_on(storage.path());
    let settings = format!(
        "[[upstream]]\nname = \"docker.io\"\nurl = \"http://{}\"\ndefault = true\nopen_to = [\"127.0.0.0/8\"]\n",
        upstream.address()
    );
    let cache = Server::with_accounts(&settings, &[]);
    let engine = Engine::mirrored_by(&format!("http://{}", cache.address()));
    let mut user = engine.terminal();
    Image::saved(&user, "app", "for everyone in the network");
    user.run(&format!("crane push app {}", upstream.at("library/opened:1")));
    // The user and password of Docker Hub, as `docker login` keeps them.
    user.run(
        "mkdir -p ~/.docker && printf '{\"auths\":{\"https://index.docker.io/v1/\":{\"auth\":\"%s\"}}}' \
         $(printf hub:secret | base64) > ~/.docker/config.json",
    );

    user.run("docker pull --quiet opened:1");
    let address = cache.address();
    let wharfinger = env!("CARGO_BIN_EXE_wharfinger");
    user.run(&format!(
        "{wharfinger} mirror setup --for podman --registry http://{address} --write --root root"
    ));
    let settings = user.path("root/etc/containers/registries.conf.d/50-wharfinger.conf");
    user.set("CONTAINERS_REGISTRIES_CONF", settings.display().to_string());
    user.run("podman pull --creds hub:secret docker.io/library/opened:1");

    // Everything else stays closed.
    assert_eq!("", user.run(&format!("crane catalog {address}")));
    user.fails(&format!("crane push app {}", cache.at("docker.io/library/other:1")));
}

/// Starts nginx before a registry, with HTTPS for clients that have a certificate. Returns it with the
/// settings of an upstream that has one. The files are in the current directory of `user`.
fn behind_client_certificates(user: &Terminal, upstream: &Distribution) -> (Nginx, String) {
    user.run(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem \
         -days 30 -subj /CN=authority 2>&1; printf 'subjectAltName=IP:127.0.0.1' > names; \
         for name in server client; do \
           openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout $name.key -out $name.csr \
             -subj /CN=$name 2>&1; \
           openssl x509 -req -in $name.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -extfile names \
             -out $name.pem 2>&1; \
         done",
    );
    let directory = user.path("").display().to_string();
    let directory = directory.trim_end_matches('/');
    let servers = format!(
        "server {{\n  listen 443 ssl;\n  ssl_certificate {directory}/server.pem;\n  \
         ssl_certificate_key {directory}/server.key;\n  ssl_client_certificate {directory}/ca.pem;\n  \
         ssl_verify_client on;\n  location / {{ proxy_pass http://{}; proxy_set_header Host $http_host; }}\n}}",
        upstream.address()
    );
    let nginx = Nginx::start(&servers, &[]);
    let settings = format!(
        "[[upstream]]\nname = \"theirs\"\nurl = \"https://{}\"\nca = \"{directory}/ca.pem\"\n",
        nginx.address()
    );
    (nginx, settings)
}

#[test]
fn upstream_asks_for_a_client_certificate() {
    let storage = TempDir::new().expect("a temporary directory");
    let upstream = Distribution::version_3_on(storage.path());
    let user = Terminal::open();
    Image::saved(&user, "app", "behind certificates");
    user.run(&format!("crane push app {}", upstream.at("team/app:1")));
    let (_nginx, settings) = behind_client_certificates(&user, &upstream);

    let without = Server::configured(&settings);
    let refused = user.fails(&format!("crane validate --remote {}", without.at("theirs/team/app:1")));
    assert!(!refused.contains("PASS"), "{refused}");

    let directory = user.path("").display().to_string();
    let directory = directory.trim_end_matches('/');
    let cache = Server::configured(&format!(
        "{settings}client_certificate = \"{directory}/client.pem\"\nclient_key = \"{directory}/client.key\"\n"
    ));
    user.run(&format!("crane validate --remote {}", cache.at("theirs/team/app:1")));
    assert!(cache.says("upstream test").contains("ok"));
}

#[test]
fn attestations_and_signatures_pass_through() {
    let mirrored = Mirrored::version_3();
    let kit = BuildKit::start();
    let mut user = Terminal::open();
    user.set("COSIGN_PASSWORD", "");
    build_context(&user, "scratch", "for two platforms");
    // This build runs no program, because the machine runs one platform only.
    let dockerfile = "FROM scratch\nARG TARGETARCH\nCOPY content /content-$TARGETARCH\n";
    std::fs::write(user.path("context/Dockerfile"), dockerfile).expect("a build context can be written");
    let there = mirrored.upstream.at("team/attested");
    user.run(&format!(
        "{} --opt platform=linux/amd64,linux/arm64 --opt attest:provenance=mode=max \
         --output type=image,name={there}:1,push=true",
        kit.build()
    ));
    user.run("cosign generate-key-pair");
    let digest = user.run(&format!("crane digest {there}:1"));
    user.run(&format!(
        "cosign sign --yes --recursive --tlog-upload=false --allow-http-registry --key cosign.key {there}@{digest}"
    ));
    let here = mirrored.cache.at("docker.io/team/attested");

    user.run(&format!(
        "cosign verify --insecure-ignore-tlog=true --allow-http-registry --key cosign.pub {here}@{digest}"
    ));
    user.run(&format!("skopeo copy --all --src-tls-verify=false docker://{here}:1 oci:first"));
    let cache = mirrored.loses_its_upstream();
    user.run(&format!("skopeo copy --all --src-tls-verify=false docker://{here}:1 oci:again"));
    let index = user.json(&format!("crane manifest {here}:1"));
    let entries = index["manifests"].as_array().expect("an index");
    let attestations: Vec<_> = entries
        .iter()
        .filter(|entry| entry["annotations"]["vnd.docker.reference.type"] == "attestation-manifest")
        .collect();
    assert_eq!(attestations.len(), 2, "{index}");
    for attestation in attestations {
        let digest = attestation["digest"].as_str().expect("a digest");
        let manifest = user.json(&format!("crane manifest {here}@{digest}"));
        let blob = manifest["layers"][0]["digest"].as_str().expect("an attestation has a layer");
        let statement = user.json(&format!("crane blob {here}@{blob}"));
        assert!(statement["predicateType"].as_str().is_some_and(|kind| kind.contains("slsa.dev")));
    }
    user.run(&format!(
        "cosign verify --insecure-ignore-tlog=true --allow-http-registry --key cosign.pub {here}@{digest}"
    ));
    drop(cache);
}
