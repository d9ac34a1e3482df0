//! Images to send, made of real files of the machine and written as an OCI layout.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::Terminal;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// An image of four layers: a program, texts, an incompressible megabyte, and a unique one.
pub(crate) struct Image {
    pub(crate) digest: String,
}

impl Image {
    /// Writes it into the directory `name` of the terminal, as `name:latest`.
    pub(crate) fn saved(terminal: &Terminal, name: &str, content: &str) -> Image {
        let layout = Layout::new(terminal, name);
        let image = layout.image("amd64", content);
        layout.lists(&image, "latest");
        Image { digest: digest(&image) }
    }
}

/// A multi-platform image: an index of an image for amd64, one for arm64, and an inner index with an image
/// for riscv64.
pub(crate) struct Index {
    /// The digest of the outer index.
    pub(crate) digest: String,
    /// The digests of the three images and the inner index.
    pub(crate) parts: Vec<String>,
}

impl Index {
    /// Writes it into the directory `name` of the terminal, as `name:latest`.
    pub(crate) fn saved(terminal: &Terminal, name: &str, content: &str) -> Index {
        let layout = Layout::new(terminal, name);
        let [amd64, arm64, riscv64] = ["amd64", "arm64", "riscv64"]
            .map(|platform| layout.image(platform, &format!("{content} on {platform}")));
        let inner = layout.index(&[&riscv64]);
        let index = layout.index(&[&amd64, &arm64, &inner]);
        layout.lists(&index, "latest");
        Index { digest: digest(&index), parts: [&amd64, &arm64, &riscv64, &inner].map(digest).to_vec() }
    }

    /// Writes it without the inner index, which some clients do not follow.
    pub(crate) fn flat(terminal: &Terminal, name: &str, content: &str) -> Index {
        let layout = Layout::new(terminal, name);
        let [amd64, arm64] =
            ["amd64", "arm64"].map(|platform| layout.image(platform, &format!("{content} on {platform}")));
        let index = layout.index(&[&amd64, &arm64]);
        layout.lists(&index, "latest");
        Index { digest: digest(&index), parts: [&amd64, &arm64].map(digest).to_vec() }
    }
}

/// A directory in the OCI image layout.
struct Layout<'a> {
    terminal: &'a Terminal,
    root: PathBuf,
}

impl Layout<'_> {
    fn new<'a>(terminal: &'a Terminal, name: &str) -> Layout<'a> {
        let root = terminal.path(name);
        fs::create_dir_all(root.join("blobs/sha256")).expect("a directory for the layout");
        fs::write(root.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)
            .expect("the mark of a layout");
        Layout { terminal, root }
    }

    fn image(&self, architecture: &str, content: &str) -> Value {
        let fill = "mkdir -p tree/srv && openssl rand 1000000 > tree/srv/noise";
        let layers = [
            self.layer("mkdir -p tree/bin && cp /bin/busybox tree/bin/"),
            self.layer("mkdir -p tree/usr/share && cp -rL /usr/share/common-licenses tree/usr/share/"),
            self.layer(fill),
            self.layer(&format!("mkdir -p tree/a/b/c && echo '{content}' > tree/a/b/c/content")),
        ];
        let config = json!({
            "architecture": architecture,
            "os": "linux",
            "config": {
                "Cmd": ["/bin/busybox", "cat", "/a/b/c/content"],
                "Labels": {"org.opencontainers.image.description": "A small system to start from"},
            },
            "rootfs": {"type": "layers", "diff_ids": layers.each_ref().map(|(_, tar)| tar)},
        });
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self.blob(CONFIG, config.to_string().as_bytes()),
            "layers": layers.each_ref().map(|(layer, _)| layer),
            "annotations": {"org.opencontainers.image.description": "A small system to start from"},
        });
        let mut image = self.blob(MANIFEST, manifest.to_string().as_bytes());
        image["platform"] = json!({"architecture": architecture, "os": "linux"});
        image
    }

    /// Archives the directory `tree`, which `fill` fills, as a layer. Returns it with its uncompressed
    /// digest.
    fn layer(&self, fill: &str) -> (Value, String) {
        self.terminal.run(&format!(
            "rm -rf tree && {fill} && tar --create --file layer.tar --sort=name --mtime=@0 --owner=0 --group=0 \
             --numeric-owner --directory tree . && rm -rf tree && gzip --no-name --fast --keep --force layer.tar"
        ));
        let archive = self.terminal.reads("layer.tar");
        (self.blob(LAYER, &self.terminal.reads("layer.tar.gz")), sha256(&archive))
    }

    fn index(&self, parts: &[&Value]) -> Value {
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": parts});
        self.blob(INDEX, index.to_string().as_bytes())
    }

    /// Stores a blob and returns its descriptor.
    fn blob(&self, media_type: &str, bytes: &[u8]) -> Value {
        let digest = sha256(bytes);
        fs::write(self.root.join("blobs").join(digest.replace(':', "/")), bytes)
            .expect("a blob can be written");
        json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
    }

    fn lists(&self, root: &Value, tag: &str) {
        let mut root = root.clone();
        root["annotations"] = json!({"org.opencontainers.image.ref.name": tag});
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [root]});
        fs::write(self.root.join("index.json"), index.to_string())
            .expect("the list of the layout can be written");
    }
}

fn digest(descriptor: &Value) -> String {
    descriptor["digest"].as_str().expect("a descriptor has a digest").to_owned()
}

fn sha256(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}
