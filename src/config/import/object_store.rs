//! `storage.s3` of distribution: the object store becomes that of `[blobs]`, with a prefix of its own. That of
//! `storage.azure` is in `azure.rs`.

use super::super::value::RawValue;
use super::draft::Draft;
use super::readers::{boolean, is_default, taken};
use super::report::{Outcome, dropped};
use super::yaml::{Node, Value};

/// A file for the secret of the access key, which no output shows.
const SECRET_FILE: &str = "/etc/wharfinger/s3-secret";
/// The last part of the prefix. A prefix that another registry has filled is refused by the server.
const PREFIX: &str = "wharfinger";

fn text<'a>(root: &'a Node, key: &str) -> Option<&'a str> {
    root.get("storage.s3")?.get(key)?.text().filter(|text| !text.is_empty())
}

/// Renames the driver `s3aws` to `s3`, its other name.
pub(super) fn renamed(mut root: Node) -> Node {
    if let Value::Map(members) = &mut root.value
        && let Some((_, storage)) = members.iter_mut().find(|(name, _)| name == "storage")
        && let Value::Map(drivers) = &mut storage.value
        && !drivers.iter().any(|(name, _)| name == "s3")
        && let Some((name, _)) = drivers.iter_mut().find(|(name, _)| name == "s3aws")
    {
        "s3".clone_into(name);
    }
    root
}

/// Reads the bucket.
pub(super) fn bucket(draft: &mut Draft, root: &Node, _: &Node) -> Outcome {
    let Some(bucket) = text(root, "bucket") else { return dropped("it is empty") };
    let directory = text(root, "rootdirectory").unwrap_or_default();
    let url = match place(draft, root, &format!("s3://{bucket}"), directory) {
        Ok(url) => url,
        Err(outcome) => return outcome,
    };
    let mut settings = vec![url];
    if !is_redirect_disabled(root) && text(root, "redirectendpoint").is_none() {
        // An accepted word.
        settings.extend(draft.set_text("blobs.redirect", "always"));
        draft.note(
            "`blobs.redirect = \"always\"`: as before, clients download blobs from the bucket, and must reach it under \
             the address in the settings",
        );
    }
    Outcome::Taken { settings }
}

/// Sets the place of the blobs. A prefix of its own keeps the old images for the old registry.
pub(super) fn place(
    draft: &mut Draft,
    root: &Node,
    bucket: &str,
    directory: &str,
) -> Result<&'static str, Outcome> {
    if root.get("storage.filesystem").is_some() || draft.has("blobs.url") {
        return Err(dropped("the file has another storage driver, and distribution does not start with two"));
    }
    let parts = directory.split('/').filter(|part| !part.is_empty());
    let path: Vec<&str> = [bucket].into_iter().chain(parts).chain([PREFIX]).collect();
    let url = match draft.set_text("blobs.url", &path.join("/")) {
        Ok(url) => url,
        Err(reason) => return Err(dropped(format!("{reason}; set `blobs.url` by hand"))),
    };
    draft.note(format!(
        "new blobs go below {PREFIX}/ in the bucket. Images of the old registry stay where they are, and are not adopted: \
         copy them with `skopeo sync` while both run"
    ));
    draft.note(
        "set `data` to an empty directory on a disk that lasts: it holds the database and uploads in progress, and needs \
         a backup",
    );
    Ok(url)
}

/// Reads a part of the prefix, which [`bucket`] sets.
pub(super) fn directory(_: &mut Draft, root: &Node, _: &Node) -> Outcome {
    match text(root, "bucket") {
        Some(_) => part_of("blobs.url"),
        None => dropped("`bucket` is missing"),
    }
}

/// The value is part of a setting that another key sets.
pub(super) fn part_of(setting: &'static str) -> Outcome {
    Outcome::Taken { settings: vec![setting] }
}

pub(super) fn region(draft: &mut Draft, _: &Node, node: &Node) -> Outcome {
    taken(draft.set_text("blobs.region", node.text().unwrap_or_default()))
}

/// Reads the URL of the store. Without a scheme, `secure` decides.
pub(super) fn endpoint(draft: &mut Draft, root: &Node, node: &Node) -> Outcome {
    let Some(endpoint) = node.text().filter(|endpoint| !endpoint.is_empty()) else { return is_default() };
    let url = match endpoint.contains("://") {
        true => endpoint.to_owned(),
        false if is_clear(root) => format!("http://{endpoint}"),
        false => format!("https://{endpoint}"),
    };
    taken(draft.set_text("blobs.endpoint", &url))
}

fn is_clear(root: &Node) -> bool {
    root.get("storage.s3.secure").and_then(Node::boolean) == Some(false)
}

pub(super) fn secure(_: &mut Draft, root: &Node, node: &Node) -> Outcome {
    match boolean(node) {
        Ok(true) => is_default(),
        Ok(false) if text(root, "regionendpoint").is_some() => part_of("blobs.endpoint"),
        Ok(false) => dropped("Amazon's S3 is asked by HTTPS"),
        Err(outcome) => outcome,
    }
}

pub(super) fn path_style(draft: &mut Draft, _: &Node, node: &Node) -> Outcome {
    match boolean(node) {
        Ok(value) => taken(draft.set("blobs.path_style", &RawValue::Boolean(value))),
        Err(outcome) => outcome,
    }
}

/// Reads the access key. Without one, both programs take variables, and else the role of the machine.
pub(super) fn access_key(draft: &mut Draft, root: &Node, node: &Node) -> Outcome {
    let Some(key) = node.text().filter(|key| !key.is_empty()) else { return is_default() };
    if text(root, "secretkey").is_none() {
        return dropped("`secretkey` is missing, and the key has no use without it");
    }
    taken(draft.set_text("blobs.access_key", key))
}

pub(super) fn secret_key(draft: &mut Draft, root: &Node, node: &Node) -> Outcome {
    if node.text().is_none_or(str::is_empty) {
        return is_default();
    }
    if text(root, "accesskey").is_none() {
        return dropped("`accesskey` is missing, and the secret has no use without it");
    }
    draft.note(format!("write `secretkey` into {SECRET_FILE}, readable for the server alone"));
    taken(draft.set_text("blobs.secret_key_file", SECRET_FILE))
}

pub(super) fn signature(_: &mut Draft, _: &Node, node: &Node) -> Outcome {
    match boolean(node) {
        Ok(true) => is_default(),
        Ok(false) => dropped("requests always have signatures of version 4"),
        Err(outcome) => outcome,
    }
}

pub(super) fn skip_verify(_: &mut Draft, _: &Node, node: &Node) -> Outcome {
    match boolean(node) {
        Ok(false) => is_default(),
        Ok(true) => dropped(
            "the certificate of the store is always verified; add its authority to the certificates of the system",
        ),
        Err(outcome) => outcome,
    }
}

pub(super) fn encrypt(_: &mut Draft, _: &Node, node: &Node) -> Outcome {
    match boolean(node) {
        Ok(false) => is_default(),
        Ok(true) => dropped("objects get the encryption of the bucket; make it the bucket's default"),
        Err(outcome) => outcome,
    }
}

pub(super) fn storage_class(_: &mut Draft, _: &Node, node: &Node) -> Outcome {
    match node.text() {
        None | Some("" | "STANDARD") => is_default(),
        Some(_) => dropped("objects get the class STANDARD; a lifecycle rule of the bucket can change it"),
    }
}

pub(super) fn access_list(_: &mut Draft, _: &Node, node: &Node) -> Outcome {
    match node.text() {
        None | Some("" | "private") => is_default(),
        Some(_) => dropped("objects are private; a policy of the bucket can let others read them"),
    }
}

/// Reads a switch for another kind of Amazon's addresses.
pub(super) fn special_endpoint(_: &mut Draft, _: &Node, node: &Node) -> Outcome {
    match boolean(node) {
        Ok(false) => is_default(),
        Ok(true) => dropped("name that address in `blobs.endpoint`"),
        Err(outcome) => outcome,
    }
}

pub(super) fn redirect_endpoint(_: &mut Draft, _: &Node, node: &Node) -> Outcome {
    match node.text() {
        None | Some("") => is_default(),
        Some(_) => dropped(
            "redirects name the address in `blobs.endpoint`; if clients reach it, set `blobs.redirect = \"always\"`",
        ),
    }
}

pub(super) fn is_redirect_disabled(root: &Node) -> bool {
    root.get("storage.redirect.disable").and_then(Node::boolean) == Some(true)
}

/// Reads whether downloads are redirected to the bucket, which is distribution's default.
pub(super) fn redirect(draft: &mut Draft, root: &Node, node: &Node) -> Outcome {
    if text(root, "bucket").is_none() && root.get("storage.azure.container").is_none() {
        return dropped("blobs in a directory are served by the registry itself");
    }
    match boolean(node) {
        Ok(true) => taken(draft.set_text("blobs.redirect", "never")),
        Ok(false) if text(root, "bucket").is_some() => part_of("blobs.redirect"),
        Ok(false) => {
            dropped("downloads from a container pass through the server, unless `blobs.redirect` is set")
        }
        Err(outcome) => outcome,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Import, ImportSources, import};
    use super::*;

    fn imported(storage: &str) -> Import {
        let text = format!("version: 0.1\nstorage: {storage}\nhttp: {{addr: 'localhost:5000'}}\n");
        import(&ImportSources { files: vec![("config.yml".into(), text)], environment: Vec::new() }).unwrap()
    }

    fn outcome(imported: &Import, key: &str) -> Outcome {
        let key = format!("storage.{key}");
        let finding = imported.findings.iter().find(|finding| finding.key == key);
        finding.unwrap_or_else(|| panic!("{key}: {:?}", imported.findings)).outcome.clone()
    }

    #[test]
    fn bucket_of_s3_gets_a_prefix_of_its_own() {
        for driver in ["s3", "s3aws"] {
            let imported = imported(&format!(
                "{{{driver}: {{bucket: images, rootdirectory: /old/registry/, region: eu-central-1, accesskey: AKIA1, \
                 secretkey: hidden, regionendpoint: 'https://s3.example.com:9000', forcepathstyle: false}}}}"
            ));
            let toml = imported.toml();
            for line in [
                r#"url = "s3://images/old/registry/wharfinger""#,
                r#"endpoint = "https://s3.example.com:9000""#,
                r#"region = "eu-central-1""#,
                r#"access_key = "AKIA1""#,
                r#"secret_key_file = "/etc/wharfinger/s3-secret""#,
                "path_style = false",
                r#"redirect = "always""#,
            ] {
                assert!(toml.lines().any(|written| written == line), "{line}\n{toml}");
            }
            assert!(!toml.contains("hidden") && !toml.contains("data ="), "{toml}");
            for part in ["skopeo sync", "s3-secret", "empty directory", "blobs.redirect"] {
                assert!(
                    imported.notes.iter().any(|note| note.contains(part)),
                    "{part}: {:?}",
                    imported.notes
                );
            }
        }
    }

    #[test]
    fn endpoint_without_a_scheme_gets_that_of_secure() {
        for (secure, url) in [("", "https://s3:9000"), (", secure: false", "http://s3:9000")] {
            let imported =
                imported(&format!("{{s3: {{bucket: images, regionendpoint: 's3:9000'{secure}}}}}"));
            assert!(imported.toml().contains(&format!("endpoint = \"{url}\"")), "{}", imported.toml());
        }
        let amazon = imported("{s3: {bucket: images, secure: false}}");
        assert!(matches!(outcome(&amazon, "s3.secure"), Outcome::NoCounterpart { .. }));
    }

    #[test]
    fn redirects_stay_as_they_were() {
        let never = imported("{s3: {bucket: images}, redirect: {disable: true}}");
        assert!(never.toml().contains(r#"redirect = "never""#), "{}", never.toml());
        let always = imported("{s3: {bucket: images}, redirect: {disable: false}}");
        assert!(always.toml().contains(r#"redirect = "always""#), "{}", always.toml());
        let other = imported("{s3: {bucket: images, redirectendpoint: 'https://cdn.example.com'}}");
        assert!(!other.toml().contains("redirect ="), "{}", other.toml());
        let files = imported("{filesystem: {rootdirectory: /r}, redirect: {disable: true}}");
        assert!(matches!(outcome(&files, "redirect.disable"), Outcome::NoCounterpart { .. }));
    }

    #[test]
    fn values_that_a_bucket_cannot_have_are_named() {
        let imported = imported(
            "{s3: {bucket: images, encrypt: true, keyid: k, skipverify: true, storageclass: GLACIER, v4auth: false, \
             accesskey: alone, accelerate: true, objectacl: public-read, chunksize: 5242880}}",
        );
        for key in [
            "encrypt",
            "keyid",
            "skipverify",
            "storageclass",
            "v4auth",
            "accesskey",
            "accelerate",
            "objectacl",
            "chunksize",
        ] {
            let outcome = outcome(&imported, &format!("s3.{key}"));
            assert!(matches!(outcome, Outcome::NoCounterpart { .. }), "{key}: {outcome:?}");
        }
        assert!(!imported.toml().contains("access_key"), "{}", imported.toml());
        let wrong = imported_bucket("a b");
        assert!(
            matches!(outcome(&wrong, "s3.bucket"), Outcome::NoCounterpart { .. }),
            "{:?}",
            wrong.findings
        );
    }

    fn imported_bucket(name: &str) -> Import {
        imported(&format!("{{s3: {{bucket: '{name}'}}}}"))
    }
}
