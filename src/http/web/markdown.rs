//! Markdown of pushers as safe HTML: no HTML of its own, no images, and links to web addresses only.

use pulldown_cmark::{CowStr, Event, Options, Parser, Tag, TagEnd};

/// Renders a README.
pub(crate) fn render(text: &str) -> String {
    let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH;
    let mut html = String::with_capacity(text.len() * 2);
    let mut image = 0_usize;
    let mut refused_links = Vec::new();
    let events = Parser::new_ext(text, options).filter_map(|event| match event {
        Event::Html(html) | Event::InlineHtml(html) => Some(Event::Text(html)),
        Event::Start(Tag::Image { .. }) => {
            image += 1;
            None
        }
        Event::End(TagEnd::Image) => {
            image = image.saturating_sub(1);
            None
        }
        Event::Start(Tag::Link { link_type, dest_url, title, id }) => {
            let is_safe =
                ["https://", "http://", "mailto:"].iter().any(|scheme| dest_url.starts_with(scheme));
            refused_links.push(!is_safe);
            is_safe.then_some(Event::Start(Tag::Link { link_type, dest_url, title, id }))
        }
        Event::End(TagEnd::Link) => {
            let is_refused = refused_links.pop().unwrap_or(true);
            (!is_refused).then_some(Event::End(TagEnd::Link))
        }
        // The headings of a page come first.
        Event::Start(Tag::Heading { level, .. }) => Some(Event::Start(Tag::Heading {
            level: below(level),
            id: None,
            classes: Vec::new(),
            attrs: Vec::new(),
        })),
        Event::End(TagEnd::Heading(level)) => Some(Event::End(TagEnd::Heading(below(level)))),
        // Long lines scroll, also by keyboard.
        Event::Start(Tag::CodeBlock(_)) => Some(Event::Html(CowStr::Borrowed("<pre tabindex=\"0\"><code>"))),
        Event::End(TagEnd::CodeBlock) => Some(Event::Html(CowStr::Borrowed("</code></pre>\n"))),
        event => Some(event),
    });
    push_html(&mut html, events);
    html
}

fn push_html<'e>(html: &mut String, events: impl Iterator<Item = Event<'e>>) {
    pulldown_cmark::html::push_html(html, events);
}

/// Two levels lower.
fn below(level: pulldown_cmark::HeadingLevel) -> pulldown_cmark::HeadingLevel {
    use pulldown_cmark::HeadingLevel::{H3, H4, H5, H6};
    match level as usize {
        1 => H3,
        2 => H4,
        3 => H5,
        _ => H6,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn html_and_foreign_links_do_not_get_through() {
        let text = "# A <b>title</b>\n\n<script>alert(1)</script>\n\n[x](javascript:alert(1)) [y](https://example.com/\"><i>) \
                    ![pic](https://evil/x.png) [d](data:text/html,x)\n\n<img src=x onerror=alert(1)>\n\n`<script>`\n\n\
                    ```html\n<script>\n```\n\n<javascript:alert(1)>";
        let html = render(text);
        for bad in ["<script", "<img", "<b>", "<i>", "href=\"javascript:", "data:text", "evil"] {
            assert!(!html.contains(bad), "{bad}: {html}");
        }
        assert!(html.contains("<pre tabindex=\"0\"><code>&lt;script"), "{html}");
        assert!(html.contains("<h3>") && html.contains("https://example.com/"), "{html}");
    }
}
