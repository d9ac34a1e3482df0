//! The files of deploy/ for Docker Compose and Kubernetes.

use crate::harness::{Page, Terminal};

const SOURCE: &str = env!("CARGO_MANIFEST_DIR");

#[test]
fn compose_profiles_are_valid() {
    let user = Terminal::open();
    let compose = format!("docker-compose --file {SOURCE}/deploy/compose.yaml");
    for profile in ["registry", "nginx", "gateway", "cluster"] {
        user.run(&format!("{compose} --profile {profile} config --quiet"));
    }
    let services = user.run(&format!("{compose} config --services | sort"));
    assert_eq!(
        services,
        "balancer\nbehind\ndatabase\ngateway\nnginx\nobjects\nold\none\nregistry\nthree\ntwo"
    );
}

#[test]
fn compose_nginx_file_is_that_of_the_guide() {
    let file = include_str!("../../deploy/nginx/registry.conf");
    let guide = Page::BEHIND_NGINX.block("nginx");
    let guide =
        guide.replace("127.0.0.1:5000", "behind:5000").replace("/etc/nginx/", "/etc/nginx/certificates/");
    assert_eq!(file.split_once('\n').expect("a comment").1, guide);
}

#[test]
fn compose_balancer_file_is_that_of_the_guide() {
    let file = include_str!("../../deploy/nginx/cluster.conf");
    let guide = Page::SEVERAL_SERVERS.block("nginx");
    let names = [("10.0.0.5:", "one:"), ("10.0.0.6:", "two:"), ("10.0.0.7:", "three:")];
    let guide = names.into_iter().fold(guide.to_owned(), |text, (address, name)| text.replace(address, name));
    assert_eq!(file.split_once('\n').expect("a comment").1, guide);
}

/// Checks manifests against the newest schemas of Kubernetes that a package has.
const VALIDATE: &str = "kubernetes-validate -m kubernetes_validate --strict --kubernetes-version 1.37";

#[test]
fn kubernetes_manifests_fit_their_schemas() {
    let user = Terminal::open();
    user.run(&format!("kustomize build {SOURCE}/deploy/kubernetes >all.yaml"));
    assert_eq!(user.run("grep -c '^kind:' all.yaml"), "4");
    user.run(&format!("{VALIDATE} all.yaml"));
    // The schema is not accepted whatever is in it.
    user.run("sed 's/replicas: 1/replicas: many/' all.yaml >wrong.yaml");
    user.fails(&format!("{VALIDATE} wrong.yaml"));
    user.run(&format!(
        "mkdir overlay && printf 'resources: [../kubernetes]\\ncomponents: [../kubernetes/monitoring]\\n' \
         >overlay/kustomization.yaml && cp -r {SOURCE}/deploy/kubernetes . && kustomize build overlay | grep 'kind: ServiceMonitor'"
    ));
    // Several servers have no volume.
    user.run(&format!(
        "printf 'resources: [../kubernetes]\\ncomponents: [../kubernetes/cluster]\\n' >overlay/kustomization.yaml && \
         kustomize build overlay >cluster.yaml && {VALIDATE} cluster.yaml"
    ));
    assert_eq!(user.run("grep -c '^kind: PersistentVolumeClaim' cluster.yaml || true"), "0");
    assert!(user.run("grep -A12 '^kind: PodDisruptionBudget' cluster.yaml").contains("namespace: registry"));
}

#[test]
fn kubernetes_overlay_of_the_guide_fits_the_schemas() {
    let user = Terminal::open();
    let overlay = Page::INSTALL.block("yaml");
    user.run(&format!("cp -r {SOURCE}/deploy . && mkdir registry"));
    // Without `#`, it has several servers.
    for (overlay, replicas) in [(overlay.to_owned(), 1), (overlay.replace("#c", "c").replace("#-", "-"), 3)] {
        std::fs::write(user.path("registry/kustomization.yaml"), overlay).expect("a file");
        user.run(&format!("kustomize build registry >all.yaml && {VALIDATE} all.yaml"));
        let built = user.run("cat all.yaml");
        assert!(built.contains("image: images.example.com/wharfinger:0.1.0"), "{built}");
        assert!(built.contains(&format!("replicas: {replicas}")), "{built}");
        assert_eq!(built.contains("value: https://s3.example.com"), replicas == 3, "{built}");
    }
}

#[test]
fn deployed_variables_are_settings() {
    let user = Terminal::open();
    let names = user.run(&format!(
        "grep -rhoE 'WHARFINGER_[A-Z_]+' {SOURCE}/deploy {SOURCE}/Containerfile | sort -u | grep -v '^WHARFINGER_ADMIN'"
    ));
    let wharfinger = env!("CARGO_BIN_EXE_wharfinger");
    let settings = user.json(&format!("{wharfinger} config check --json"))["settings"].clone();
    let known: Vec<String> = settings
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|setting| setting["key"].as_str())
        .map(|key| format!("WHARFINGER_{}", key.replace('.', "_").to_uppercase()))
        .collect();
    assert!(names.contains("WHARFINGER_DATA"), "{names}");
    for name in names.lines() {
        assert!(known.iter().any(|known| known == name), "{name}");
    }
}
