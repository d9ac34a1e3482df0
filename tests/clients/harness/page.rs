//! A page of `docs/`. Tests run the recipes as the page prints them.

/// A page, or a section of it.
#[derive(Clone, Copy)]
pub(crate) struct Page(&'static str);

impl Page {
    pub(crate) const BACKUP: Page = Page(include_str!("../../../docs/how-to/backup.md"));

    pub(crate) const BEHIND_NGINX: Page = Page(include_str!("../../../docs/how-to/behind-nginx.md"));

    pub(crate) const GATEWAY: Page = Page(include_str!("../../../docs/how-to/gateway.md"));

    pub(crate) const INSTALL: Page = Page(include_str!("../../../docs/how-to/install.md"));

    pub(crate) const MIGRATION_GUIDE: Page = Page(include_str!("../../../docs/how-to/migration.md"));

    pub(crate) const SEVERAL_SERVERS: Page = Page(include_str!("../../../docs/how-to/several-servers.md"));

    pub(crate) const MIGRATION: Page = Page(include_str!("../../../docs/tutorials/from-registry-2.md"));

    pub(crate) const OPERATION: Page = Page(include_str!("../../../docs/how-to/operation.md"));

    pub(crate) const UPGRADE: Page = Page(include_str!("../../../docs/how-to/upgrade.md"));

    /// Returns the section below a heading, up to the next heading.
    #[track_caller]
    pub(crate) fn below(self, heading: &str) -> Page {
        let (_, section) = self
            .0
            .split_once(&format!("\n## {heading}\n"))
            .unwrap_or_else(|| panic!("the page has no heading “{heading}”"));
        Page(section.split("\n## ").next().unwrap_or(section))
    }

    /// Returns the indented lines, which are commands.
    pub(crate) fn commands(self) -> Vec<String> {
        let lines = self.0.lines().filter(|line| line.starts_with("    ") && !line.trim().is_empty());
        lines.map(|line| line.trim().to_owned()).collect()
    }

    /// Returns all code blocks in this language.
    pub(crate) fn blocks(self, language: &str) -> Vec<&'static str> {
        let fence = format!("```{language}\n");
        let blocks = self.0.split(fence.as_str()).skip(1);
        blocks.map(|block| block.split("```").next().unwrap_or(block)).collect()
    }

    /// Returns the first code block in this language.
    #[track_caller]
    pub(crate) fn block(self, language: &str) -> &'static str {
        let fence = format!("```{language}\n");
        let (_, block) = self.0.split_once(&fence).unwrap_or_else(|| panic!("no {language} in:\n{}", self.0));
        block.split("```").next().unwrap_or(block)
    }
}
