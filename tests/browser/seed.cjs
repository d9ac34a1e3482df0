// Pushes sample content for the browser tests: images, a chart, an artifact with referrers, and hostile text.
"use strict";

const crypto = require("node:crypto");
const zlib = require("node:zlib");

const MANIFEST = "application/vnd.oci.image.manifest.v1+json";
const INDEX = "application/vnd.oci.image.index.v1+json";
const LAYER = "application/vnd.oci.image.layer.v1.tar+gzip";
const DESCRIPTION = "org.opencontainers.image.description";
const HOSTILE = '"><img src=x onerror=alert(1)><script>alert(2)</script>';

const README = `# Mail model

Sorts **incoming mail** into folders.

| folder | precision |
|---|---|
| orders | 0.97 |

\`\`\`
docker run --rm -v mail:/mail example
\`\`\`

${HOSTILE} [x](javascript:alert(3)) [y](data:text/html,<script>alert(4)</script>) ![z](https://evil.example/z.png)
<a href="https://example.com" onclick="alert(6)">raw</a> <javascript:alert(7)> [docs](https://example.com/docs)
`;

const digest = (content) => "sha256:" + crypto.createHash("sha256").update(content).digest("hex");

// The same bytes on each run, so that screenshots have the same digests.
function content(name, length) {
  const block = crypto.createHash("sha512").update(name).digest();
  return Buffer.alloc(length, block);
}

function tar(files) {
  const blocks = [];
  for (const [name, text] of Object.entries(files)) {
    const body = Buffer.from(text);
    const header = Buffer.alloc(512);
    header.write(name, 0);
    header.write("0000644\0", 100);
    header.write(body.length.toString(8).padStart(11, "0") + "\0", 124);
    header.write("00000000000\0", 136);
    header.write("        0", 148);
    header.write("ustar\0" + "00", 257);
    const sum = header.reduce((all, byte) => all + byte, 0);
    header.write(sum.toString(8).padStart(6, "0") + "\0 ", 148);
    blocks.push(header, body, Buffer.alloc((512 - (body.length % 512)) % 512));
  }
  blocks.push(Buffer.alloc(1024));
  return zlib.gzipSync(Buffer.concat(blocks));
}

class Registry {
  constructor(base, user, password) {
    this.base = base;
    this.authorization = "Basic " + Buffer.from(`${user}:${password}`).toString("base64");
  }

  async send(method, path, type, body) {
    const headers = { Authorization: this.authorization, "Content-Type": type };
    const response = await fetch(this.base + path, { method, headers, body });
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
  }

  async blob(repository, body, type, more = {}) {
    const path = `/v2/${repository}/blobs/uploads/?digest=${digest(body)}`;
    await this.send("POST", path, "application/octet-stream", body);
    return { mediaType: type, digest: digest(body), size: body.length, ...more };
  }

  async manifest(repository, tag, type, fields) {
    const body = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: type, ...fields }));
    await this.send("PUT", `/v2/${repository}/manifests/${tag || digest(body)}`, type, body);
    return { mediaType: type, digest: digest(body), size: body.length };
  }

  async image(repository, tag, { architecture = "amd64", variant, layers, env = [], labels, annotations }) {
    const parts = [];
    for (const [name, length] of layers) {
      parts.push(await this.blob(repository, content(name, length), LAYER));
    }
    const config = {
      created: "2026-11-20T08:12:00Z", architecture, variant, os: "linux",
      config: {
        Env: ["PATH=/usr/local/bin:/usr/bin:/bin", "LANG=C.UTF-8", ...env],
        Entrypoint: ["/usr/bin/app"], Cmd: ["serve", "--listen", "0.0.0.0:8080"],
        WorkingDir: "/srv", User: "app", ExposedPorts: { "8080/tcp": {} },
        Labels: labels || { "org.opencontainers.image.licenses": "Apache-2.0" },
      },
      history: [
        { created_by: "/bin/sh -c #(nop) ADD file:5a1c in / " },
        { created_by: '/bin/sh -c #(nop)  CMD ["bash"]', empty_layer: true },
        { created_by: "RUN /bin/sh -c apt-get update && apt-get install -y ca-certificates curl # buildkit" },
        { created_by: "COPY --chown=app:app /build/out /srv # buildkit" },
        { created_by: 'ENTRYPOINT ["/usr/bin/app"]', empty_layer: true },
      ],
    };
    const blob = await this.blob(repository, Buffer.from(JSON.stringify(config)), "application/vnd.oci.image.config.v1+json");
    return this.manifest(repository, tag, MANIFEST, { config: blob, layers: parts, annotations });
  }

  async index(repository, tag, platforms, annotations, image) {
    const manifests = [];
    for (const [architecture, variant] of platforms) {
      const layers = image.layers.map(([name, length]) => [name + architecture, length]);
      const child = await this.image(repository, "", { ...image, architecture, variant, layers });
      manifests.push({ ...child, platform: { os: "linux", architecture, variant } });
    }
    return this.manifest(repository, tag, INDEX, { manifests, annotations });
  }

  async artifact(repository, tag, artifactType, files, more = {}) {
    const config = await this.blob(repository, Buffer.from("{}"), "application/vnd.oci.empty.v1+json");
    const layers = [];
    for (const [title, body, type] of files) {
      const annotations = { "org.opencontainers.image.title": title };
      layers.push(await this.blob(repository, Buffer.from(body), type, { annotations }));
    }
    return this.manifest(repository, tag, MANIFEST, { artifactType, config, layers, ...more });
  }
}

async function seed(base, user, password) {
  const registry = new Registry(base, user, password);
  const simple = [
    ["library/debian", "Debian base images"], ["library/postgres", "PostgreSQL with the extensions that we use"],
    ["infra/nginx", "Reverse proxy"], ["infra/backup", "Nightly backups"], ["team/worker", "Takes jobs from the queue"],
    ["tools", "Command-line tools for every day"],
  ];
  for (const [name, description] of simple) {
    const layers = [[name, 300_000 + 90_000 * name.length], [name + "2", 41_000]];
    await registry.image(name, "latest", { layers, annotations: { [DESCRIPTION]: description } });
  }
  const layers = [["base", 1_200_000], ["packages", 700_000], ["app", 260_000]];
  await registry.image("team/app", "1.3", { layers });
  await registry.image("team/app", "1.4-debug", { layers: [...layers.slice(0, 2), ["debug", 410_000]], env: ["DEBUG=1"] });
  const platforms = [["amd64"], ["arm64", "v8"], ["arm", "v7"]];
  const annotations = { [DESCRIPTION]: "The storefront: serves pages, takes orders, and talks to the warehouse." };
  const app = await registry.index("team/app", "1.4", platforms, annotations, { layers });
  const sbom = {
    spdxVersion: "SPDX-2.3",
    packages: [["openssl", "3.0.15"], ["zlib", "1.3.1"]].map(([name, versionInfo]) => ({ name, versionInfo })),
  };
  const file = (name, type, value) => [[name, JSON.stringify(value), type]];
  const subject = { subject: app };
  const spdx = "application/spdx+json";
  await registry.artifact("team/app", "sbom", spdx, file("sbom.spdx.json", spdx, sbom), subject);
  const bundle = "application/vnd.dev.sigstore.bundle.v0.3+json";
  await registry.artifact("team/app", "", bundle, file("bundle.json", bundle, { mediaType: bundle }), subject);
  const chart = await registry.blob("charts/web", tar({
    "web/values.yaml": "replicas: 2\nimage:\n  repository: team/app\n",
    "web/README.md": "# Web\n\nDeploys the **storefront**.\n\n<script>alert(1)</script>\n\n[x](javascript:alert(1))\n",
  }), "application/vnd.cncf.helm.chart.content.v1.tar+gzip");
  const meta = Buffer.from(JSON.stringify({ name: "web", version: "0.3.0", appVersion: "1.4", description: "The storefront" }));
  const config = await registry.blob("charts/web", meta, "application/vnd.cncf.helm.config.v1+json");
  await registry.manifest("charts/web", "0.3.0", MANIFEST, { config, layers: [chart], annotations: { [DESCRIPTION]: "The storefront on Kubernetes" } });
  await registry.artifact("team/model", "2.1", "application/vnd.example.model", [
    ["README.md", README, "text/markdown"],
    ["weights/model.bin", content("weights", 2_000_000), "application/octet-stream"],
    ["../../etc/passwd", "not a path", "text/plain"],
  ], { annotations: {
    [DESCRIPTION]: "Sorts incoming mail",
    "org.opencontainers.image.source": "https://git.example.com/team/model",
    "org.opencontainers.image.documentation": "javascript:alert(5)",
  } });
  const hostile = { layers: [["x", 100]], env: [`X=${HOSTILE}`], labels: { [HOSTILE]: HOSTILE } };
  await registry.index("zz/hostile", "1", [["amd64"]], { [DESCRIPTION]: HOSTILE, [HOSTILE]: HOSTILE }, hostile);
  await registry.artifact("zz/hostile", "file", "application/vnd.example", [
    [HOSTILE, HOSTILE, "text/plain"], ["javascript:alert(1)", `{"spdxVersion":"<b>"}`, spdx],
  ], { annotations: { [HOSTILE]: HOSTILE } });
}

// Accounts for the pages of administrators.
async function people(base, user, password) {
  const registry = new Registry(base, user, password);
  const send = (method, path, body) =>
    registry.send(method, `/api/v1/${path}`, "application/json", JSON.stringify(body));
  await send("POST", "users", { name: "ann", password, description: "Builds the storefront" });
  await send("POST", "users", { name: "bob", password, administrator: true });
  await send("PATCH", "users/bob", { disabled: true });
  await send("POST", "organisations", { name: "acme", description: "The whole company" });
  await send("PUT", "organisations/acme/members/ann", { role: "writer" });
  await send("PUT", "organisations/acme/teams/devs", {});
  await send("PUT", "organisations/acme/teams/devs/members/ann", {});
  await send("POST", "robots", { name: "acme+ci", description: "Builds" });
  await send("POST", `users/${user}/tokens`, { label: "laptop", rights: ["pull"], repositories: ["team/*"] });
  await registry.send("GET", "/v2/docker.io/library/ubuntu/manifests/24.04", "application/json");
  await send("POST", "webhooks", { url: "https://ci.example.com/hooks/registry", repositories: ["team/app"] });
  await send("POST", "gc", undefined);
  await send("PUT", "grants", { subject: "acme/devs", rights: ["push"], repositories: "team/**" });
}

module.exports = { people, seed };
