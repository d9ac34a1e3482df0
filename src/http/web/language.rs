//! Languages: the catalogue of texts (Fluent), and dates, numbers and sizes as a language writes them.
//!
//! A browser states its languages in `Accept-Language` (RFC 9110 section 12.5.4). A cookie, which the switch
//! on each page sets, overrides it.

use std::borrow::Cow;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use fluent_bundle::concurrent::FluentBundle;
use fluent_bundle::{FluentArgs, FluentResource};
use hyper::header::{ACCEPT_LANGUAGE, HeaderMap};
use unic_langid::LanguageIdentifier;

use crate::http::middleware::cookies;
use crate::rfc3339;

/// A language of the pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Language {
    English,
    Chinese,
}

type Bundle = FluentBundle<FluentResource>;

static ENGLISH: LazyLock<Bundle> = LazyLock::new(|| bundle("en", include_str!("../../../locales/en.ftl")));
static CHINESE: LazyLock<Bundle> = LazyLock::new(|| bundle("zh-CN", include_str!("../../../locales/zh.ftl")));

fn bundle(tag: &str, text: &str) -> Bundle {
    let language: LanguageIdentifier = tag.parse().unwrap_or_default();
    // A test parses both catalogues without errors.
    let resource = FluentResource::try_new(text.to_owned()).unwrap_or_else(|(resource, _)| resource);
    let mut bundle = Bundle::new_concurrent(vec![language]);
    bundle.set_use_isolating(false);
    bundle.add_resource_overriding(resource);
    bundle
}

impl Language {
    pub(crate) const ALL: [Self; 2] = [Self::English, Self::Chinese];

    /// The tag in HTML and in the cookie (RFC 5646).
    pub(crate) fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Chinese => "zh-CN",
        }
    }

    /// The name of the language in itself.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::English => "English",
            Self::Chinese => "中文",
        }
    }

    pub(crate) fn of_tag(tag: &str) -> Option<Self> {
        let primary = tag.split('-').next().unwrap_or_default();
        if primary.eq_ignore_ascii_case("zh") {
            Some(Self::Chinese)
        } else if primary.eq_ignore_ascii_case("en") {
            Some(Self::English)
        } else {
            None
        }
    }

    /// The language of a request: the chosen one, else the first known one in `Accept-Language`, else
    /// English.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let chosen = cookies::language(headers).and_then(Self::of_tag);
        chosen.or_else(|| accepted(headers)).unwrap_or(Self::English)
    }

    fn bundle(self) -> &'static Bundle {
        match self {
            Self::English => &ENGLISH,
            Self::Chinese => &CHINESE,
        }
    }

    /// Whether the catalogue has a text.
    pub(crate) fn has(self, key: &str) -> bool {
        self.bundle().has_message(key)
    }

    pub(crate) fn text(self, key: &str) -> Cow<'static, str> {
        self.format(key, None)
    }

    /// Returns a text with values.
    pub(crate) fn text_with(self, key: &str, values: &[(&'static str, &str)]) -> String {
        let mut args = FluentArgs::new();
        for (name, value) in values {
            args.set(*name, *value);
        }
        self.format(key, Some(&args)).into_owned()
    }

    /// Returns a text about a number: `$count` selects the form, `$number` is the number as it is written.
    pub(crate) fn counted(self, key: &str, count: u64) -> String {
        let mut args = FluentArgs::new();
        #[allow(clippy::cast_precision_loss, reason = "only the plural form follows from it")]
        args.set("count", count as f64);
        args.set("number", number(count));
        self.format(key, Some(&args)).into_owned()
    }

    fn format(self, key: &str, args: Option<&FluentArgs<'_>>) -> Cow<'static, str> {
        let bundle = self.bundle();
        let Some(pattern) = bundle.get_message(key).and_then(|message| message.value()) else {
            // A test compares the keys of templates with the catalogue.
            return Cow::Owned(key.to_owned());
        };
        let mut errors = Vec::new();
        match args {
            None => bundle.format_pattern(pattern, None, &mut errors),
            Some(args) => Cow::Owned(bundle.format_pattern(pattern, Some(args), &mut errors).into_owned()),
        }
    }

    /// Formats a time: `27 Nov 2026, 18:31 UTC`, `2026年11月27日 18:31 UTC`.
    pub(crate) fn date(self, time: SystemTime) -> String {
        const MONTHS: [&str; 12] =
            ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        let iso = rfc3339::seconds(time);
        let part = |range: std::ops::Range<usize>| iso.get(range).unwrap_or_default();
        let number = |range| part(range).parse::<usize>().unwrap_or(1);
        let (month, day) = (number(5..7), number(8..10));
        match self {
            Self::English => {
                format!("{day} {} {}, {} UTC", MONTHS[(month - 1).min(11)], part(0..4), part(11..16))
            }
            Self::Chinese => format!("{}年{month}月{day}日 {} UTC", part(0..4), part(11..16)),
        }
    }

    /// Formats the time that has passed since `time`: `3 days ago`.
    pub(crate) fn age(self, time: SystemTime) -> String {
        let passed = SystemTime::now().duration_since(time).unwrap_or(Duration::ZERO).as_secs();
        let (key, count) = match passed {
            0..60 => return self.text("age-now").into_owned(),
            60..3_600 => ("age-minutes", passed / 60),
            3_600..86_400 => ("age-hours", passed / 3_600),
            86_400..2_592_000 => ("age-days", passed / 86_400),
            2_592_000..31_536_000 => ("age-months", passed / 2_592_000),
            _ => ("age-years", passed / 31_536_000),
        };
        self.counted(key, count)
    }

    /// Formats a duration in its largest unit: `3 days`, `90 minutes`.
    pub(crate) fn duration(self, seconds: u64) -> String {
        let (key, unit) = [("duration-days", 86_400), ("duration-hours", 3_600), ("duration-minutes", 60)]
            .into_iter()
            .find(|(_, unit)| seconds >= *unit && seconds.is_multiple_of(*unit))
            .unwrap_or(("duration-seconds", 1));
        self.counted(key, seconds / unit)
    }

    /// Formats a number of bytes in binary units: `4.0 MiB`.
    pub(crate) fn size(self, bytes: u64) -> String {
        bytesize::ByteSize::b(bytes).display().iec().to_string()
    }
}

/// Formats a number with a comma between thousands, as both languages write it.
pub(crate) fn number(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Returns the known language with the highest quality in `Accept-Language`.
fn accepted(headers: &HeaderMap) -> Option<Language> {
    let values = headers.get_all(ACCEPT_LANGUAGE).iter().filter_map(|value| value.to_str().ok());
    let mut best: Option<(f32, Language)> = None;
    for range in values.flat_map(|value| value.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let Some(language) = parts.next().and_then(Language::of_tag) else { continue };
        let quality = parts.find_map(|part| part.strip_prefix("q=")?.parse().ok()).unwrap_or(1.0_f32);
        if quality > 0.0 && best.is_none_or(|(other, _)| quality > other) {
            best = Some((quality, language));
        }
    }
    best.map(|(_, language)| language)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;
    use std::time::UNIX_EPOCH;

    use fluent_bundle::FluentResource;
    use hyper::header::HeaderValue;

    use super::*;

    fn keys(text: &str) -> BTreeSet<String> {
        let resource = FluentResource::try_new(text.to_owned()).map_err(|(_, errors)| errors).unwrap();
        drop(resource);
        let lines = text.lines().filter(|line| line.starts_with(|first: char| first.is_ascii_lowercase()));
        lines.map(|line| line.split(" =").next().unwrap_or_default().to_owned()).collect()
    }

    #[test]
    fn catalogues_have_the_same_keys() {
        let english = keys(include_str!("../../../locales/en.ftl"));
        let chinese = keys(include_str!("../../../locales/zh.ftl"));
        assert_eq!(english.difference(&chinese).collect::<Vec<_>>(), Vec::<&String>::new());
        assert_eq!(chinese.difference(&english).collect::<Vec<_>>(), Vec::<&String>::new());
        assert!(english.len() > 50);
    }

    /// Collects the first arguments of the calls in the templates and pages.
    fn used(folder: &Path, calls: &[&str], keys: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                used(&path, calls, keys);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            for call in calls {
                let arguments = text.split(call).skip(1).filter_map(|rest| rest.split('"').next());
                keys.extend(arguments.map(str::to_owned));
            }
        }
    }

    #[test]
    fn catalogue_has_the_texts_of_all_pages() {
        let mut keys = BTreeSet::new();
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let calls = [".t(\"", ".counted(\"", ".with(\""];
        used(&root.join("templates"), &calls, &mut keys);
        used(&root.join("src/http/web"), &["page.t(\"", "page.counted(\"", "page.with(\""], &mut keys);
        let mut confirmed = BTreeSet::new();
        used(&root.join("templates"), &[".confirm(\""], &mut confirmed);
        keys.extend(confirmed.into_iter().flat_map(|key| [format!("{key}-label"), key]));
        keys.extend(registry::JobKind::ALL.map(|kind| format!("job-{}", kind.name())));
        for key in &keys {
            assert!(Language::English.has(key), "the catalogue has no text {key}");
        }
    }

    #[test]
    fn language_follows_cookie_and_browser() {
        let of = |accept: &str, cookie: &str| {
            Language::of(&HeaderMap::from_iter([
                (ACCEPT_LANGUAGE, HeaderValue::from_str(accept).unwrap()),
                (hyper::header::COOKIE, HeaderValue::from_str(cookie).unwrap()),
            ]))
        };
        assert_eq!(of("", ""), Language::English);
        assert_eq!(of("zh-TW,en;q=0.8", ""), Language::Chinese);
        assert_eq!(of("en;q=0.3, zh;q=0.9", ""), Language::Chinese);
        assert_eq!(of("fr, zh;q=0", ""), Language::English);
        assert_eq!(of("zh", "wharfinger-language=en"), Language::English);
        assert_eq!(of("zh", "wharfinger-language=fr"), Language::Chinese);
    }

    #[test]
    fn numbers_and_dates_are_written_as_usual() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(number), ["0", "999", "1,000", "1,234,567"]);
        let time = UNIX_EPOCH + Duration::from_secs(1_795_804_260);
        assert_eq!(Language::English.date(time), "27 Nov 2026, 18:31 UTC");
        assert_eq!(Language::Chinese.date(time), "2026年11月27日 18:31 UTC");
        assert_eq!(Language::English.counted("age-days", 1), "1 day ago");
        assert_eq!(Language::English.counted("age-days", 1_200), "1,200 days ago");
        assert_eq!(Language::Chinese.counted("age-days", 2), "2 天前");
    }
}
