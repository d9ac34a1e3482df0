//! Previews of the files of an artifact: SBOMs, attestations and other text; and Helm charts with their
//! values.

use std::io::Read as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::read::GzDecoder;
use oci::RepositoryName;
use serde_json::Value;

use super::content::{self, MAX_BLOB};
use super::document::{Document, Entry, harmless};
use super::markdown;
use crate::http::app::App;
use crate::http::error::Error;

/// The largest file that is shown, in bytes.
const MAX_SHOWN: usize = 64 << 10;
/// The packages of an SBOM that are listed.
const PACKAGES: usize = 200;
/// The largest uncompressed chart, in bytes. It bounds the work for an archive that expands without end.
const MAX_CHART: u64 = 16 << 20;
const DSSE: &str = "application/vnd.in-toto+json";

/// A file as a page shows it.
pub(crate) struct Preview {
    /// One line about it, for SBOMs and attestations.
    pub(crate) headline: Option<String>,
    /// Names and versions of packages.
    pub(crate) packages: Vec<(String, String)>,
    /// The number of packages.
    pub(crate) total: u64,
    /// The text, if it is short enough.
    pub(crate) text: Option<String>,
}

/// Previews a layer of an artifact. Returns `None` for binary and large files.
pub(crate) async fn of(
    app: &App,
    repository: &RepositoryName,
    layer: &Entry,
) -> Result<Option<Preview>, Error> {
    let is_text = layer.media_type.contains("json")
        || layer.media_type.starts_with("text/")
        || layer.media_type.contains("simplesigning")
        || layer.media_type.contains("yaml");
    if !is_text {
        return Ok(None);
    }
    let content = content::blob(app, repository, &layer.digest, MAX_BLOB).await?;
    Ok(content.as_deref().and_then(preview))
}

fn preview(content: &[u8]) -> Option<Preview> {
    let plain = std::str::from_utf8(content).ok()?;
    let json: Option<Value> = serde_json::from_slice(content).ok();
    let json = json.map(|json| opened(&json).unwrap_or(json));
    let (headline, packages) = json.as_ref().map(describe).unwrap_or_default();
    let text = json.as_ref().and_then(|json| serde_json::to_string_pretty(json).ok());
    let text = harmless(text.unwrap_or_else(|| plain.to_owned()));
    let total = packages.len() as u64;
    Some(Preview {
        headline,
        packages: packages.into_iter().take(PACKAGES).collect(),
        total,
        text: (text.len() <= MAX_SHOWN).then_some(text),
    })
}

/// Opens a DSSE envelope, also inside a sigstore bundle, and returns its statement.
fn opened(json: &Value) -> Option<Value> {
    let envelope = json.get("dsseEnvelope").unwrap_or(json);
    let is_dsse = envelope.get("payloadType").and_then(Value::as_str) == Some(DSSE);
    let payload = envelope.get("payload")?.as_str().filter(|_| is_dsse)?;
    serde_json::from_slice(&STANDARD.decode(payload).ok()?).ok()
}

/// Returns a headline, and the packages of an SBOM.
fn describe(json: &Value) -> (Option<String>, Vec<(String, String)>) {
    let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
    // An in-toto statement carries an SBOM as its predicate.
    if let Some(kind) = text(json, "predicateType") {
        let (inner, packages) = json.get("predicate").map(describe).unwrap_or_default();
        return (Some(inner.map_or(kind.clone(), |inner| format!("{kind} — {inner}"))), packages);
    }
    let packages = |list: &str, version: &str| -> Vec<(String, String)> {
        let packages = json.get(list).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let package =
            |package: &Value| Some((text(package, "name")?, text(package, version).unwrap_or_default()));
        packages.iter().filter_map(package).collect()
    };
    if let Some(version) = text(json, "spdxVersion") {
        return (Some(version), packages("packages", "versionInfo"));
    }
    if text(json, "bomFormat").as_deref() == Some("CycloneDX") {
        let version = text(json, "specVersion").unwrap_or_default();
        return (Some(format!("CycloneDX {version}")), packages("components", "version"));
    }
    (None, Vec::new())
}

/// Indents JSON.
pub(crate) fn pretty(content: &[u8]) -> Option<String> {
    let json: Value = serde_json::from_slice(content).ok()?;
    serde_json::to_string_pretty(&json).ok().map(harmless)
}

#[derive(Default)]
pub(crate) struct Chart {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) app_version: String,
    pub(crate) description: String,
    pub(crate) values: Option<String>,
    /// README.md as safe HTML.
    pub(crate) readme: Option<String>,
}

/// Reads the metadata of a chart from its config, and values and README from its archive.
pub(crate) async fn chart(
    app: &App,
    repository: &RepositoryName,
    document: &Document,
) -> Result<Option<Chart>, Error> {
    let mut chart = Chart::default();
    if let Some(config) = &document.config
        && let Some(config) = content::blob(app, repository, &config.digest, MAX_BLOB).await?
        && let Ok(config) = serde_json::from_slice::<Value>(&config)
    {
        let text = |key: &str| config.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        (chart.name, chart.version) = (text("name"), text("version"));
        (chart.app_version, chart.description) = (text("appVersion"), text("description"));
    }
    let archive = document.layers.iter().find(|layer| layer.media_type.contains("helm.chart.content"));
    if let Some(archive) = archive
        && let Some(archive) = content::blob(app, repository, &archive.digest, MAX_BLOB).await?
    {
        // Unpacking is work for the processor, which must not hold up other requests.
        let files = tokio::task::spawn_blocking(move || unpack(&archive)).await.unwrap_or_default();
        (chart.values, chart.readme) = files;
    }
    chart.readme = chart.readme.map(|readme| markdown::render(&readme));
    Ok(Some(chart))
}

/// Returns `values.yaml` and `README.md` of a chart.
fn unpack(archive: &[u8]) -> (Option<String>, Option<String>) {
    let mut archive = tar::Archive::new(GzDecoder::new(archive).take(MAX_CHART));
    let (mut values, mut readme) = (None, None);
    let Ok(entries) = archive.entries() else { return (None, None) };
    for entry in entries {
        let Ok(entry) = entry else { break };
        let Some(path) = entry.path().ok().map(|path| path.to_string_lossy().into_owned()) else { continue };
        // `chart/values.yaml`, not that of a subchart.
        let wanted = match path.split_once('/').map_or(path.as_str(), |(_, file)| file) {
            "values.yaml" => &mut values,
            "README.md" => &mut readme,
            _ => continue,
        };
        let mut text = String::new();
        if entry.take(MAX_SHOWN as u64).read_to_string(&mut text).is_ok() {
            *wanted = Some(text);
        }
    }
    (values, readme)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn sbom_in_an_envelope_lists_its_packages() {
        let statement = serde_json::json!({
            "predicateType": "https://spdx.dev/Document",
            "predicate": { "spdxVersion": "SPDX-2.3", "packages": [{ "name": "zlib", "versionInfo": "1.3" }, 7] },
        });
        let payload = STANDARD.encode(statement.to_string());
        let envelope = serde_json::json!({ "payloadType": DSSE, "payload": payload });
        for json in [envelope.clone(), serde_json::json!({ "dsseEnvelope": envelope }), statement] {
            let preview = preview(json.to_string().as_bytes()).unwrap();
            assert_eq!(preview.packages, [("zlib".to_owned(), "1.3".to_owned())]);
            assert_eq!(preview.headline.as_deref(), Some("https://spdx.dev/Document — SPDX-2.3"));
        }
        assert!(preview(b"\xff").is_none());
    }

    #[test]
    fn chart_has_its_own_values() {
        let mut tar = tar::Builder::new(Vec::new());
        for (path, content) in [
            ("web/charts/db/values.yaml", "no"),
            ("web/values.yaml", "replicas: 2\n"),
            ("web/README.md", "# Web"),
        ] {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, path, content.as_bytes()).unwrap();
        }
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&tar.into_inner().unwrap()).unwrap();
        let (values, readme) = unpack(&gzip.finish().unwrap());
        assert_eq!((values.as_deref(), readme.as_deref()), (Some("replicas: 2\n"), Some("# Web")));
        assert_eq!(unpack(b"no archive"), (None, None));
    }
}
