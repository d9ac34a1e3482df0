//! The Chinese pages have the headings and the commands of the English ones.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::Path;

const PAGES: [(&str, &str); 3] = [
    ("README.md", "README.zh-CN.md"),
    ("docs/tutorials/first-registry.md", "docs/zh-CN/tutorials/first-registry.md"),
    ("docs/tutorials/from-registry-2.md", "docs/zh-CN/tutorials/from-registry-2.md"),
];

/// The levels of the headings, and the lines of code without their comments.
fn structure(page: &str) -> (Vec<usize>, Vec<String>) {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(page)).unwrap();
    let (mut levels, mut code, mut is_fenced) = (Vec::new(), Vec::new(), false);
    for line in text.lines() {
        if line.starts_with("```") {
            is_fenced = !is_fenced;
        } else if is_fenced || line.starts_with("    ") {
            let command = line.trim().split("  #").next().unwrap_or_default().trim_end();
            code.push(command.to_owned());
        } else if line.starts_with('#') {
            levels.push(line.chars().take_while(|char| *char == '#').count());
        }
    }
    (levels, code)
}

#[test]
fn chinese_pages_have_the_same_structure() {
    for (english, chinese) in PAGES {
        let (expected, found) = (structure(english), structure(chinese));
        assert!(!expected.1.is_empty());
        assert_eq!(found.0, expected.0, "the headings of {chinese}");
        assert_eq!(found.1, expected.1, "the commands of {chinese}");
    }
}

#[test]
fn chinese_pages_are_in_chinese() {
    for (_, page) in PAGES {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(page)).unwrap();
        let prose = text.lines().filter(|line| !line.starts_with("    ") && line.chars().count() > 40);
        let is_chinese = |line: &&str| line.chars().any(|char| ('\u{4e00}'..='\u{9fff}').contains(&char));
        let (chinese, all) = (prose.clone().filter(is_chinese).count(), prose.count());
        assert!(chinese * 10 >= all * 7, "{page}: {chinese} of {all} long lines");
    }
}

#[test]
fn links_of_chinese_pages_exist() {
    for (_, page) in PAGES {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(page);
        let text = fs::read_to_string(&path).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = link.split('#').next().unwrap();
            assert!(path.parent().unwrap().join(file).exists(), "{page}: {link}");
        }
    }
}
