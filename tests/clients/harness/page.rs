//! A page of `docs/`, whose recipes are run as they are written there.

/// A page, or what stands below one of its headings.
#[derive(Clone, Copy)]
pub(crate) struct Page(&'static str);

impl Page {
    /// `docs/how-to/behind-nginx.md`.
    pub(crate) const BEHIND_NGINX: Page = Page(include_str!("../../../docs/how-to/behind-nginx.md"));

    /// `docs/how-to/gateway.md`.
    pub(crate) const GATEWAY: Page = Page(include_str!("../../../docs/how-to/gateway.md"));

    /// `docs/tutorials/from-registry-2.md`.
    pub(crate) const MIGRATION: Page = Page(include_str!("../../../docs/tutorials/from-registry-2.md"));

    /// What stands below this heading, up to the next.
    #[track_caller]
    pub(crate) fn below(self, heading: &str) -> Page {
        let (_, section) = self
            .0
            .split_once(&format!("\n## {heading}\n"))
            .unwrap_or_else(|| panic!("the page has no heading “{heading}”"));
        Page(section.split("\n## ").next().unwrap_or(section))
    }

    /// The first block in this language.
    #[track_caller]
    pub(crate) fn block(self, language: &str) -> &'static str {
        let fence = format!("```{language}\n");
        let (_, block) = self.0.split_once(&fence).unwrap_or_else(|| panic!("no {language} in:\n{}", self.0));
        block.split("```").next().unwrap_or(block)
    }
}
