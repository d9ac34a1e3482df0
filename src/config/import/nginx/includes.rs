//! `include` of nginx: puts the directives of the named files in its place.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::syntax::{self, Directive, SyntaxError};

/// Files that include each other end here.
const MAX_DEPTH: usize = 8;

/// Replaces each `include` by the directives of its files, which get its line. One whose files cannot be read
/// stays. `resolve` makes a path absolute.
///
/// # Errors
/// A file that is not nginx's.
pub(super) fn expand(
    directives: Vec<Directive>,
    resolve: &dyn Fn(&str) -> PathBuf,
    depth: usize,
) -> Result<Vec<Directive>, SyntaxError> {
    let mut expanded = Vec::new();
    for mut directive in directives {
        if let Some(block) = directive.block.take() {
            directive.block = Some(expand(block, resolve, depth)?);
        }
        let files = match directive.name.as_str() {
            "include" if depth < MAX_DEPTH => files(&resolve(directive.argument())).ok(),
            _ => None,
        };
        let Some(files) = files else {
            expanded.push(directive);
            continue;
        };
        for (path, text) in files {
            let mut included = syntax::parse(&text).map_err(|error| SyntaxError {
                line: directive.line,
                message: format!("{} line {}: {}", path.display(), error.line, error.message),
            })?;
            move_to(&mut included, directive.line);
            expanded.extend(expand(included, resolve, depth + 1)?);
        }
    }
    Ok(expanded)
}

fn move_to(directives: &mut [Directive], line: usize) {
    for directive in directives {
        directive.line = line;
        move_to(directive.block.as_deref_mut().unwrap_or_default(), line);
    }
}

/// Reads the files that an `include` names, in the order of their names. Its last part may have wildcards.
fn files(pattern: &Path) -> io::Result<Vec<(PathBuf, String)>> {
    let name = pattern.file_name().unwrap_or_default().to_string_lossy();
    let mut paths = if name.contains(['*', '?']) {
        let directory = fs::read_dir(pattern.parent().unwrap_or(Path::new("")))?;
        let mut paths = directory.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
        paths.retain(|path| {
            let file = path.file_name().unwrap_or_default().to_string_lossy();
            // As in a shell, a wildcard at the begin stands for no dot.
            (!file.starts_with('.') || name.starts_with('.')) && matches(name.as_bytes(), file.as_bytes())
        });
        paths
    } else {
        vec![pattern.to_owned()]
    };
    paths.sort();
    paths.into_iter().map(|path| fs::read_to_string(&path).map(|text| (path, text))).collect()
}

/// Whether a name matches a pattern with the wildcards `*` and `?`.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern, name) {
        ([b'*', rest @ ..], _) => (0..=name.len()).any(|skipped| matches(rest, &name[skipped..])),
        ([b'?', rest @ ..], [_, others @ ..]) => matches(rest, others),
        ([one, rest @ ..], [other, others @ ..]) => one == other && matches(rest, others),
        ([], []) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_match_names() {
        for (pattern, name) in [("*", "a"), ("*.conf", "a.conf"), ("a?c*", "abcd"), ("*a*b", "xaxb")] {
            assert!(matches(pattern.as_bytes(), name.as_bytes()), "{pattern} {name}");
        }
        for (pattern, name) in [("*.conf", "a.conf~"), ("a?c", "ac"), ("a", "b"), ("", "a")] {
            assert!(!matches(pattern.as_bytes(), name.as_bytes()), "{pattern} {name}");
        }
    }
}
